/**
 * Postgres, as the application role sees it. Every tenant's rows are reached inside a transaction that names the tenant:
 * row security then hides everybody else's, so a forgotten WHERE shows nothing instead of too much.
 */
import { escapeLiteral, Pool, type PoolClient, type PoolConfig } from 'pg';

export type { Pool, PoolClient } from 'pg';

/**
 * A pool of the application role. An idle connection that breaks is replaced; the query that finds none says so. Queries
 * of one connection are sent without waiting for the answers before them: a transaction then takes fewer round trips.
 */
export function createPool(connectionString: string, config: PoolConfig = {}): Pool {
  const pool = new Pool({ connectionString, max: 8, connectionTimeoutMillis: 5_000, pipeline: true, ...config });
  pool.on('error', () => undefined);
  // One that breaks between two queries of a transaction says so too; the next query rejects, and that is handled.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Commits together with the last query of a transaction, in one round trip. Nothing may follow it. */
export type CommitWith = <R>(lastQuery: Promise<R>) => Promise<R>;

/** Runs `work` in one transaction: committed when it returns, rolled back when it throws. */
export async function inTransaction<T>(
  pool: Pool,
  work: (client: PoolClient, commitWith: CommitWith) => Promise<T>,
  /** Settings of the transaction, sent along with its beginning. */
  settings: Record<string, string> = {},
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  let committed: Promise<unknown> | undefined;
  try {
    const local = Object.entries(settings).map(
      ([name, value]) => `SELECT set_config(${escapeLiteral(name)}, ${escapeLiteral(value)}, true)`,
    );
    const begun = client.query(['BEGIN', ...local].join('; '));
    const commitWith: CommitWith = async (lastQuery) => {
      // Postgres answers COMMIT with ROLLBACK when a query before it failed, and that query has rejected.
      committed = client.query('COMMIT');
      const [result] = await Promise.all([lastQuery, committed]);
      return result;
    };
    const [begin, done] = await Promise.allSettled([begun, work(client, commitWith)]);
    if (begin.status === 'rejected') throw begin.reason;
    if (done.status === 'rejected') throw done.reason;
    await (committed ?? client.query('COMMIT'));
    return done.value;
  } catch (error) {
    await committed?.catch(() => undefined);
    await client.query('ROLLBACK').catch((rollbackError: Error) => (broken = rollbackError));
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Runs `work` in a transaction that sees one tenant's rows. */
export async function asTenant<T>(
  pool: Pool,
  tenantId: string,
  work: (client: PoolClient, commitWith: CommitWith) => Promise<T>,
): Promise<T> {
  return inTransaction(pool, work, { 'spendlock.tenant_id': tenantId });
}

/** The SQLSTATE of a database error; undefined for any other error. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** Codes of a network that lost its other end. */
const networkCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND']);
/** What the driver says, without a code, of a connection that ended or that it could not get. */
const driverWords = /connection terminated|connection error|timeout exceeded when trying to connect|not queryable/i;

/**
 * Whether it is Postgres that is away (or full, read-only, shutting down, too slow, or ended this transaction for the sake
 * of another one), not what was asked of it: the same request may succeed later.
 */
export function isDatabaseAway(error: unknown): boolean {
  const { code = '', message = '' } = (error ?? {}) as { code?: string; message?: string };
  if (networkCodes.has(code)) return true;
  const state = sqlState(error);
  // 08 connection, 40 a deadlock, 53 resources, 57 intervention of an operator or a timeout, 25006 read-only.
  if (state !== undefined) return /^(08|40|53|57)/.test(state) || state === '25006';
  return driverWords.test(message);
}
