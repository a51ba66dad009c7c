/** Reservations of callers outside Temporal: the same authority, the same decisions, by HTTP. */
import type { ReserveAnswer, ReserveCommand, RunLimitRef } from '../../core/budget/commands';
import type { Labels } from '../../core/labels';
import { formatUsd, parseAmountUsd } from '../../core/money';
import { sentAs } from '../../core/resources';
import { recordMade } from '../../store/decided';
import type { OfEnvelope } from '../../store/envelopes';
import { noteConfirmedCost } from '../../store/operator-changes';
import type { OutcomeAnswer, OutcomeItem } from '../../store/outcomes';
import {
  claimReservation,
  extendReservation,
  findOperation,
  readReservation,
  type OperationKey,
  type OperationState,
  type ReservationView,
} from '../../store/reservations';
import type { ApiDependencies } from '../http/context';
import { denialBody, Denied, rejected } from '../http/denials';
import { ApiError } from '../http/errors';
import { labelsOfMade, labelsOver } from '../http/labels';
import { runNamed } from '../http/run-named';
import { omitUndefined } from '../../core/omit-undefined';
import { ofEnvelope, refuseOfEnvelope } from './envelopes';
import { nextOf, noSuchReservation, refusalOf } from './refusals';
import type { CommitBody, CommittedView, GrantView, ReserveBody } from './schemas';
import { beyondSum, refuseUnconfirmed, type Confirmation } from './told-costs';

/** How long a release waits for the authority to have left its mark. */
const releaseTimeoutMs = 5_000;
/** Between the row of a call without a grant and its cost, which is written at once. */
const unreservedTtlSeconds = 300;

/** Asks the tenant's authority, and waits for its answer as long as the tenant's policy says. */
export async function reserve(
  { pool, authority, policies }: ApiDependencies,
  {
    tenantId,
    body,
    keyLabels,
    gone,
    comesBack,
  }: {
    tenantId: string;
    body: ReserveBody;
    /** Of the key that it came with. */
    keyLabels: Labels | undefined;
    gone: AbortSignal;
    /** For its answer, when it is gone. */
    comesBack: boolean;
  },
): Promise<GrantView> {
  const run = await runNamed(pool, { tenantId, runId: body.runId }, 'Nothing was reserved.');
  const { answerTimeoutMs, onUnavailable } = await policies.of(tenantId);
  const answer = await authority.reserve(tenantId, commandOf(body, { keyLabels, run }), {
    timeoutMs: answerTimeoutMs,
    allow: onUnavailable === 'allow',
    gone,
    comesBack,
  });
  if (!answer) {
    throw new ApiError(
      'authority_unavailable',
      `The tenant's budget authority did not answer within ${answerTimeoutMs} ms. The request was released: nothing is held.`,
      { operationId: body.operationId },
    );
  }
  return grantOf(answer, body.resource);
}

function commandOf(
  { runId, labels: sent, ...body }: ReserveBody,
  {
    keyLabels,
    run,
    isMade = false,
  }: {
    keyLabels: Labels | undefined;
    run?: { limit: RunLimitRef; labels?: Labels | undefined } | undefined;
    /** The call was made: what it cost is refused for no label. */
    isMade?: boolean;
  },
): ReserveCommand {
  const inherited = [keyLabels, run?.labels];
  const labels = isMade
    ? labelsOfMade(sent, inherited)
    : labelsOver(sent, { inherited, nothing: 'Nothing was reserved.' });
  const { operationId, resource, amountUsd, priceVersion, ttlSeconds, kind, userId, minimumUsd, model, onExpiry } =
    body;
  const optional = omitUndefined({ userId, minimumUsd, model, onExpiry, runId, runLimit: run?.limit });
  return {
    type: 'reserve',
    operationId,
    ...sentAs(resource),
    ...ofEnvelope(body),
    amountUsd,
    priceVersion,
    ttlSeconds,
    kind,
    ...optional,
    ...labels,
  };
}

function grantOf(answer: ReserveAnswer, resource: ReserveBody['resource']): GrantView {
  switch (answer.decision) {
    case 'granted': {
      const { countsForRun: _, ...grant } = answer;
      return grant;
    }
    case 'denied': {
      const { message, quota, retryAfterSeconds, operationId, billedAs = resource } = answer;
      throw new Denied({ ...denialBody({ message, resource: billedAs, quota, retryAfterSeconds }), operationId });
    }
    case 'rejected':
      throw rejected(answer);
  }
}

/** Claims: from then on the call may be made, and running out means that its estimate is charged unless said otherwise. */
export async function claim({ pool }: ApiDependencies, key: OperationKey & { claimToken: string }): Promise<void> {
  if ((await claimReservation(pool, key)) !== undefined) return;
  const found = await findOperation(pool, key);
  if (!found) throw noSuchReservation(key);
  const status = toldStatusOf(found);
  if (status === 'granted') await refuseOfEnvelope({ pool }, key, 'claimed');
  if (status === 'granted' && found.claimed)
    throw new ApiError('claim_refused', 'The reservation is claimed already. No call may be made.', {
      action:
        'Make no call: it is for whoever claimed it, which may have been yourself before a restart. For another call reserve under a new operation id.',
    });
  const how = status === 'granted' ? 'has run out' : `is ${status}`;
  throw new ApiError('claim_refused', `The reservation ${how}. No call may be made.`, nextOf(status));
}

/** How it stands for its caller: what was told of it holds before a decision has folded it. */
const toldStatusOf = ({ status, outcome }: OperationState): string =>
  status !== 'granted' || outcome === null ? status : outcome === 'billed' ? 'committed' : 'released';

/**
 * Records what a call cost. Answers once Postgres holds it; the balances follow within moments. A call that was made without
 * a reservation is taken on record when the tenant's policy allows such calls. What an operator confirmed is noted; a repeat makes
 * up for a note that was lost.
 */
export async function commit(
  dependencies: ApiDependencies,
  {
    tenantId,
    item,
    unreserved,
    keyLabels,
    confirmed,
  }: {
    tenantId: string;
    item: OutcomeItem & { costUsd: bigint };
    unreserved?: CallWithoutGrant | undefined;
    /** Of the key that it came with. */
    keyLabels?: Labels | undefined;
    confirmed?: Confirmation | undefined;
  },
): Promise<CommittedView> {
  const { operationId } = item;
  let before = await dependencies.authority.writeOutcome(tenantId, item);
  if (before.status === null && unreserved) {
    const isConfirmed = confirmed !== undefined;
    await recordUnreserved(dependencies, { tenantId, item, request: unreserved, keyLabels, isConfirmed });
    before = await dependencies.authority.writeOutcome(tenantId, item);
  }
  if (before.written || isSameCost(before, item.costUsd)) {
    const costUsd = formatUsd(item.costUsd);
    const noted =
      !confirmed || (await noteConfirmedCost(dependencies.pool, { tenantId, operationId, costUsd, ...confirmed }));
    return { operationId, status: 'committed', ...(noted ? {} : { confirmedBefore: true }) };
  }
  await refuseOfEnvelope(dependencies, { tenantId, operationId }, 'committed');
  // Rare, and only for its words.
  const found =
    before.unconfirmedAtUsd == null ? undefined : await readReservation(dependencies.pool, { tenantId, operationId });
  throw refusalOf(before, { tenantId, ...item, unreserved: found?.unreserved ?? false });
}

type CallWithoutGrant = NonNullable<CommitBody['unreserved']>;

async function recordUnreserved(
  dependencies: ApiDependencies,
  {
    tenantId,
    item,
    request,
    keyLabels,
    isConfirmed,
  }: {
    tenantId: string;
    item: OutcomeItem & { costUsd: bigint };
    request: CallWithoutGrant;
    keyLabels: Labels | undefined;
    isConfirmed: boolean;
  },
): Promise<void> {
  const { pool, policies, log, enforced, authority } = dependencies;
  const { operationId, costUsd, grantAboveUsd } = item;
  const { onUnavailable } = await policies.of(tenantId);
  if (onUnavailable !== 'allow') {
    throw new ApiError(
      'unknown_operation',
      `Tenant ${tenantId} has no reservation ${operationId}, and its policy, ${onUnavailable}, does not let calls go on without one. Nothing was recorded.`,
    );
  }
  await refuseUnconfirmed(dependencies, { tenantId, costUsd, grantAboveUsd, call: request });
  const run = await runNamed(pool, { tenantId, runId: request.runId }, 'Nothing was recorded.');
  const asked = { ...request, operationId, amountUsd: formatUsd(costUsd), ttlSeconds: unreservedTtlSeconds };
  const command = commandOf(asked, { keyLabels, run, isMade: true });
  const refused = await recordMade(pool, { tenantId, command, item, enforced: isConfirmed ? undefined : enforced });
  // A repeat, whose first request got there before it.
  if (refused && (await findOperation(pool, { tenantId, operationId }))) return;
  if (refused) throw beyondSum(costUsd, refused.beyondUsd);
  authority.fold(tenantId);
  log.warn({ tenantId, operationId }, 'a call was made without a grant, and its cost is recorded now');
}

const isSameCost = ({ outcome, outcomeUsd }: OutcomeAnswer, costUsd: bigint): boolean =>
  outcome === 'billed' && outcomeUsd !== null && parseAmountUsd(outcomeUsd) === costUsd;

/** Gives a reservation up: its call was not made, or surely not billed. A reserve that comes later is refused. */
export async function release(
  { authority, tenants }: ApiDependencies,
  { tenantId, item }: { tenantId: string; item: OutcomeItem },
): Promise<{ operationId: string; status: 'released' }> {
  const { operationId } = item;
  const before = await authority.writeOutcome(tenantId, item);
  const isReleased =
    before.outcome !== 'billed' &&
    (before.status === 'released' || before.status === 'expired' || before.outcome !== null);
  if (before.written || isReleased) return { operationId, status: 'released' };
  if (before.status !== null) throw refusalOf(before, { tenantId, ...item });
  // For a tenant that was deleted a moment ago nobody leaves a mark any more.
  if (!(await tenants.anew(tenantId)))
    throw new ApiError('unknown_tenant', `The tenant ${tenantId} was deleted since. Nothing was done.`);
  // Nobody has heard of it yet: the authority leaves the mark that its reserve will meet.
  if (await authority.releaseUnknown(tenantId, operationId, releaseTimeoutMs))
    return { operationId, status: 'released' };
  throw new ApiError(
    'authority_unavailable',
    'The authority did not answer. The release was sent, and holds once it is heard.',
    { action: 'Send the same release again in a moment, under the same operation id, until it is answered.' },
  );
}

/** Holds a reservation for longer. */
export async function extend(
  { pool }: ApiDependencies,
  key: OperationKey & { ttlSeconds: number },
): Promise<{ operationId: string; expiresAt: string }> {
  const expiresAt = await extendReservation(pool, key);
  if (expiresAt) return { operationId: key.operationId, expiresAt: expiresAt.toISOString() };
  const found = await findOperation(pool, key);
  if (!found) throw noSuchReservation(key);
  const status = toldStatusOf(found);
  throw new ApiError(
    'claim_refused',
    `The reservation ${status === 'granted' ? 'has run out' : `is ${status}`}; it was not extended.`,
    nextOf(status),
  );
}

export async function show({ pool }: ApiDependencies, key: OperationKey): Promise<ReservationView & OfEnvelope> {
  const found = await readReservation(pool, key);
  if (!found) throw noSuchReservation(key, '');
  return found;
}
