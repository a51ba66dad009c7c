/**
 * How a process connects to Temporal: by the environment variables that the CLI of Temporal takes too (TEMPORAL_ADDRESS,
 * TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…), and by a profile of a configuration file where TEMPORAL_CONFIG_FILE or
 * TEMPORAL_PROFILE names one.
 */
import { existsSync } from 'node:fs';
import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor, type ConnectionOptions } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';

/** Where Temporal is, and how to get in. */
export interface TemporalServer {
  connection: Pick<NativeConnectionOptions, 'tls' | 'apiKey' | 'metadata'> & { address: string };
  namespace: string;
}

/**
 * The server that the environment names; the one of `npm start` when it names none.
 * @throws Error when a file that it names cannot be read, or says nothing that could be used.
 */
export function temporalServerFrom(environment: NodeJS.ProcessEnv): TemporalServer {
  const given = Object.entries(environment).flatMap(([name, value]) =>
    // A variable that a compose file hands on may be empty: then it is not set.
    value === undefined || value === '' ? [] : [[name, value] as const],
  );
  const env = Object.fromEntries(given);
  // A file that nobody named is not read: what a laptop's is for may be another server.
  const disableFile = env.TEMPORAL_CONFIG_FILE === undefined && env.TEMPORAL_PROFILE === undefined;
  const { TEMPORAL_CONFIG_FILE: file } = env;
  if (file !== undefined && !existsSync(file))
    throw new Error(`TEMPORAL_CONFIG_FILE names ${file}, which is not there`);
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({ overrideEnvVars: env, disableFile });
  const { address = '127.0.0.1:7233', tls, apiKey, metadata } = connectionOptions;
  return {
    connection: {
      address,
      ...(tls === undefined ? {} : { tls }),
      ...(apiKey === undefined ? {} : { apiKey, tls: tls ?? true }),
      ...(metadata === undefined ? {} : { metadata }),
    },
    namespace,
  };
}

const resourceExhausted = 8;
/** An authority turns signals away for some milliseconds while it continues as new. The client's default waits seconds. */
const turnedAwayMs = 100;
const turnedAwayMsMax = 1_000;

/** Longer than the server lets any call wait. The library's own calls have no end unless they are given one. */
const callMs = 75_000;

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];

/** Gives each try of a call that has no deadline one. */
const withinTime: Interceptor = (options, nextCall) =>
  nextCall({ ...options, deadline: options.deadline ?? Date.now() + callMs }) as ReturnType<Interceptor>;

/** Options of a connection that tries again soon when the server says that there is too much to do. */
export function signallingConnection(server: TemporalServer['connection']): ConnectionOptions {
  const usual = defaultGrpcRetryOptions();
  return {
    ...(server as ConnectionOptions),
    interceptors: [
      makeGrpcRetryInterceptor({
        ...usual,
        delayFunction: (attempt, status) =>
          Number(status.code) === resourceExhausted
            ? Math.min(turnedAwayMsMax, turnedAwayMs * 1.7 ** (attempt - 1)) * (0.8 + 0.4 * Math.random())
            : usual.delayFunction(attempt, status),
      }),
      withinTime,
    ],
  };
}
