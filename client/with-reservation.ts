/** One paid call with a grant, from asking for its money to its cost on record. */
import { omitUndefined } from '../core/omit-undefined';
import { SpendlockApiError, UnreachableError } from './errors';
import { newUuid } from './ids';
import { pause } from './patience';
import type { MoneyGrant, MoneySpent, ReserveMoney } from './money';

/** How often a reserve whose grant was given back is made anew. */
const renewalsMax = 3;
/** How long what nobody takes is sent again: a cost, and that a call is not made. */
const patienceMs = 600_000;

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
  /** Of a call that nobody had granted: what its commit has to say beside its cost. */
  readonly unreserved: MoneySpent['unreserved'];
  constructor({ operationId, costUsd, value, unreserved, cause }: NotRecorded<T>) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(
      `The call ${operationId} was made and cost $${costUsd}, which is not on record: ${why} What it answered is the error's \`value\`. Commit the cost under that operation id, with the error's \`unreserved\` where it has one, once that is mended; do not make the call again.`,
      { cause },
    );
    this.operationId = operationId;
    this.costUsd = costUsd;
    this.value = value;
    this.unreserved = unreserved;
  }
}

interface NotRecorded<T> {
  operationId: string;
  costUsd: string;
  value: T;
  unreserved?: MoneySpent['unreserved'];
  cause: unknown;
}

interface Calls {
  reserve: (asked: ReserveMoney & { operationId: string }) => Promise<MoneyGrant>;
  commit: (operationId: string, spent: MoneySpent) => Promise<unknown>;
  release: (operationId: string, more: { tenantId?: string }) => Promise<unknown>;
}

/** What a call is asked for with, and whether it is made without a grant where nobody answers. It may be a part of an envelope, and is none itself. */
export type Asked = Omit<ReserveMoney, 'envelope' | 'resources'> & {
  envelope?: never;
  resources?: never;
  onUnavailable?: 'fail' | 'allow';
};

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
  const allow = onUnavailable === 'allow';
  const grant = await reserveAnew(calls, { ...asked, onExpiry: asked.onExpiry ?? 'settle' }, { allow });
  const { operationId } = grant;
  // It may throw before it answers with a promise.
  const done = await (async () => work(grant))().catch(async (error: unknown) => {
    if (error instanceof NotBilledError) await notBilled(calls, operationId, tenant);
    throw error;
  });
  const { costUsd, usage, value } = done;
  const unreserved = grant.unreserved ? { unreserved: unreservedOf(asked) } : {};
  const spent = { costUsd, ...tenant, ...omitUndefined({ usage }), ...unreserved };
  let recordedAs = operationId;
  try {
    await insistForLong(() => calls.commit(recordedAs, spent)).catch((error: unknown) => {
      // It had been denied, and nobody heard of it: the call is another operation.
      if (!isOwnGrant(grant) || !isConflict(error)) throw error;
      recordedAs = newUuid();
      return insistForLong(() => calls.commit(recordedAs, spent));
    });
  } catch (cause) {
    throw new CostNotRecordedError({ operationId: recordedAs, costUsd, value, cause, ...unreserved });
  }
  return value;
}

/**
 * Where an answer was lost, what it granted may have been given back: then under another id, unless the caller chose it. Where nobody
 * answers the call is let through, if it may be, under the id that was asked for: it may have been granted.
 */
export async function reserveAnew(
  calls: Calls,
  asked: ReserveMoney,
  { allow = false }: { allow?: boolean } = {},
): Promise<MoneyGrant> {
  const isOwn = asked.operationId === undefined;
  for (let renewals = renewalsMax; ; renewals -= 1) {
    const operationId = asked.operationId ?? newUuid();
    try {
      return await calls.reserve({ ...asked, operationId });
    } catch (error) {
      if (allow && isUnavailable(error)) return grantWithoutReservation(asked, operationId);
      // Nobody heard of it, so nobody uses it; under an id of the caller's somebody else may.
      if (isOwn && !isAnswered(error)) void giveUp(calls, operationId, asked, { isIdle: true }).catch(() => undefined);
      if (!isOwn || renewals === 0 || !isGivenBack(error)) throw error;
    }
  }
}

/** Gives the grant of a call back that was not billed; whoever waits for the call is told why it was not made, soon. */
const notBilled = (calls: Calls, operationId: string, tenant: { tenantId?: string }): Promise<unknown> =>
  giveUp(calls, operationId, tenant, { forMs: 10_000 }).catch((error: unknown) => {
    if (isUnavailable(error)) void giveUp(calls, operationId, tenant, { isIdle: true }).catch(() => undefined);
  });

/** Says that a call is not billed; one whose grant ran out meanwhile, and was charged, is corrected. */
async function giveUp(
  { release, commit }: Calls,
  operationId: string,
  { tenantId }: { tenantId?: string },
  insisting: Insisting,
): Promise<void> {
  const tenant = omitUndefined({ tenantId });
  try {
    await insistForLong(() => release(operationId, tenant), insisting);
  } catch (error) {
    if (!isConflict(error)) throw error;
    await insistForLong(() => commit(operationId, { costUsd: '0', ...tenant }), insisting);
  }
}

interface Insisting {
  forMs?: number;
  /** Whether a process that has nothing else to do may end before. */
  isIdle?: boolean;
}

/** Sends until somebody takes it, for up to ten minutes: what is spent, or is not, has to be recorded. */
async function insistForLong<T>(
  send: () => Promise<T>,
  { forMs = patienceMs, isIdle = false }: Insisting = {},
): Promise<T> {
  for (const giveUpMs = performance.now() + forMs; ; await pause(1_000, undefined, { isIdle })) {
    try {
      return await send();
    } catch (error) {
      if (!isPassing(error) || performance.now() > giveUpMs) throw error;
    }
  }
}

/** Whether the API itself said what became of a request; whoever stands before it knows nothing of that. */
const isAnswered = (error: unknown): boolean =>
  error instanceof SpendlockApiError && error.status < 500 && typeof error.body.error === 'string';

/** Nobody answered, or said that nobody is there to decide. */
const isUnavailable = (error: unknown): boolean =>
  error instanceof UnreachableError ||
  (error instanceof SpendlockApiError &&
    (error.status > 500 || (error.status === 500 && typeof error.body.error !== 'string')));

/** The same request may be taken later. */
const isPassing = (error: unknown): boolean =>
  isUnavailable(error) || (error instanceof SpendlockApiError && (error.status === 500 || error.status === 429));

const isConflict = (error: unknown): boolean =>
  error instanceof SpendlockApiError && error.code === 'operation_conflict';

/** The API had taken its caller for gone. */
const isGivenBack = (error: unknown): boolean =>
  error instanceof SpendlockApiError && error.code === 'operation_released';

const grantWithoutReservation = ({ amountUsd }: ReserveMoney, operationId: string): MoneyGrant => ({
  operationId,
  decision: 'granted',
  grantedUsd: amountUsd,
  partial: false,
  unreserved: true,
});

/** One that nobody answered for: whether there is a reservation of it is not known. */
const isOwnGrant = ({ unreserved, expiresAt }: MoneyGrant): boolean => unreserved === true && expiresAt === undefined;

const unreservedOf = ({ resource, amountUsd, userId, runId, kind, model, labels }: ReserveMoney) => ({
  resource,
  amountUsd,
  ...omitUndefined({ userId, runId, kind, model, labels }),
});
