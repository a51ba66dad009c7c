/** Whether a tenant's rows, balances, ledger, sums by day and leases agree; and the mending of what does not. */
import type { Operator } from './operator';
import { endedWrongly, labelQuotasWrong, labelsWrong, runSumsWrong, ledgerOfQuota, openOfQuota } from './books-sql';
import { knowsMoneyRequests } from './money-requests';
import { asTenant, inTransaction, type Pool, type PoolClient } from './pool';

/** What does not agree, in words. */
export interface Difference {
  check: 'balance' | 'reservation' | 'labels' | 'day' | 'lease' | 'request';
  /** Which quota, operation or day. */
  name: string;
  says: string;
}

/** What a mending changed. */
export interface Mended {
  what: 'reservation' | 'balance' | 'day';
  name: string;
  from: string;
  to: string;
}

/** Reservations of one look, so that a tenant of any size is looked at in bounded queries. */
const reservationsAtOnce = 5_000;
/** Differences that are told of one tenant; more say the same. */
const toldMax = 200;

async function balances(client: PoolClient, tenantId: string): Promise<Difference[]> {
  const { rows } = await client.query<Record<'name' | 'spent' | 'reserved' | 'ledger' | 'open', string>>(
    `SELECT * FROM (
       SELECT concat_ws(' ', q.scope, CASE WHEN q.scope NOT IN ('tenant', 'shadow_tenant') THEN q.scope_id END, q.resource_type, q.period) AS name,
              trim_scale(q.current_spend_usd)::text AS spent, trim_scale(q.reserved_usd)::text AS reserved,
              trim_scale(${ledgerOfQuota})::text AS ledger, trim_scale(${openOfQuota})::text AS open
       FROM copilot_internal.cost_quotas q WHERE q.tenant_id = $1 AND q.scope NOT IN ('label', 'shadow_label')) AS sums
     WHERE spent <> ledger OR reserved <> open
     UNION ALL ${labelQuotasWrong('$1')}
     ORDER BY name`,
    [tenantId],
  );
  return rows.map(({ name, spent, reserved, ledger, open }) => ({
    check: 'balance',
    name,
    says: `spent $${spent} and the ledger $${ledger}; reserved $${reserved} and open reservations $${open}`,
  }));
}

interface WrongEnd {
  operation_id: string;
  status: string;
  committed: string | null;
  ledger: string;
  commits: number;
  corrections: number;
}

const saysOf = ({ status, committed, ledger, commits, corrections }: WrongEnd): string =>
  `it is ${status}${committed === null ? '' : ` at $${committed}`}, and the ledger has ${commits} commits and ${corrections} corrections, in all $${ledger}`;

async function reservations(pool: Pool, tenantId: string): Promise<Difference[]> {
  const found: Difference[] = [];
  const otherwise: Difference[] = [];
  let after = '00000000-0000-0000-0000-000000000000';
  for (;;) {
    const last = await asTenant(pool, tenantId, async (client) => {
      const { rows } = await client.query<{ last: string | null }>(
        `SELECT max(operation_id::text) AS last FROM (
           SELECT operation_id FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id > $2
           ORDER BY operation_id LIMIT $3) AS page`,
        [tenantId, after, reservationsAtOnce],
      );
      const upTo = rows[0]?.last;
      if (!upTo) return undefined;
      const page = `(SELECT * FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id > $2 AND operation_id <= $3)`;
      const wrong = await client.query<WrongEnd>(endedWrongly(page), [tenantId, after, upTo]);
      for (const row of wrong.rows) found.push({ check: 'reservation', name: row.operation_id, says: saysOf(row) });
      const forOther = await client.query<Record<'operation_id' | 'labels' | 'reserved', string | null>>(
        labelsWrong(page),
        [tenantId, after, upTo],
      );
      for (const { operation_id, labels, reserved } of forOther.rows)
        otherwise.push({
          check: 'labels',
          name: operation_id ?? '',
          says: `it is for ${reserved ?? 'nothing'}, and a line of it in the ledger for ${labels ?? 'nothing'}; a repair leaves that`,
        });
      return upTo;
    });
    // What a repair leaves keeps nothing from being found that it mends.
    if (last === undefined || found.length >= toldMax) return [...found, ...otherwise.slice(0, toldMax)];
    after = last;
  }
}

async function runs(client: PoolClient, tenantId: string): Promise<Difference[]> {
  const { rows } = await client.query<Record<'run_id' | 'spent' | 'reserved' | 'ledger' | 'open', string>>(
    runSumsWrong('$1'),
    [tenantId],
  );
  return rows.map(({ run_id, spent, reserved, ledger, open }) => ({
    check: 'balance',
    name: `run ${run_id}`,
    says: `spent $${spent} and reserved $${reserved}, the ledger says $${ledger} and open reservations hold $${open}`,
  }));
}

/** Requests for money that wait for an answer, though nothing waits for it. They cannot be granted, and a repair leaves them. */
async function requests(client: PoolClient, tenantId: string): Promise<Difference[]> {
  if (!(await knowsMoneyRequests(client))) return [];
  const { rows } = await client.query<{ requestId: string; workflowId: string }>(
    `SELECT request_id AS "requestId", workflow_id AS "workflowId" FROM copilot_internal.money_requests r
     WHERE tenant_id = $1 AND status = 'pending' AND NOT EXISTS (
       SELECT FROM copilot_internal.money_waiters w LEFT JOIN copilot_internal.runs USING (run_id)
       WHERE w.waiter_id = r.waiter_id AND coalesce(runs.status, 'running') = 'running')
     ORDER BY created_at LIMIT $2`,
    [tenantId, toldMax],
  );
  return rows.map(({ requestId, workflowId }) => ({
    check: 'request',
    name: requestId,
    says: `it waits for an answer, and nothing of ${workflowId} waits for that any more; it cannot be granted`,
  }));
}

/** Sums of labels in a month. */
async function labelSums(
  pool: Pool,
  tenantId: string,
  month: { from: string; to: string },
): Promise<(Difference & { day: string })[]> {
  const { rows } = await asTenant(pool, tenantId, (client) =>
    client.query<Record<'day' | 'name' | 'summed' | 'ledger', string>>(
      `SELECT day::text, concat_ws(' ', day, labels, kind, nullif(model, '')) AS name, trim_scale(coalesce(was_usd, 0))::text AS summed,
              trim_scale(cost_usd)::text AS ledger
       FROM copilot_internal.label_sums_wrong($1, ARRAY(
         SELECT d::date FROM generate_series($2::date::timestamp, $3::date::timestamp - interval '1 day', interval '1 day') AS d))
       ORDER BY 1, 2`,
      [tenantId, month.from, month.to],
    ),
  );
  return rows.map(({ day, name, summed, ledger }) => ({ check: 'day', name, day, says: saysOfDay(summed, ledger) }));
}

const saysOfDay = (summed: string, ledger: string): string =>
  `summed $${summed} and the ledger $${ledger}, or another number of calls, or another sum of what is unverified or was saved`;

async function days(pool: Pool, tenantId: string): Promise<(Difference & { day: string })[]> {
  const months = await asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ from: string; to: string }>(
      `SELECT m::date::text AS from, (m + interval '1 month')::date::text AS to FROM (
         SELECT least((SELECT min(posted_at) AT TIME ZONE 'UTC' FROM copilot_internal.cost_records WHERE tenant_id = $1),
                      (SELECT min(day)::timestamp FROM copilot_internal.daily_costs WHERE tenant_id = $1)) AS first,
                greatest((SELECT max(posted_at) AT TIME ZONE 'UTC' FROM copilot_internal.cost_records WHERE tenant_id = $1),
                         (SELECT max(day)::timestamp FROM copilot_internal.daily_costs WHERE tenant_id = $1)) AS last) AS span,
         generate_series(date_trunc('month', first), last, interval '1 month') AS m`,
      [tenantId],
    );
    return rows;
  });
  const found: (Difference & { day: string })[] = [];
  for (const month of months) {
    const { rows } = await asTenant(pool, tenantId, (client) =>
      client.query<Record<'day' | 'name' | 'summed' | 'ledger', string>>(
        `SELECT day::text, concat_ws(' ', day, kind, nullif(model, ''), nullif(user_id, '')) AS name,
                trim_scale(coalesce(s.cost_usd, 0))::text AS summed, trim_scale(coalesce(l.cost_usd, 0))::text AS ledger
         FROM (SELECT * FROM copilot_internal.daily_costs WHERE tenant_id = $1 AND day >= $2::date AND day < $3::date) AS s
         FULL JOIN (
           SELECT (posted_at AT TIME ZONE 'UTC')::date AS day, resource, kind, coalesce(model, '') AS model, coalesce(user_id, '') AS user_id,
                  sum(amount_usd) AS cost_usd, sum(unverified_usd) AS unverified_usd, count(*) FILTER (WHERE entry = 'commit') AS operations,
                  sum(copilot_internal.cache_saved(usage)) AS saved_usd
           FROM copilot_internal.cost_records
           WHERE tenant_id = $1 AND posted_at >= $2::date::timestamp AT TIME ZONE 'UTC' AND posted_at < $3::date::timestamp AT TIME ZONE 'UTC'
           GROUP BY 1, 2, 3, 4, 5) AS l USING (day, resource, kind, model, user_id)
         WHERE (coalesce(s.cost_usd, 0), coalesce(s.operations, 0), coalesce(s.unverified_usd, 0), coalesce(s.cache_saved_usd, 0))
            <> (coalesce(l.cost_usd, 0), coalesce(l.operations, 0), coalesce(l.unverified_usd, 0), coalesce(l.saved_usd, 0))
         ORDER BY day, name`,
        [tenantId, month.from, month.to],
      ),
    );
    for (const { day, name, summed, ledger } of rows)
      found.push({
        check: 'day',
        name,
        day,
        says: saysOfDay(summed, ledger),
      });
    found.push(...(await labelSums(pool, tenantId, month)));
    if (found.length >= toldMax) break;
  }
  return found;
}

/** What does not agree in one tenant's books. */
export async function lookAtBooks(pool: Pool, tenantId: string): Promise<Difference[]> {
  const found: Difference[] = [
    ...(await asTenant(pool, tenantId, (client) => balances(client, tenantId))),
    ...(await asTenant(pool, tenantId, (client) => runs(client, tenantId))),
    ...(await reservations(pool, tenantId)),
    ...(await days(pool, tenantId)),
    ...(await asTenant(pool, tenantId, (client) => requests(client, tenantId))),
  ];
  return found.slice(0, toldMax).map(({ check, name, says }) => ({ check, name, says }));
}

/** Quotas of the platform that gave more to leases than they have, and than is really used. */
export async function lookAtLeases(pool: Pool): Promise<Difference[]> {
  const { rows } = await pool.query<{ name: string; limit: string; given: string; used: string }>(
    `SELECT concat_ws(' ', 'platform', resource_type, period) AS name, trim_scale(limit_usd)::text AS limit,
            trim_scale(given_usd)::text AS given, trim_scale(used_usd)::text AS used
     FROM copilot_internal.lease_sums() WHERE given_usd > greatest(limit_usd, used_usd)`,
  );
  return rows.map(({ name, limit, given, used }) => ({
    check: 'lease',
    name,
    says: `$${given} is leased of $${limit}, and $${used} is spent and reserved`,
  }));
}

/** Thrown to take back what was done to show it. */
class Shown extends Error {
  constructor(readonly mended: Mended[] | undefined) {
    super('shown, and taken back');
  }
}

/**
 * Mends what can be mended of a tenant's books, under its lock and with an audit entry, and answers what that changed; without
 * `apply` it is only shown. Undefined when there is no such tenant.
 */
export async function repairBooks(
  pool: Pool,
  { tenantId, by, reason, apply }: { tenantId: string; by: Operator; reason: string; apply: boolean },
): Promise<Mended[] | undefined> {
  const ended = (await reservations(pool, tenantId)).filter(({ check }) => check === 'reservation');
  const operationIds = ended.map(({ name }) => name);
  const wrongDays = [...new Set((await days(pool, tenantId)).map(({ day }) => day))];
  try {
    const mending = async (client: PoolClient): Promise<Mended[] | undefined> => {
      const { rows } = await client.query<{ mended: Mended[] | null }>(
        'SELECT copilot_internal.repair_books($1, $2, $3, $4, $5, $6) AS mended',
        [tenantId, operationIds, wrongDays, by.apiKeyId ?? null, by.author, reason],
      );
      const mended = rows[0]?.mended ?? undefined;
      if (!apply) throw new Shown(mended);
      return mended;
    };
    return await inTransaction(pool, mending, { holdsUp: true });
  } catch (error) {
    if (error instanceof Shown) return error.mended;
    throw error;
  }
}
