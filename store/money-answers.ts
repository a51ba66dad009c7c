/** What people answer a run that asks for money: once, and a grant lifts the quota in the same transaction. */
import { answerInWords, liftsFor } from '../core/budget/money-requests';
import { frozenMessage } from '../core/budget/denials';
import { formatUsd, parseUsd } from '../core/money';
import { omitUndefined } from '../core/omit-undefined';
import type { Role } from '../core/roles';
import { storableText } from '../core/storable';
import { change } from './change';
import { freezeOf } from './gate';
import {
  findMoneyRequest,
  limitsOfStep,
  readMoneyRequest,
  type LiftedLimit,
  type MoneyRequest,
  type MoneyRequestKey,
} from './money-requests';
import type { QuotaKey } from './quota-key';
import { keptMs, noteInLine } from './money-waiters';
import { lift, TooManyTopUpsError } from './operator-changes';
import type { Operator } from './operator';
import { passesColumn, type Pool, type PoolClient } from './pool';
import { appendRunEvent, lockRun } from './runs';

/** A person's word. */
export interface MoneyDecision {
  decision: 'grant' | 'refuse';
  /** What is granted; what was asked for when absent. Decimal string above 0. */
  amountUsd?: string | undefined;
  /** When what is unused of it goes; when the quota's period ends where it is absent. */
  expiresAt?: string | undefined;
  reason?: string | undefined;
  by: Operator;
  role?: Role | undefined;
}

/** Why a decision was not taken: nothing was changed, and the request stands as it did. */
export interface NotTaken {
  code: 'money_request_decided' | 'budget_frozen' | 'quota_missing' | 'invalid_request' | 'invalid_amount';
  message: string;
  request: MoneyRequest;
}

type Outcome = { request: MoneyRequest } | NotTaken;

/**
 * Records what a person decided, unless it was decided before. Whoever repeats a decision is answered with it. Undefined when the tenant has no
 * such request; `keepWith` is the last statement of the transaction.
 */
export async function answerMoneyRequest(
  pool: Pool,
  key: MoneyRequestKey,
  answer: MoneyDecision & { keepWith?: (client: PoolClient, request: MoneyRequest) => Promise<void> },
): Promise<Outcome | undefined> {
  const { tenantId } = key;
  const { decision, by, keepWith } = answer;
  const before = await findMoneyRequest(pool, key);
  if (!before) return undefined;
  const userIds = before.userId === null ? [] : [before.userId];
  const action = decision === 'grant' ? 'grant_money' : 'refuse_money';
  const details: Record<string, unknown> = {};
  const found: { outcome?: Outcome } = {};
  const finish = (client: PoolClient, request: MoneyRequest): Promise<void> =>
    keepWith?.(client, request) ?? Promise.resolve();
  try {
    await change(pool, { tenantId, by, action, details, userIds, finish }, async (client) => {
      const taken = await answerWithin(client, { tenantId, before }, answer);
      found.outcome = taken;
      if (!('isNew' in taken)) return undefined;
      Object.assign(details, auditOf(taken.request));
      return taken.request;
    });
  } catch (error) {
    const notTaken = (code: NotTaken['code'], message: string): NotTaken => ({ code, message, request: before });
    if (error instanceof TooManyTopUpsError)
      return notTaken(
        'invalid_request',
        `${error.message}. Nothing was granted; leave expiresAt out, or wait for one to expire.`,
      );
    if (passesColumn(error))
      return notTaken(
        'invalid_amount',
        'amountUsd: with what was added before it is more than an amount can be. Nothing was granted.',
      );
    throw error;
  }
  return found.outcome;
}

/** What the audit has of an answer. */
const auditOf = ({ requestId, runId, askedUsd, grantedUsd, lifted, expiresAt, reason }: MoneyRequest): object => ({
  ...{ requestId, askedUsd },
  ...omitUndefined({
    runId: runId ?? undefined,
    amountUsd: grantedUsd ?? undefined,
    lifted: lifted ?? undefined,
    expiresAt: expiresAt?.toISOString(),
    reason: reason ?? undefined,
  }),
});

async function answerWithin(
  client: PoolClient,
  { tenantId, before }: { tenantId: string; before: MoneyRequest },
  answer: MoneyDecision,
): Promise<(Outcome & { isNew: true }) | Outcome> {
  const { requestId, runId, waiterId, userId } = before;
  // The run comes before what belongs to it.
  const isOpen = runId === null || (await lockRun(client, runId)) === 'running';
  // And the wait before what it asks.
  const { rowCount: waits } = await client.query(
    'SELECT FROM copilot_internal.money_waiters WHERE waiter_id = $1 FOR NO KEY UPDATE',
    [waiterId],
  );
  const request = await readMoneyRequest(client, requestId, 'FOR UPDATE');
  if (!request) throw new Error(`the request ${requestId} of ${tenantId} is gone`);
  if (request.status === 'pending' && isOpen && waits === 1) {
    if (answer.decision === 'refuse') return record(client, request, answer);
    const freeze = await freezeOf(client, { tenantId, ...omitUndefined({ userId: userId ?? undefined }) });
    if (freeze) return { code: 'budget_frozen', message: frozenMessage(freeze, 'Nothing was granted.'), request };
    const amountUsd = answer.amountUsd ?? request.askedUsd;
    const lifted = await liftAll(client, { tenantId, request, amountUsd, expiresAt: answer.expiresAt });
    if (lifted.length > 0) return record(client, request, { ...answer, amountUsd, lifted });
    const message = `No limit of ${tenantId} covers ${request.resource} any more, so there is none to lift. Nothing was granted.`;
    return { code: 'quota_missing', message, request };
  }
  if (isSameAnswer(request, answer)) return { request };
  const status = request.status === 'pending' ? 'withdrawn' : request.status;
  const message = `${answerInWords({ ...request, status })} That stands; nothing was changed.`;
  return { code: 'money_request_decided', message, request };
}

/** Lifts what stands in the way of so much more: limits of the tenant, of the user or of labels that the step has to fit. */
async function liftAll(
  client: PoolClient,
  order: { tenantId: string; request: MoneyRequest; amountUsd: string; expiresAt: string | undefined },
): Promise<LiftedLimit[]> {
  const { tenantId, request, amountUsd, expiresAt } = order;
  const { userId, labels, resource } = request;
  const limits = await limitsOfStep(client, {
    tenantId,
    userId: userId ?? undefined,
    labels: labels ?? undefined,
    resource,
    step: request,
  });
  const lifted: LiftedLimit[] = [];
  for (const { limit, byUsd } of liftsFor(limits, parseUsd(amountUsd))) {
    const { scope, scopeId, resourceType, period } = limit;
    const quota = { scope: scope as QuotaKey['scope'], scopeId, resourceType, period };
    const by = formatUsd(byUsd);
    if (await lift(client, { tenantId, quota, amountUsd: by, expiresAt })) lifted.push({ ...quota, amountUsd: by });
  }
  return lifted;
}

/** Whether it is the same that the same person said before: whoever did not hear the answer asks once more. */
const isSameAnswer = (
  { status, grantedUsd, decidedBy, decidedByKeyId, expiresAt, askedUsd }: MoneyRequest,
  { decision, amountUsd = askedUsd, expiresAt: until, by }: MoneyDecision,
): boolean =>
  decidedBy === by.author &&
  decidedByKeyId === (by.apiKeyId ?? null) &&
  (decision === 'refuse'
    ? status === 'refused'
    : status === 'granted' &&
      parseUsd(grantedUsd ?? '0') === parseUsd(amountUsd) &&
      expiresAt?.getTime() === (until && Date.parse(until)));

async function record(
  client: PoolClient,
  { requestId, runId, waiterId }: MoneyRequest,
  { decision, amountUsd, expiresAt, reason, by, role, lifted }: MoneyDecision & { lifted?: LiftedLimit[] },
): Promise<{ request: MoneyRequest; isNew: true }> {
  const granted = decision === 'grant' ? { amountUsd, expiresAt } : {};
  await client.query(
    `UPDATE copilot_internal.money_requests SET status = $2, granted_usd = $3, expires_at = $4, reason = $5, decided_by = $6,
       decided_by_key = $7, decided_by_role = $8, lifted = $9, decided_at = clock_timestamp()
     WHERE request_id = $1`,
    [
      ...[requestId, decision === 'grant' ? 'granted' : 'refused', granted.amountUsd ?? null],
      ...[granted.expiresAt ?? null, reason === undefined ? null : storableText(reason), storableText(by.author)],
      ...[by.apiKeyId ?? null, role ?? null, lifted === undefined ? null : JSON.stringify(lifted)],
    ],
  );
  const request = (await readMoneyRequest(client, requestId)) as MoneyRequest;
  // It goes before those that wait longer: of what somebody granted, what it asks for.
  if (amountUsd !== undefined && decision === 'grant') {
    const { rows } = await client.query<{ keptUsd: string }>(
      `SELECT least($2::numeric, coalesce(wanted_usd, needed_usd))::text AS "keptUsd" FROM copilot_internal.money_waiters WHERE waiter_id = $1`,
      [waiterId, amountUsd],
    );
    const kept = rows.map(({ keptUsd }) => ({
      waiterId,
      wokenAgoMs: 0,
      keptUsd: parseUsd(keptUsd),
      keptForMs: keptMs,
    }));
    if (kept.length > 0) await noteInLine(client, kept);
  }
  if (runId !== null) {
    await client.query(
      `UPDATE copilot_internal.runs SET waiting = waiting - 'asks' WHERE run_id = $1 AND waiting #>> '{asks,requestId}' = $2`,
      [runId, requestId],
    );
    const { status, grantedUsd, decidedBy } = request;
    const data = { requestId, status, decidedBy, ...(grantedUsd === null ? {} : { grantedUsd }) };
    await appendRunEvent(client, runId, { key: `answered-${requestId}`, type: 'money.answered', data });
  }
  return { request, isNew: true };
}
