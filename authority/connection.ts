/** How a process connects to Temporal for signalling authorities. */
import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor, type ConnectionOptions } from '@temporalio/client';

const resourceExhausted = 8;
/** An authority turns signals away for some milliseconds while it continues as new. The client's default waits seconds. */
const turnedAwayMs = 100;
const turnedAwayMsMax = 1_000;

/** Options of a connection that tries again soon when the server says that there is too much to do. */
export function signallingConnection(address: string, apiKey?: string): ConnectionOptions {
  const usual = defaultGrpcRetryOptions();
  return {
    address,
    ...(apiKey === undefined ? {} : { apiKey, tls: true }),
    interceptors: [
      makeGrpcRetryInterceptor({
        ...usual,
        delayFunction: (attempt, status) =>
          Number(status.code) === resourceExhausted
            ? Math.min(turnedAwayMsMax, turnedAwayMs * 1.7 ** (attempt - 1)) * (0.8 + 0.4 * Math.random())
            : usual.delayFunction(attempt, status),
      }),
    ],
  };
}
