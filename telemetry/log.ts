/** Structured logs: one JSON object a line. No prompt, file content or key is ever given to it. */
import pino, { type Logger } from 'pino';

export type { Logger } from 'pino';

export interface LogOptions {
  /** Which process speaks: worker, api, start. */
  name: string;
  level: string;
  /** A file descriptor or path; standard error when absent, so that standard output stays for answers. */
  destination?: number | string;
}

export const createLog = ({ name, level, destination = 2 }: LogOptions): Logger =>
  pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: ['apiKey', 'authorization', '*.apiKey', '*.authorization', '*.connectionString'],
        censor: '[redacted]',
      },
    },
    pino.destination({ dest: destination, sync: false }),
  );
