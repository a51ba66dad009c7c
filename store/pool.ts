/**
 * Postgres, as the application role sees it. Every tenant's rows are reached inside a transaction that names the tenant:
 * row security then hides everybody else's, so a forgotten WHERE shows nothing instead of too much.
 */
import { Pool, type PoolClient, type PoolConfig } from 'pg';
import {
  beginWith,
  BoundedClient,
  boundedConfig,
  cutOff,
  databaseLimits,
  giveStatements,
  sessionSettings,
  type ConnectionLimits,
} from './connections';
import { withinShare } from './fair-share';

export type { Pool, PoolClient } from 'pg';

/**
 * A pool of the application role. An idle connection that breaks is replaced; the query that finds none says so. Queries
 * of one connection are sent without waiting for the answers before them: a transaction then takes fewer round trips.
 */
export function createPool(
  connectionString: string,
  { limits = {}, ...config }: PoolConfig & { limits?: ConnectionLimits } = {},
): Pool {
  const pool = new Pool({
    connectionString,
    max: 8,
    pipeline: true,
    Client: BoundedClient,
    ...boundedConfig(limits),
    ...config,
  });
  const idle = new Set<PoolClient>();
  pool.on('error', () => undefined);
  pool.on('connect', (client) => {
    // One that breaks between two queries of a transaction says so too; the next query rejects, and that is handled.
    client.on('error', () => undefined);
    // Sent ahead of whatever comes first. Without its bounds no connection is used.
    client.query(sessionSettings(limits)).catch(() => cutOff(client));
  });
  pool.on('acquire', (client) => idle.delete(client));
  pool.on('remove', (client) => idle.delete(client));
  pool.on('release', (error, client) => {
    if (!(error as Error | undefined)) idle.add(client);
    // Where one connection went silent or broke, others of the pool will have: who comes next need not find it out.
    else if (isConnectionLost(error)) for (const other of idle) leave(other);
  });
  return pool;
}

/** Has a pool give up an idle connection at once: it does so for one that says it broke. */
function leave(client: PoolClient): void {
  client.emit('error', new Error('Connection terminated: another of its pool was lost'));
  cutOff(client);
}

/** Commits together with the last query of a transaction, in one round trip. Nothing may follow it. */
export type CommitWith = <R>(lastQuery: Promise<R>) => Promise<R>;

export interface TransactionOptions {
  /** Settings of the transaction, sent along with its beginning. */
  settings?: Record<string, string>;
  /** Statements that may take longer than others have this time each. */
  statementMs?: number;
  /** The whole transaction is over by then, and a pause in it much sooner: nobody waits for longer for the locks of who stands still. */
  withinMs?: number;
  /** Nobody waits longer than that for a connection. One that takes longer to be made, or given, is there for who comes next. */
  readyMs?: number | undefined;
  /**
   * A tenant's decisions wait for its locks: a pause in it ends it as soon as one of theirs. What a busy machine held up for so long is
   * done again, so that the work may be done several times, of which the last one counts.
   */
  holdsUp?: boolean;
}

/** What Postgres is told of a transaction's time. Its bound of the whole is known from version 17 on. */
function timesOf({ statementMs, withinMs, holdsUp = false }: TransactionOptions): Record<string, string> {
  const pauseMs = withinMs !== undefined || holdsUp ? databaseLimits.standingMs : undefined;
  const times = {
    statement_timeout: withinMs ?? statementMs,
    idle_in_transaction_session_timeout: pauseMs && Math.min(pauseMs, withinMs ?? pauseMs),
    transaction_timeout: withinMs,
  };
  return Object.fromEntries(
    Object.entries(times).flatMap(([name, ms]) => (ms === undefined ? [] : [[name, String(Math.ceil(ms))]])),
  );
}

/** How often a transaction is tried that Postgres ended for a pause in it. */
const pausedTriesMax = 3;
/** Postgres' word for that: it had not committed. */
const pausedState = '25P03';

/** Row security shows limits of labels, and those that are only watched, to those who know what they are: a version before would bind the tenant by them. */
export const knows = { 'spendlock.label_quotas': 'on', 'spendlock.shadow_quotas': 'on' };

/** What is done once the transaction that a connection is in has committed. */
const afterwards = new WeakMap<PoolClient, ((pool: Pool) => void)[]>();

/** Has something done, which throws nothing, once the transaction has committed; not where it failed, nor where nobody heard that it committed. */
export function onCommit(client: PoolClient, work: (pool: Pool) => void): void {
  afterwards.set(client, [...(afterwards.get(client) ?? []), work]);
}

type Work<T> = (client: PoolClient, commitWith: CommitWith) => Promise<T>;

/** Runs `work` in one transaction: committed when it returns, rolled back when it throws. */
export async function inTransaction<T>(pool: Pool, work: Work<T>, options: TransactionOptions = {}): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await tryTransaction(pool, work, options);
    } catch (error) {
      if (!options.holdsUp || tries === pausedTriesMax || sqlState(error) !== pausedState) throw error;
    }
  }
}

async function tryTransaction<T>(pool: Pool, work: Work<T>, options: TransactionOptions): Promise<T> {
  const { withinMs, statementMs, readyMs } = options;
  const client = await (readyMs === undefined ? pool.connect() : connectWithin(pool, readyMs));
  let broken: Error | undefined;
  let committed: Promise<unknown> | undefined;
  // What Postgres says between two queries, before it ends the connection, is told to neither of them.
  let ended: Error | undefined;
  const noteEnd = (error: Error): void => void (ended ??= error);
  client.on('error', noteEnd);
  const usualMs = (pool.options.query_timeout ?? 0) - databaseLimits.graceMs;
  if (statementMs !== undefined) giveStatements(client, statementMs);
  // Postgres gives it up first; when that is not heard, nobody waits for the connection any longer.
  const timer =
    withinMs === undefined ? undefined : setTimeout(() => cutOff(client), withinMs + databaseLimits.graceMs);
  try {
    const begun = client.query(beginWith(client, { ...knows, ...timesOf(options), ...options.settings }));
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
    for (const then of afterwards.get(client) ?? []) then(pool);
    return done.value;
  } catch (thrown) {
    const error = sqlState(ended) === pausedState ? ended : thrown;
    await committed?.catch(() => undefined);
    broken = await rolledBack(client);
    // A connection that Postgres itself ended, for the time that this took, says nothing of the others.
    if (broken && sqlState(error) !== undefined) broken = error as Error;
    throw error;
  } finally {
    clearTimeout(timer);
    afterwards.delete(client);
    client.off('error', noteEnd);
    if (statementMs !== undefined) giveStatements(client, usualMs);
    client.release(broken);
  }
}

/** A connection of a pool. One that is being made goes on being made when nobody waits for it any more: on a busy machine none would ever be. */
async function connectWithin(pool: Pool, ms: number): Promise<PoolClient> {
  const connecting = pool.connect();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`There was no connection within ${ms} ms.`)), ms);
  });
  try {
    return await Promise.race([connecting, late]);
  } catch (error) {
    connecting.then(
      (client) => client.release(),
      () => undefined,
    );
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Rolls back; what it answers is why the connection is of no more use. One that is late with it is cut off. */
async function rolledBack(client: PoolClient): Promise<Error | undefined> {
  const timer = setTimeout(() => cutOff(client), databaseLimits.rollbackMs);
  return client
    .query('ROLLBACK')
    .then(
      () => undefined,
      (error: Error) => error,
    )
    .finally(() => clearTimeout(timer));
}

/** Runs `work` in a transaction that sees one tenant's rows. */
export async function asTenant<T>(
  pool: Pool,
  tenantId: string,
  work: Work<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const settings = { ...options.settings, 'spendlock.tenant_id': tenantId };
  return withinShare(pool, tenantId, () => inTransaction(pool, work, { ...options, settings }));
}

/** The same, for statements that may take longer than others. */
export const asTenantTaking =
  (statementMs: number): typeof asTenant =>
  (pool, tenantId, work, options) =>
    asTenant(pool, tenantId, work, { statementMs, ...options });

/** The SQLSTATE of a database error; undefined for any other error. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** Whether it is what was asked that Postgres refuses, not Postgres that is away: 22 is data, 23 a constraint, SL001 the guard. */
export function isRefused(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return state.startsWith('22') || state.startsWith('23') || state === 'SL001';
  return error instanceof RangeError || error instanceof TypeError;
}

/** Whether Postgres, or whoever waits for it, gave up for the time that it took: 57014 a statement's, 25P04 a transaction's. */
export function isTooSlow(error: unknown): boolean {
  const state = sqlState(error);
  return (
    state === '57014' || state === '25P04' || /query read timeout/i.test(error instanceof Error ? error.message : '')
  );
}

/** Whether it gave up waiting for a lock, since it was told not to wait for it any longer. */
export const isLockedOut = (error: unknown): boolean => sqlState(error) === '55P03';

/** Whether what was to be stored is a number, an amount or a moment beyond what its column holds. */
export function passesColumn(error: unknown): boolean {
  const { constraint = '' } = (error ?? {}) as { constraint?: string };
  const state = sqlState(error) ?? '';
  return ['22003', '22008'].includes(state) || (state === '23514' && /_usd_check$/.test(constraint));
}

/** Codes of a network that lost its other end. */
const networkCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND']);
/** What the driver says, without a code, of a connection that ended or that it could not get. */
const driverWords =
  /connection terminated|connection error|timeout exceeded when trying to connect|timeout expired|read timeout|not queryable/i;

/** Whether the connection itself was lost, or said nothing for too long. */
function isConnectionLost(error: unknown): boolean {
  const { code = '', message = '' } = (error ?? {}) as { code?: string; message?: string };
  return networkCodes.has(code) || (sqlState(error) === undefined && driverWords.test(message));
}

/**
 * Whether it is Postgres that is away (or full, read-only, shutting down, too slow, or ended this transaction for the sake
 * of another one), not what was asked of it: the same request may succeed later.
 */
export function isDatabaseAway(error: unknown): boolean {
  if (isConnectionLost(error)) return true;
  const state = sqlState(error);
  // 08 connection, 40 a deadlock, 53 resources, 57 intervention of an operator or a timeout, 25006 read-only, 25P03 and 25P04 a
  // transaction that took too long.
  return state !== undefined && (/^(08|40|53|57)/.test(state) || ['25006', '25P03', '25P04'].includes(state));
}
