/**
 * The decision: what becomes of a batch of commands, given everything that Postgres holds of their tenant. One pure
 * function, called inside the transaction that records what it decides.
 *
 * First what is due is settled (outcomes written since the last batch, reservations overdue), so that the money it
 * frees counts; then the commands are applied in order. A grant never exceeds the headroom of any quota that covers it,
 * unless that is only watched, and every command is idempotent on its operation id, however that is spelled.
 */
import { answerAgain, answerOf, answerRefusal } from './answers';
import { Batch, type BatchDecision, type BatchState } from './batch';
import type { BudgetCommand, RejectionCode, ReserveAnswer, ReleaseCommand, ReserveCommand, Resource } from './commands';
import { keptUsd, leastUsd, type Place } from './line';
import { decidedWithOf, type DecidedWith } from './decided-with';
import { mergedLabels } from '../labels';
import { parseAmountUsd, MoneyError, type Usd } from '../money';
import { nothingReserved, quotaDenial, quotaMissingMessage, refusedAsFrozen, refusedAsUnheld } from './denials';
import { headroomUsd, tightest, type Quota } from './quotas';
import { spelled } from '../inputs/read-command';
import { isResource, mayBeGranted, resourceAsked, resourceWords } from '../resources';
import {
  isSameRequest,
  othersTold,
  tombstone,
  toldAlso,
  type Amounts,
  type Refusal,
  type Reservation,
  type ReservationRequest,
} from './reservations';
import { limitsNamed, runLimitRefusal, tightestOfRun, type RunLimit } from './run-limits';
import { settle, settleWhatIsDue } from './settlement';

/** The longest that one reservation may hold money without being extended: a week. */
const ttlSecondsMax = 7 * 24 * 3600;

/** Decides one batch. The state is not changed; what to write and what to answer is in the result. */
export function decideBatch(state: BatchState, commands: readonly BudgetCommand[]): BatchDecision {
  const batch = new Batch(state);
  settleWhatIsDue(batch);
  for (const command of commands) apply(batch, spelled(command));
  return batch.decision();
}

function apply(batch: Batch, command: BudgetCommand): void {
  switch (command.type) {
    case 'reserve':
      batch.answers.push(reserve(batch, command));
      return;
    case 'commit': {
      const reservation = batch.find(command.operationId);
      if (reservation) settle(batch, reservation, 'commit');
      return;
    }
    case 'release': {
      const reservation = batch.find(command.operationId);
      if (!reservation) batch.put(tombstone(command.operationId, batch.nowMs));
      else giveUp(batch, reservation, command);
      return;
    }
    case 'reload':
      return;
  }
}

/** Who was told of it and has gone gives it back, unless others were told of it too. */
function giveUp(batch: Batch, reservation: Reservation, { asker }: ReleaseCommand): void {
  const others = othersTold(reservation, asker);
  if (others === undefined) settle(batch, reservation, 'release');
  else if (others !== reservation.asker) batch.put({ ...reservation, asker: others });
}

/** Undefined when it is not decided, since it waits for money from the platform. */
function reserve(batch: Batch, command: ReserveCommand): ReserveAnswer | undefined {
  const { operationId } = command;
  const amounts = parseAmounts(command);
  if ('type' in amounts) return answerRefusal(operationId, amounts);
  const known = batch.find(operationId);
  if (known) {
    const answer = answerAgain(known, command, amounts);
    if (known.request && isSameRequest(known.request, command, amounts)) {
      batch.repeats.add(answer);
      const asker = toldAlso(known, command.asker);
      if (asker !== undefined) batch.put({ ...known, asker });
    }
    return answer;
  }

  const resource = batch.resourceOf(command);
  // It is answered and not recorded: there is no place for it.
  if (resource === undefined) return answerRefusal(operationId, refusedAsUnheld(resourceAsked(command)));
  const request = requestOf(command, amounts, resource);
  const frozen = batch.freezeOf(request);
  if (frozen !== undefined) {
    return record(batch, { operationId, request, refusal: refusedAsFrozen(frozen) });
  }
  const ofRun = limitsOf(batch, command);
  if ('type' in ofRun) return record(batch, { operationId, request, refusal: ofRun });
  const tightOfRun = tightestOfRun(ofRun);
  const { amountUsd, minimumUsd = amountUsd } = amounts;
  if (command.runLimit && tightOfRun && tightOfRun.leftUsd < minimumUsd) {
    const refusal = runLimitRefusal(tightOfRun, { runId: command.runLimit.id, amounts });
    return record(batch, { operationId, request, refusal });
  }
  /** All that it may get: nobody waits for what others hold of a run's limit. */
  const mostUsd = tightOfRun && tightOfRun.leftUsd < amountUsd ? tightOfRun.leftUsd : amountUsd;
  const quotas = batch.quotasFor(request);
  const kept = batch.isEnforced(request.resource) ? batch.keptFrom(command) : [];
  /** What there is of a quota for this request. */
  const leftUsd = (quota: Quota): Usd => headroomUsd(quota) - keptUsd(quota, kept);
  const minimum = leastUsd(quotas, { amountUsd: mostUsd, minimumUsd, prefersWhole: command.prefersWhole });
  const tight = binding(quotas, minimum, leftUsd);
  if (!tight || !mayBeGranted(resource, quotas)) {
    const message = quotaMissingMessage(resource, nothingReserved);
    return record(batch, { operationId, request, refusal: { type: 'rejected', code: 'quota_missing', message } });
  }
  if (batch.isEnforced(request.resource) && mustDraw(batch, { quotas, minimum, amount: mostUsd, leftUsd }))
    return undefined;
  const left = leftUsd(tight);
  const decidedWith = decidedWithOf(command, {
    ...{ payer: request, quotas, amountUsd, mostUsd, kept, isEnforced: batch.isEnforced(request.resource) },
  });
  if (batch.isEnforced(request.resource) && left < minimum) {
    const refusal = denialOf(batch, request, { tight, minimum, amounts, kept });
    const billed = resource === resourceAsked(command) ? {} : { billedAs: resource };
    return record(batch, { operationId, request, refusal: { ...refusal, ...billed }, decidedWith });
  }
  if (left < minimum) batch.refuse(tight, amounts.amountUsd);
  batch.wouldRefuse(request, amountUsd, (shadow) =>
    leastUsd([...quotas, shadow], { amountUsd: mostUsd, minimumUsd, prefersWhole: command.prefersWhole }),
  );
  const fits = left >= mostUsd || !batch.isEnforced(request.resource);
  const grantedUsd = fits ? mostUsd : left;
  const limitIds = ofRun.map(({ runId }) => runId);
  const granted: Reservation = {
    operationId,
    request: limitIds.length > 0 ? { ...request, limitIds } : request,
    status: 'granted',
    grantedUsd,
    decidedAtMs: batch.nowMs,
    expiresAtMs: batch.nowMs + command.ttlSeconds * 1000,
    claimed: false,
    asker: command.asker,
    outcomeFolded: false,
    decidedWith,
  };
  batch.put(granted);
  batch.move(granted.request ?? request, { operationId, reservedUsd: grantedUsd, grant: true });
  batch.serve(command);
  return answerOf(granted);
}

/** The limits of the run that a command names, and of what that belongs to. A database of the version before has none. */
const limitsOf = (batch: Batch, { runLimit }: ReserveCommand): RunLimit[] | Refusal =>
  runLimit && batch.runLimits ? limitsNamed(batch.runLimits, runLimit) : [];

/** Why there is too little: a quota has none, or what it has is kept for those that have waited longer. */
function denialOf(
  batch: Batch,
  request: ReservationRequest,
  { tight, minimum, amounts, kept }: { tight: Quota; minimum: Usd; amounts: Amounts; kept: readonly Place[] },
): Refusal {
  const what = nothingReserved;
  const minimumUsd = minimum === amounts.amountUsd ? undefined : minimum;
  const asked = { quota: tight, amountUsd: amounts.amountUsd, minimumUsd, what };
  if (headroomUsd(tight) >= minimum) {
    // The quota is not used up, so nobody is alerted of it.
    const retryAfterSeconds = Math.max(1, ...kept.map(({ keptForMs }) => Math.ceil(keptForMs / 1000)));
    return { type: 'denied', ...quotaDenial({ ...asked, keptUsd: keptUsd(tight, kept), retryAfterSeconds }) };
  }
  batch.refuse(tight, amounts.amountUsd);
  const retryAfterSeconds = batch.retryAfterSeconds(request, minimum);
  return { type: 'denied', ...quotaDenial({ ...asked, retryAfterSeconds }) };
}

/** The quota with the least headroom. A lease binds only what fits the tenant's own quotas, since more might be drawn. */
function binding(quotas: Quota[], minimum: Usd, leftUsd: (quota: Quota) => Usd): Quota | undefined {
  const own = tightest(
    quotas.filter(({ lease }) => !lease),
    leftUsd,
  );
  return own && leftUsd(own) < minimum ? own : tightest(quotas, leftUsd);
}

/**
 * Whether a request has to wait for the platform: it fits the tenant's own quotas, its lease is too small, and the platform
 * may have more. The rest of the batch does not wait.
 */
function mustDraw(
  batch: Batch,
  request: { quotas: Quota[]; minimum: Usd; amount: Usd; leftUsd: (quota: Quota) => Usd },
): boolean {
  const { quotas, minimum, amount, leftUsd } = request;
  const own = tightest(
    quotas.filter(({ lease }) => !lease),
    leftUsd,
  );
  const ownLeft = own ? leftUsd(own) : amount;
  const wanted = ownLeft < amount ? ownLeft : amount;
  if (wanted < minimum) return false;
  const short = quotas.filter((quota) => quota.lease && headroomUsd(quota) < wanted);
  // Where one platform quota has no more, drawing on the others changes nothing.
  if (short.length === 0 || short.some(({ lease }) => lease?.exhausted)) return false;
  const shared = tightest(quotas.filter(({ scope }) => scope === 'tenant'));
  const mostUsd = shared && headroomUsd(shared);
  for (const quota of short) batch.needOfLease(quota, { neededUsd: wanted, mostUsd });
  return true;
}

/** Checks what a reserve asks for. A nonsensical amount is refused; it is never a credit. */
function parseAmounts(command: ReserveCommand): Amounts | Refusal {
  const invalid = (code: RejectionCode, message: string): Refusal => ({ type: 'rejected', code, message });
  if (!(command.ttlSeconds > 0 && command.ttlSeconds <= ttlSecondsMax)) {
    return invalid(
      'invalid_request',
      `ttlSeconds must be more than 0 and at most ${ttlSecondsMax}, not ${command.ttlSeconds}. Nothing was reserved.`,
    );
  }
  // Who decides by itself, in the process that asks, comes by no reader of commands.
  if (!isResource(resourceAsked(command))) {
    const name = JSON.stringify(String(command.resource).slice(0, 64));
    return invalid('invalid_request', `${name} is no resource: those are ${resourceWords}. Nothing was reserved.`);
  }
  try {
    const amountUsd = parseAmountUsd(command.amountUsd);
    const minimumUsd = command.minimumUsd === undefined ? undefined : parseAmountUsd(command.minimumUsd);
    if (minimumUsd !== undefined && minimumUsd > amountUsd) {
      return invalid(
        'invalid_amount',
        `minimumUsd ${command.minimumUsd} is above amountUsd ${command.amountUsd}. Nothing was reserved.`,
      );
    }
    if (command.runLimit?.limitUsd !== undefined) parseAmountUsd(command.runLimit.limitUsd);
    return { amountUsd, minimumUsd };
  } catch (error) {
    if (error instanceof MoneyError) return invalid('invalid_amount', `${error.message} Nothing was reserved.`);
    throw error;
  }
}

/** Whether a command asks again for what is on record. */
export function asksAgain(request: ReservationRequest, command: ReserveCommand): boolean {
  const amounts = parseAmounts(command);
  return !('type' in amounts) && isSameRequest(request, command, amounts);
}

/** The answer that a recorded reservation gives to a command of its operation id, as the decision itself would. */
export function answerFromRecord(known: Reservation, command: ReserveCommand): ReserveAnswer {
  const amounts = parseAmounts(command);
  return 'type' in amounts ? answerRefusal(known.operationId, amounts) : answerAgain(known, command, amounts);
}

function requestOf(
  command: ReserveCommand,
  { amountUsd, minimumUsd }: Amounts,
  resource: Resource,
): ReservationRequest {
  return {
    userId: command.userId,
    resource,
    requestedUsd: amountUsd,
    minimumUsd,
    priceVersion: command.priceVersion,
    runId: command.runId,
    kind: command.kind,
    step: command.step,
    attempt: command.attempt,
    model: command.model,
    onExpiry: command.onExpiry,
    traceContext: command.traceContext,
    labels: mergedLabels(command.labels),
    sentLabels: command.sentLabels,
  };
}

/** A refusal is recorded too: the same reserve asked again gets the same answer. */
function record(
  batch: Batch,
  {
    operationId,
    request,
    refusal,
    decidedWith,
  }: { operationId: string; request: ReservationRequest; refusal: Refusal; decidedWith?: DecidedWith | undefined },
): ReserveAnswer {
  const refused: Reservation = {
    operationId,
    request,
    status: refusal.type,
    refusal,
    decidedAtMs: batch.nowMs,
    claimed: false,
    outcomeFolded: false,
    decidedWith,
  };
  batch.put(refused);
  return answerOf(refused);
}
