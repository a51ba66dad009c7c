/** One paid call with a grant, from asking for its money to its cost on record. */
import { omitUndefined } from '../core/omit-undefined';
import { SpendlockApiError } from './errors';
import { newUuid } from './ids';
import { pause } from './patience';
import type { MoneyGrant, MoneySpent, ReserveMoney } from './money';

/** How often a reserve whose grant was given back is made anew. */
const renewalsMax = 3;
/** How long what nobody takes is sent again: a cost, and that a call is not made. */
const patienceMs = 600_000;
/** How long a reservation is held that does not say. */
const ttlSecondsDefault = 300;

/** Thrown by the work of `withReservation` to say that its call was surely not billed. */
export class NotBilledError extends Error {
  override readonly name = 'NotBilledError';
}

/** The work of `withReservation` was done, and its cost is not on record. What it bought is here; `cause` says why. */
export class CostNotRecordedError<T = unknown> extends Error {
  override readonly name = 'CostNotRecordedError';
  readonly operationId: string;
  readonly costUsd: string;
  /** What the work answered. */
  readonly value: T;
  constructor({
    operationId,
    costUsd,
    value,
    cause,
  }: {
    operationId: string;
    costUsd: string;
    value: T;
    cause: unknown;
  }) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(
      `The call ${operationId} was made and cost $${costUsd}, which is not on record: ${why} What it answered is the error's \`value\`. Commit the cost under that operation id once that is mended.`,
      { cause },
    );
    this.operationId = operationId;
    this.costUsd = costUsd;
    this.value = value;
  }
}

interface Calls {
  reserve: (asked: ReserveMoney & { operationId: string }) => Promise<MoneyGrant>;
  commit: (operationId: string, spent: MoneySpent) => Promise<unknown>;
  release: (operationId: string, more: { tenantId?: string }) => Promise<unknown>;
}

/** What a call is asked for with, and whether it is made without a grant where nobody answers. */
export type Asked = ReserveMoney & { onUnavailable?: 'fail' | 'allow' };

/** What a call did: what it cost, what it used, and what it answered. */
export interface Done<T> {
  costUsd: string;
  usage?: unknown;
  value: T;
}

/** @throws CostNotRecordedError, beside what the work throws and what the API refuses before it. */
export async function withReservation<T>(
  calls: Calls,
  { onUnavailable = 'fail', ...asked }: Asked,
  work: (grant: MoneyGrant) => Promise<Done<T>>,
): Promise<T> {
  const tenant = omitUndefined({ tenantId: asked.tenantId });
  const grant = await reserveAnew(calls, { onExpiry: 'settle', ...asked }).catch((error: unknown) => {
    if (onUnavailable === 'allow' && isUnavailable(error)) return grantWithoutReservation(asked);
    throw error;
  });
  const { operationId } = grant;
  const done = await work(grant).catch(async (error: unknown) => {
    if (error instanceof NotBilledError && !grant.unreserved) await notBilled(calls, operationId, tenant);
    throw error;
  });
  const { costUsd, usage, value } = done;
  const spent = { costUsd, ...tenant, ...omitUndefined({ usage }) };
  try {
    await insistForLong(() =>
      calls.commit(operationId, grant.unreserved ? { ...spent, unreserved: unreservedOf(asked) } : spent),
    );
  } catch (cause) {
    throw new CostNotRecordedError({ operationId, costUsd, value, cause });
  }
  return value;
}

/** Where an answer was lost, what it granted may have been given back: then under another id, unless the caller chose it. */
export async function reserveAnew(calls: Calls, asked: ReserveMoney): Promise<MoneyGrant> {
  for (let renewals = renewalsMax; ; renewals -= 1) {
    const operationId = asked.operationId ?? newUuid();
    try {
      return await calls.reserve({ ...asked, operationId });
    } catch (error) {
      const isOwn = asked.operationId === undefined;
      // Nobody heard of it, so nobody uses it; under an id of the caller's somebody else may.
      if (isOwn && isUnavailable(error)) giveBack(calls, operationId, asked);
      if (!isOwn || renewals === 0 || !isGivenBack(error)) throw error;
    }
  }
}

/** Says, for as long as it may be held, that a call is not made. Nobody waits for that, and no process is kept by it. */
function giveBack(
  { release }: Calls,
  operationId: string,
  { tenantId, ttlSeconds = ttlSecondsDefault }: ReserveMoney,
): void {
  const forMs = Math.min(ttlSeconds * 1_000, patienceMs);
  insistForLong(() => release(operationId, omitUndefined({ tenantId })), { forMs, isIdle: true }).catch(
    () => undefined,
  );
}

/** Gives its grant back; where that has run out meanwhile, and was charged, its cost is corrected. */
async function notBilled(
  { release, commit }: Calls,
  operationId: string,
  tenant: { tenantId?: string },
): Promise<void> {
  try {
    await insistForLong(() => release(operationId, tenant), { forMs: 10_000 });
  } catch (error) {
    if (error instanceof SpendlockApiError && error.code === 'operation_conflict')
      await commit(operationId, { costUsd: '0', ...tenant }).catch(() => undefined);
    else if (isUnavailable(error)) giveBack({ release } as Calls, operationId, tenant as ReserveMoney);
  }
}

/** Sends until somebody takes it, for up to ten minutes: what is spent, or is not, has to be recorded. */
async function insistForLong<T>(
  send: () => Promise<T>,
  { forMs = patienceMs, isIdle = false }: { forMs?: number; isIdle?: boolean } = {},
): Promise<T> {
  for (const giveUpMs = performance.now() + forMs; ; await pause(1_000, undefined, { isIdle })) {
    try {
      return await send();
    } catch (error) {
      if (!isPassing(error) || performance.now() > giveUpMs) throw error;
    }
  }
}

/** Nobody answered, or said that nobody is there to decide. */
const isUnavailable = (error: unknown): boolean =>
  !(error instanceof SpendlockApiError) || (error.status >= 502 && error.status <= 504);

/** The same request may be taken later. */
const isPassing = (error: unknown): boolean =>
  isUnavailable(error) || (error as SpendlockApiError).status === 500 || (error as SpendlockApiError).status === 429;

/** The API had taken its caller for gone. */
const isGivenBack = (error: unknown): boolean =>
  error instanceof SpendlockApiError && error.code === 'operation_released';

/** A new operation id: the one that was asked under may have been denied without anybody hearing of it. */
const grantWithoutReservation = ({ amountUsd }: ReserveMoney): MoneyGrant => ({
  operationId: newUuid(),
  decision: 'granted',
  grantedUsd: amountUsd,
  partial: false,
  unreserved: true,
});

const unreservedOf = ({ resource, amountUsd, userId, runId, kind, model, labels }: ReserveMoney) => ({
  resource,
  amountUsd,
  ...omitUndefined({ userId, runId, kind, model, labels }),
});
