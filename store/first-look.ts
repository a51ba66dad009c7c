/** What a process is told of its Postgres when it starts, before any of its work fails for it. */
import type { Client } from 'pg';
import { BoundedClient, connectTo } from './connections';
import { isDatabaseAway, sqlState } from './pool';

/** Postgres refuses, and will go on to: the address has to be corrected. The message says what of it, and never the password. */
export class DatabaseRefusedError extends Error {
  override readonly name = 'DatabaseRefusedError';
}

/**
 * Looks at the database once, within seconds. Answers undefined where it can be worked with, and words for the log where it does
 * not answer now: that passes, or the address is wrong, and work that needs it is repeated until it answers.
 * @throws DatabaseRefusedError
 */
export async function lookAtDatabase(databaseUrl: string): Promise<string | undefined> {
  const { host, port, user = '', database = '' } = partsOf(databaseUrl);
  const server = `Postgres at ${host}:${port}`;
  let client: Client | undefined;
  try {
    client = await connectTo({ connectionString: databaseUrl });
    // Any table that a process reads.
    await client.query('SELECT FROM copilot_internal.money_waiters LIMIT 0');
    return undefined;
  } catch (error) {
    const state = sqlState(error);
    const { code = state, message } = error as { code?: string; message: string };
    if (isDatabaseAway(error))
      return `${server} does not answer (${code ?? message}). If that address is right nothing has to be done: what needs it is repeated until it answers.`;
    throw new DatabaseRefusedError(`${server} ${refusal(error as Error, { state, user, database })}`);
  } finally {
    await client?.end();
  }
}

/** What the driver takes it for. What it throws itself, or takes for the host where a password has a `/`, tells of the password. */
function partsOf(databaseUrl: string): Client {
  try {
    const parts = new BoundedClient({ connectionString: databaseUrl });
    const [, ...afterEach] = databaseUrl.split('@');
    if (afterEach.length < 2 || afterEach.at(-1)?.startsWith(parts.host)) return parts;
  } catch {
    // It cannot be read either.
  }
  throw new DatabaseRefusedError(
    'The connection string of Postgres cannot be read. It is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with @, /, # and ? in a password written as %40, %2F, %23 and %3F.',
  );
}

function refusal(
  { message }: Error,
  { state = '', user, database }: { state: string | undefined; user: string; database: string },
): string {
  if (state.startsWith('28'))
    return `refuses the role ${user} (${state}): its password is wrong, or there is no such role or it may not connect. Correct user and password of the connection string.`;
  if (state === '3D000')
    return `has no database ${database} (${state}). Correct the name at the end of the connection string.`;
  if (['42P01', '3F000', '42501'].includes(state))
    return `has no tables of Spendlock in ${database} that the role ${user} may read (${state}). Correct the connection string, or run \`npm run migrate\` on that database.`;
  return `cannot be used: ${message}. Correct the connection string.`;
}
