/** Reading what a process is told by its environment: a wrong value stops it at once and is named. */
import { z } from 'zod';

/** The environment is wrong: which variables, and how. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const flag = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .default('true')
  .transform((text) => text === 'true');
const address = (scheme: RegExp, what: string): z.ZodType<string> => z.string().regex(scheme, { error: what });
export const httpUrl = address(/^https?:\/\/.+/, 'must be an http:// or https:// address');
/** A variable that a compose file hands on may be empty: then it is not set. */
export const orEmpty = <T extends z.ZodType>(type: T) =>
  z.preprocess((text) => (text === '' ? undefined : text), type.optional());
/** A whole number within bounds. */
export const count = (from: number, to: number, preset: number): z.ZodType<number, string | undefined> =>
  z
    .string()
    .regex(/^\d+$/, { error: `must be a whole number from ${from} to ${to}` })
    .default(String(preset))
    .transform(Number)
    .pipe(
      z
        .number()
        .min(from, { error: `must be at least ${from}` })
        .max(to, { error: `must be at most ${to}` }),
    );

/** What every process of an installation reads. */
export const commonVariables = {
  DATABASE_URL: address(/^postgres(ql)?:\/\/.+/, 'must be a postgres:// connection string of the role spendlock_app'),
  /** Checked here, read with the rest of what concerns Temporal. */
  TEMPORAL_ADDRESS: address(/^[^/\s]+:\d+$/, 'must be host:port').optional(),
  ENFORCE_COST_QUOTAS: flag,
  ENFORCE_E2B_QUOTAS: flag,
  /** Whether processes that ask often decide under their authority's mandate. */
  SPENDLOCK_MANDATES: z
    .enum(['on', 'off'], { error: 'must be on or off' })
    .default('on')
    .transform((text) => text === 'on'),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
};

/** The port that a server listens on. */
export const port = (preset: number): z.ZodType<number, string | undefined> =>
  z
    .string()
    .regex(/^\d{1,5}$/, { error: 'must be a port number' })
    .default(String(preset))
    .transform(Number);

/** What is wrong, variable by variable. Values are not repeated: they may be secrets. */
export const problemsOf = (error: z.ZodError | undefined): string[] =>
  (error?.issues ?? []).map(
    ({ path, code, message }) => `${path.join('.')} ${code === 'invalid_type' ? 'is not set' : message}`,
  );

export const wrongEnvironment = (what: string, problems: readonly string[]): ConfigError =>
  new ConfigError(
    `${what} was not started; its environment is wrong:\n${problems.map((line) => `  ${line}`).join('\n')}`,
  );

/** What is read by itself; a failure is one problem more. */
export function attempt<T>(read: () => T, problems: string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    problems.push((error as Error).message);
    return undefined;
  }
}
