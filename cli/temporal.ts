/** How the command line reaches Temporal: as workers do, and not for longer than a person waits. */
import { Connection, isGrpcServiceError } from '@temporalio/client';
import { signallingConnection, temporalServerFrom, type TemporalServer } from '../temporal/connection';
import { CommandError } from './failures';
import { EnvironmentError, namesServers, say, workerEnvironment } from './target';

/** The Temporal of the installation. @throws EnvironmentError when the environment names a file that says nothing that could be used. */
export function temporalTarget(environment: NodeJS.ProcessEnv): TemporalServer {
  const server = readServer(workerEnvironment(environment));
  if (namesServers(environment))
    say(`Temporal: ${server.connection.address}, namespace ${server.namespace} (from the environment)`);
  return server;
}

function readServer(environment: NodeJS.ProcessEnv): TemporalServer {
  try {
    return temporalServerFrom(environment);
  } catch (error) {
    throw new EnvironmentError(`What TEMPORAL_… says cannot be used: ${(error as Error).message}. Nothing was done.`);
  }
}

/** @throws CommandError that names the address, for a command that can do nothing without. */
export const reachTemporal = (server: TemporalServer['connection']): Promise<Connection> =>
  connectToTemporal(server).catch((error: unknown) => {
    const why = (error as Error).message.split('\n')[0];
    throw new CommandError(
      `Temporal at ${server.address} cannot be reached (${why}). Check TEMPORAL_ADDRESS, and TLS or the API key, or run \`npm start\` here. Nothing was done.`,
      'unreachable',
    );
  });

/** @throws Error when it does not answer in time. */
export const connectToTemporal = (
  server: TemporalServer['connection'],
  connectTimeoutMs = 10_000,
): Promise<Connection> => Connection.connect({ ...signallingConnection(server), connectTimeout: connectTimeoutMs });

const notFound = 5;
/** Whether the server says that what was asked for is not there. */
export const isNotFound = (error: unknown): boolean => isGrpcServiceError(error) && Number(error.code) === notFound;
