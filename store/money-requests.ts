/**
 * What denied runs ask people for: money of a quota that refused. Each request is answered once, by a grant, which lifts that quota by a top-up
 * in the same transaction, or by a refusal (store/money-answers.ts); or it ends by itself: `withdrawn` when its wait is over
 * (`withdraw_money_requests`, in migrations/functions), `expired` when its time is.
 */
import type { BindingQuota, Resource } from '../core/budget/commands';
import type { MoneyAnswer } from '../core/budget/money-requests';
import { envelopeKind } from '../core/budget/envelopes';
import { covers, standingOf, type Payer, type Standing } from '../core/budget/quotas';
import type { Labels } from '../core/labels';
import type { Role } from '../core/roles';
import { knowsFunction } from './known-functions';
import type { QuotaKey } from './quota-key';
import { isOwn, quotasOf } from './quotas';
import { asTenant, type Pool, type PoolClient } from './pool';

export const moneyRequestStatuses = ['pending', 'granted', 'refused', 'withdrawn', 'expired'] as const;
export type MoneyRequestStatus = (typeof moneyRequestStatuses)[number];

/** A limit that was lifted, and by how much. */
export interface LiftedLimit extends QuotaKey {
  amountUsd: string;
}

export interface MoneyRequest {
  requestId: string;
  /** The wait that it belongs to. */
  waiterId: string;
  runId: string | null;
  workflowId: string;
  userId: string | null;
  /** What the step was for that was denied: its kind, and what it is billed as. */
  kind: string;
  resource: Resource;
  labels: Labels | null;
  /** The quota that refused, as it was then. */
  quota: BindingQuota;
  /** What its limits lacked for what the step takes at least, which is all of it but where a version before asked. Decimal string, as all amounts. */
  lacksUsd: string;
  askedUsd: string;
  /** The paid steps of its run before, and what they cost; null where it is of no run. */
  steps: number | null;
  costUsd: string | null;
  /** What the workflow's request before this one came to. */
  lastAnswer: MoneyAnswer | null;
  status: MoneyRequestStatus;
  /** By how much more what its limits allow is, and by how much each of those that stood in the way was lifted for that. */
  grantedUsd: string | null;
  lifted: LiftedLimit[] | null;
  /** When what is unused of the grant goes; null where that is when the quota's period ends. */
  expiresAt: Date | null;
  reason: string | null;
  decidedBy: string | null;
  decidedByKeyId: string | null;
  decidedByRole: Role | null;
  createdAt: Date;
  waitsUntil: Date;
  decidedAt: Date | null;
}

/** As rows are read. A request whose time is over is told as expired, whoever looks first. */
export const columns = `request_id AS "requestId", waiter_id AS "waiterId", run_id AS "runId", workflow_id AS "workflowId", user_id AS "userId", kind, resource, labels, quota,
  trim_scale(lacks_usd)::text AS "lacksUsd", trim_scale(asked_usd)::text AS "askedUsd", steps, trim_scale(cost_usd)::text AS "costUsd",
  last_answer AS "lastAnswer", CASE WHEN status = 'pending' AND waits_until <= clock_timestamp() THEN 'expired' ELSE status END AS status,
  trim_scale(granted_usd)::text AS "grantedUsd", lifted, expires_at AS "expiresAt", reason, decided_by AS "decidedBy",
  decided_by_key AS "decidedByKeyId", decided_by_role AS "decidedByRole", created_at AS "createdAt", waits_until AS "waitsUntil",
  decided_at AS "decidedAt"`;

/** How a request ended, as the next one of its workflow names it. Undefined while it waits. */
export const answerOf = ({ status, grantedUsd, reason, decidedBy }: MoneyRequest): MoneyAnswer | undefined =>
  status === 'pending' ? undefined : { status, grantedUsd, reason, decidedBy };

/** Whether people can be asked for money: a database of the version before has no place for it. */
export const knowsMoneyRequests = (db: Pool | PoolClient): Promise<boolean> =>
  knowsFunction(db, 'untold_money_answers(interval, integer)');

export interface MoneyRequestKey {
  tenantId: string;
  requestId: string;
}

/** Undefined when the tenant has none of that id. */
export async function findMoneyRequest(
  pool: Pool,
  { tenantId, requestId }: MoneyRequestKey,
): Promise<MoneyRequest | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    if (!(await knowsMoneyRequests(client))) return undefined;
    return readMoneyRequest(client, requestId);
  });
}

/** The same within the caller's transaction. */
export async function readMoneyRequest(
  client: PoolClient,
  requestId: string,
  lock: '' | 'FOR UPDATE' = '',
): Promise<MoneyRequest | undefined> {
  const { rows } = await client.query<MoneyRequest>(
    `SELECT ${columns} FROM copilot_internal.money_requests WHERE request_id = $1 ${lock}`,
    [requestId],
  );
  return rows[0];
}

/** What a tenant's people are asked for and have not answered, the longest waiting first; or all of one run. */
export async function listMoneyRequests(
  pool: Pool,
  {
    tenantId,
    runId,
    afterRequestId,
    limit = 500,
  }: { tenantId: string; runId?: string | undefined; afterRequestId?: string | undefined; limit?: number },
): Promise<{ requests: MoneyRequest[]; hasMore: boolean }> {
  return asTenant(pool, tenantId, async (client) => {
    if (!(await knowsMoneyRequests(client))) return { requests: [], hasMore: false };
    const { rows: requests } = await client.query<MoneyRequest>(
      `SELECT ${columns} FROM copilot_internal.money_requests
       WHERE tenant_id = $4 AND CASE WHEN $1::uuid IS NULL THEN status = 'pending' AND waits_until > clock_timestamp() ELSE run_id = $1 END
         AND ($2::uuid IS NULL OR (created_at, request_id) > (
           SELECT l.created_at, l.request_id FROM copilot_internal.money_requests l WHERE l.request_id = $2))
       ORDER BY created_at, request_id LIMIT $3`,
      [runId ?? null, afterRequestId ?? null, limit, tenantId],
    );
    return { requests, hasMore: requests.length === limit };
  });
}

/** Answers to steps of all tenants that still wait, given so long ago without their workflow having heard of them. */
export async function findUntoldAnswers(
  pool: Pool,
  { waitedMs, max }: { waitedMs: number; max: number },
): Promise<(MoneyRequestKey & { workflowId: string })[]> {
  if (!(await knowsMoneyRequests(pool))) return [];
  const { rows } = await pool.query<MoneyRequestKey & { workflowId: string }>(
    `SELECT tenant_id AS "tenantId", request_id AS "requestId", workflow_id AS "workflowId"
     FROM copilot_internal.untold_money_answers($1 * interval '1 millisecond', $2)`,
    [waitedMs, max],
  );
  return rows;
}

/** Notes that the workflow was signalled of an answer: Temporal keeps that for it. */
export async function noteSignalled(pool: Pool, { tenantId, requestId }: MoneyRequestKey): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(
      client.query(
        'UPDATE copilot_internal.money_requests SET signalled_at = clock_timestamp() WHERE request_id = $1',
        [requestId],
      ),
    ),
  );
}

/**
 * The limits of the tenant, of a user and of labels that a step has to fit, as the next decision will find them: of a run's envelope those of
 * each resource that it was asked for.
 */
export async function limitsOfStep(
  client: PoolClient,
  { tenantId, step: { kind, runId }, ...step }: Payer & { tenantId: string; step: StepOfRun },
): Promise<Standing[]> {
  const { userId, labels } = step;
  const ofEnvelope = kind === envelopeKind && runId != null;
  const payer = ofEnvelope ? { ...step, heldOn: await heldOnFor(client, tenantId, runId) } : step;
  const quotas = await quotasOf(client, tenantId, {
    userIds: userId === undefined ? [] : [userId],
    labels: labels ? [labels] : [],
  });
  return quotas.filter((quota) => isOwn(quota) && covers(quota, payer)).map(standingOf);
}

interface StepOfRun {
  kind: string;
  runId?: string | null | undefined;
}

/** What the last envelope of a run was asked for; absent where it had none. */
async function heldOnFor(client: PoolClient, tenantId: string, runId: string): Promise<Resource[] | undefined> {
  const { rows } = await client.query<{ heldOn: Resource[] }>(
    `SELECT held_on AS "heldOn" FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND run_id = $2 AND kind = $3 AND held_on IS NOT NULL ORDER BY decided_at DESC LIMIT 1`,
    [tenantId, runId, envelopeKind],
  );
  return rows[0]?.heldOn;
}
