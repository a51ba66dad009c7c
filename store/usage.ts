/** What was spent. Whole days are read from their sums, the days at the ends and the spend of single runs from the ledger. */
import { databaseLimits } from './connections';
import { asTenantTaking, type Pool, type PoolClient } from './pool';
import { usageQuery, usageSettings, type UsageAsked } from './usage-query';

export interface UsageLine {
  group: string;
  /** Of the second thing that was asked by. */
  thenGroup?: string;
  costUsd: string;
  /** Of it, what was charged by estimate and has not been corrected or confirmed since. */
  unverifiedUsd: string;
  /** What it would have cost more without caches of prompts. */
  cacheSavedUsd: string;
  /** Operations that were charged as they ended. Corrections and adjustments are none, also that of one which had ended without a cost. */
  operations: number;
}

export interface Usage {
  /** The dearest groups, at most `linesMax`. */
  lines: UsageLine[];
  /** Of all groups. */
  costUsd: string;
  groups: number;
}

/** As many groups as are answered at once: every value of a label that is told apart, what is beyond, and what has no such label. */
const linesMax = 1_002;

/** The spend of a tenant from one moment to before another, by group, dearest first. */
export async function readUsage(pool: Pool, asked: UsageAsked): Promise<Usage> {
  const read = async (client: PoolClient): Promise<Usage> => {
    const { text, values } = linesQuery(asked, [
      'trim_scale(sum(cost) OVER ())::text AS total',
      '(count(*) OVER ())::integer AS groups',
    ]);
    const { rows } = await client.query<UsageLine & { total: string; groups: number }>(
      `${text} LIMIT ${linesMax}`,
      values,
    );
    const lines = rows.map(({ total: _, groups: __, ...line }) => line);
    return { lines, costUsd: rows[0]?.total ?? '0', groups: rows[0]?.groups ?? 0 };
  };
  return asTenantTaking(databaseLimits.patientMs)(pool, asked.tenantId, read, { settings: usageSettings });
}

/** All groups, dearest first, some at a time. */
export async function* allUsage(pool: Pool, asked: UsageAsked): AsyncGenerator<UsageLine[], void> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const { text, values } = linesQuery(asked);
    await client.query('BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 60000');
    const settings = { ...usageSettings, 'spendlock.tenant_id': asked.tenantId };
    await client.query('SELECT set_config(key, value, true) FROM jsonb_each_text($1)', [JSON.stringify(settings)]);
    await client.query(`DECLARE lines NO SCROLL CURSOR FOR ${text}`, values);
    for (;;) {
      const { rows } = await client.query<UsageLine>(`FETCH ${linesMax} FROM lines`);
      if (rows.length > 0) yield rows;
      if (rows.length < linesMax) return;
    }
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    await client.query('ROLLBACK').catch((error: Error) => (broken = error));
    client.release(broken);
  }
}

/** The dearest groups, within the caller's transaction. */
export async function usageOf(client: PoolClient, asked: UsageAsked): Promise<UsageLine[]> {
  const { text, values } = linesQuery(asked);
  const { rows } = await client.query<UsageLine>(`${text} LIMIT ${linesMax}`, values);
  return rows;
}

/** Lines of groups, dearest first; with more columns of their whole. */
function linesQuery(asked: UsageAsked, more: readonly string[] = []): { text: string; values: unknown[] } {
  const { text, values } = usageQuery(asked);
  const isByTwo = asked.thenBy !== undefined;
  const columns = [
    'name AS "group"',
    ...(isByTwo ? ['"then" AS "thenGroup"'] : []),
    'trim_scale(cost)::text AS "costUsd", trim_scale(unverified)::text AS "unverifiedUsd", trim_scale(saved)::text AS "cacheSavedUsd", operations::integer AS operations',
    ...more,
  ];
  return {
    text: `SELECT ${columns.join(', ')} FROM (${text}) AS spent ORDER BY cost DESC, name${isByTwo ? ', "then"' : ''}`,
    values,
  };
}

/** As many keys as are offered to choose from. */
const labelKeysMax = 100;

/** The keys of a tenant's labels: each is looked up after the one before, however many values they have. */
export async function labelKeysOf(client: PoolClient, tenantId: string): Promise<string[]> {
  const { rows } = await client.query<{ key: string }>(
    `WITH RECURSIVE keys AS (
       SELECT min(key) AS key FROM copilot_internal.label_values WHERE tenant_id = $1
       UNION ALL
       SELECT (SELECT min(v.key) FROM copilot_internal.label_values v WHERE v.tenant_id = $1 AND v.key > keys.key)
       FROM keys WHERE key IS NOT NULL)
     SELECT key FROM keys WHERE key IS NOT NULL LIMIT ${labelKeysMax}`,
    [tenantId],
  );
  return rows.map(({ key }) => key);
}
