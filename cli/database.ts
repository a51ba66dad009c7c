/** Postgres, for a command that works past the API, and in words why it could not. */
import { createPool, isDatabaseAway, sqlState, type Pool } from '../store/pool';
import { CommandError } from './failures';
import { databaseTarget } from './target';

/**
 * Works with the database that an environment names.
 * @param soFar what was done when it failed: nothing where it does not say
 * @throws EnvironmentError where none is named. @throws CommandError `unreachable` where it does not answer.
 */
export async function withDatabase<T>(
  environment: NodeJS.ProcessEnv,
  { orElse, soFar = () => 'Nothing was done.' }: { orElse?: string; soFar?: () => string },
  work: (pool: Pool) => Promise<T>,
): Promise<T> {
  const pool = createPool(databaseTarget(environment, orElse), { max: 1 });
  try {
    return await work(pool);
  } catch (error) {
    throw inWords(error, soFar());
  } finally {
    await pool.end();
  }
}

function inWords(error: unknown, soFar: string): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (isDatabaseAway(error) || isNetwork(code))
    return new CommandError(
      `Postgres did not answer (${code ?? message}). Check DATABASE_URL and that it runs. ${soFar}`,
      'unreachable',
    );
  const state = sqlState(error) ?? '';
  // 28 who asks is not let in, 3D there is no such database.
  if (/^(28|3D)/.test(state)) return new CommandError(`Postgres refuses it: ${message}. Check DATABASE_URL. ${soFar}`);
  // No such table, or schema.
  if (['42P01', '3F000'].includes(state))
    return new CommandError(
      `The tables of Spendlock are not in this database. Make them (\`npm run migrate\`), or check DATABASE_URL. ${soFar}`,
    );
  return error;
}

/** A name that is not known, or an address that leads nowhere: what the pool takes for lost is less. */
const isNetwork = (code: string | undefined): boolean => /^E[A-Z_]+$/.test(code ?? '');
