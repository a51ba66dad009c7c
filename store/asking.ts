/** Asking people for money, for a step that waits for some: once until that is answered, and anew where a grant was not enough. */
import type { BindingQuota, Resource } from '../core/budget/commands';
import { lackOf, leftOfAll, requestsPerDayMax, type MoneyAnswer } from '../core/budget/money-requests';
import { utilizationPercent } from '../core/budget/quotas';
import type { Labels } from '../core/labels';
import { formatUsd, parseUsd, type Usd } from '../core/money';
import { omitUndefined } from '../core/omit-undefined';
import { answerOf, columns, knowsMoneyRequests, limitsOfStep, type MoneyRequest } from './money-requests';
import { asTenant, type Pool, type PoolClient } from './pool';
import { billedResource } from './resources';
import { appendRunEvent, lockRun } from './runs';

/** What a denied step asks people for. */
export interface AskedMoney {
  tenantId: string;
  /** The operation that was denied last: an answer is told to one. */
  operationId: string;
  waiterId: string;
  workflowId: string;
  runId?: string | undefined;
  userId?: string | undefined;
  kind: string;
  /** As its step says it. The request has what it is billed as. */
  resource: Resource;
  isTool?: true;
  labels?: Labels | undefined;
  quota: BindingQuota;
  /** All that the step asks for, and the least that it can use. */
  amountUsd: Usd;
  leastUsd: Usd;
  /** How long an answer is waited for. */
  days: number;
}

/**
 * How what a step asks for stands: it waits for so long, for a person or, where the platform refuses, for that; was granted since it last asked
 * for money; or is not coming.
 */
export type Asked =
  { leftMs: number } | { granted: true } | { refused: MoneyAnswer } | { refused: 'asked_too_often' | 'platform' };

/**
 * Asks for what its limits lack, once until that is answered, and tells how it stands. A grant that the step has not heard of is told
 * to one denied operation of it: denied again after that, it asks anew. Undefined where the database is of the version before, and where nobody
 * waits any more.
 */
export async function askForMoney(pool: Pool, asked: AskedMoney): Promise<Asked | undefined> {
  const { tenantId, operationId, waiterId, runId, quota, days } = asked;
  return asTenant(pool, tenantId, async (client) => {
    if (!(await knowsMoneyRequests(client))) return undefined;
    if (runId !== undefined) await lockRun(client, runId);
    // Its end waits for this transaction, and withdraws what was asked.
    const { rows: waits } = await client.query<{ leftMs: number; waitedMs: number }>(
      `SELECT (extract(epoch FROM waiting_since + $2 * interval '1 day' - clock_timestamp()) * 1000)::float8 AS "leftMs",
         (extract(epoch FROM clock_timestamp() - waiting_since) * 1000)::float8 AS "waitedMs"
       FROM copilot_internal.money_waiters WHERE waiter_id = $1 FOR NO KEY UPDATE`,
      [waiterId, days],
    );
    if (!waits[0]) return undefined;
    const last = await lastOf(client, waiterId);
    if (last?.status === 'refused' || last?.status === 'expired') {
      if (last.decidedAt === null) await expire(client, last);
      if (last.toldTo === null) await noteTold(client, last, operationId);
      return { refused: answerOf(last) as MoneyAnswer };
    }
    if (last?.status === 'granted' && (last.toldTo === null || last.toldTo === operationId)) {
      await noteTold(client, last, operationId);
      return { granted: true };
    }
    if (last?.status === 'pending') return last;
    // What the platform lacks nobody of the tenant can grant.
    const { leftMs, waitedMs } = waits[0];
    if (quota.scope === 'platform') return leftMs > 0 ? { leftMs } : { refused: 'platform' };
    // What others only hold mostly comes back by itself: nobody is asked for that at once.
    const heldMs = isHeld(asked) ? heldMsMax - waitedMs : 0;
    return heldMs > 0 ? { leftMs: Math.min(heldMs, leftMs) } : open(client, asked);
  });
}

/** So long a step waits for what others hold, or what is kept for them, before people are asked. */
const heldMsMax = 30_000;

const isHeld = ({ quota: { limitUsd, spentUsd }, leastUsd }: AskedMoney): boolean =>
  parseUsd(limitUsd) - parseUsd(spentUsd) >= leastUsd;

type LastRequest = MoneyRequest & { toldTo: string | null; leftMs: number };

/** What a wait asked last. */
async function lastOf(client: PoolClient, waiterId: string): Promise<LastRequest | undefined> {
  const { rows } = await client.query<LastRequest>(
    `SELECT ${columns}, told_to AS "toldTo", (extract(epoch FROM waits_until - clock_timestamp()) * 1000)::float8 AS "leftMs"
     FROM copilot_internal.money_requests WHERE waiter_id = $1 ORDER BY (status = 'pending') DESC, created_at DESC LIMIT 1 FOR UPDATE`,
    [waiterId],
  );
  return rows[0];
}

const noteTold = (client: PoolClient, { requestId }: MoneyRequest, to: string): Promise<unknown> =>
  client.query('UPDATE copilot_internal.money_requests SET told_to = $2 WHERE request_id = $1', [requestId, to]);

/** Nobody answered in time. */
async function expire(client: PoolClient, { requestId, runId }: MoneyRequest): Promise<void> {
  await client.query(
    `UPDATE copilot_internal.money_requests SET status = 'expired', decided_at = clock_timestamp() WHERE request_id = $1`,
    [requestId],
  );
  if (runId === null) return;
  await client.query(
    `UPDATE copilot_internal.runs SET waiting = waiting - 'asks' WHERE run_id = $1 AND waiting #>> '{asks,requestId}' = $2`,
    [runId, requestId],
  );
  const data = { requestId, status: 'expired' };
  await appendRunEvent(client, runId, { key: `answered-${requestId}`, type: 'money.answered', data });
}

/** What its workflow asked before: how often within a day, but for what money came for meanwhile, and what the last of it came to. */
async function askedBefore(
  client: PoolClient,
  { tenantId, workflowId }: AskedMoney,
): Promise<{ times: number; lastAnswer: MoneyAnswer | undefined }> {
  const { rows } = await client.query<MoneyRequest & { times: number }>(
    `SELECT ${columns}, (SELECT count(*)::integer FROM copilot_internal.money_requests d
       WHERE d.tenant_id = $1 AND d.workflow_id = $2 AND d.created_at > clock_timestamp() - interval '1 day'
         AND d.status <> 'withdrawn') AS times
     FROM copilot_internal.money_requests WHERE tenant_id = $1 AND workflow_id = $2 ORDER BY created_at DESC LIMIT 1`,
    [tenantId, workflowId],
  );
  return { times: rows[0]?.times ?? 0, lastAnswer: rows[0] && answerOf(rows[0]) };
}

async function open(client: PoolClient, asked: AskedMoney): Promise<Asked> {
  const { tenantId, waiterId, workflowId, runId, userId, labels, kind, quota, days } = asked;
  const { times, lastAnswer } = await askedBefore(client, asked);
  if (times >= requestsPerDayMax) return { refused: 'asked_too_often' };
  const resource = await billedResource(client, tenantId, asked);
  const limits = await limitsOfStep(client, { tenantId, userId, labels, resource, step: asked });
  const { lacksUsd, askedUsd } = lackOf(limits.length === 0 ? 0n : leftOfAll(limits), asked);
  const { rows } = await client.query<MoneyRequest & { leftMs: number }>(
    `INSERT INTO copilot_internal.money_requests (request_id, tenant_id, waiter_id, workflow_id, run_id, user_id, kind, resource, labels, quota,
       lacks_usd, asked_usd, last_answer, steps, cost_usd, waits_until)
     SELECT gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, c.steps, c.cost_usd, clock_timestamp() + $13 * interval '1 day'
     FROM (SELECT CASE WHEN $4::uuid IS NOT NULL THEN count(DISTINCT operation_id)::integer END AS steps,
             CASE WHEN $4::uuid IS NOT NULL THEN coalesce(sum(amount_usd), 0) END AS cost_usd
           FROM copilot_internal.cost_records WHERE tenant_id = $1 AND run_id = $4) AS c
     RETURNING ${columns}, (extract(epoch FROM waits_until - clock_timestamp()) * 1000)::float8 AS "leftMs"`,
    [
      ...[tenantId, waiterId, workflowId, runId ?? null, userId ?? null, kind, resource],
      ...[
        labels === undefined ? null : JSON.stringify(labels),
        JSON.stringify(quota),
        formatUsd(lacksUsd),
        formatUsd(askedUsd),
      ],
      ...[lastAnswer === undefined ? null : JSON.stringify(lastAnswer), days],
    ],
  );
  const request = rows[0];
  if (!request) throw new Error('a request for money was not recorded');
  await tell(client, tenantId, request);
  return request;
}

/** Tells of a request: in its run, whose page and events say what it waits for, and by an alert. */
async function tell(client: PoolClient, tenantId: string, request: MoneyRequest): Promise<void> {
  const { requestId, runId, kind, quota, askedUsd, steps, costUsd, lastAnswer, waitsUntil, createdAt } = request;
  const asks = { requestId, askedUsd, waitsUntil: waitsUntil.toISOString() };
  const told = {
    ...{ requestId, kind, askedUsd },
    ...omitUndefined({
      runId: runId ?? undefined,
      steps: steps ?? undefined,
      costUsd: costUsd ?? undefined,
      lastAnswer: lastAnswer ?? undefined,
    }),
  };
  if (runId !== null) {
    await client.query('UPDATE copilot_internal.runs SET waiting = waiting || $2 WHERE run_id = $1', [
      runId,
      JSON.stringify({ asks }),
    ]);
    const data = { ...told, quota, waitsUntil: asks.waitsUntil };
    await appendRunEvent(client, runId, { key: `asked-${requestId}`, type: 'money.asked', data });
  }
  const { scope, scopeId, resourceType, period, limitUsd, spentUsd, reservedUsd } = quota;
  const details = {
    ...{ scope, scopeId, resourceType, period, limitUsd, spentUsd, reservedUsd, ...told },
    utilizationPercent: utilizationPercent({ spentUsd: parseUsd(spentUsd), limitUsd: parseUsd(limitUsd) }),
  };
  await client.query(
    `INSERT INTO copilot_internal.quota_alerts (tenant_id, quota_id, kind, period_start, details)
     SELECT tenant_id, quota_id, 'money_request', $7, $6 FROM copilot_internal.cost_quotas
     WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND resource_type = $4 AND period = $5
     ON CONFLICT DO NOTHING`,
    [tenantId, scope, scopeId, resourceType, period, JSON.stringify(details), createdAt],
  );
}
