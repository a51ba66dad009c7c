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
import type { BudgetCommand, ReserveAnswer, ReleaseCommand, ReserveCommand, Resource } from './commands';
import { keptUsd, leastUsd, type Place } from './line';
import { decidedWithOf, type DecidedWith } from './decided-with';
import {
  bindingOn,
  envelopeFor,
  isEnforcedFor,
  movePart,
  prolonged,
  refusedByRest,
  requestOfPart,
  resourcesOf,
  unlimitedOf,
  withoutEnvelope,
  type Envelope,
} from './envelopes';
import type { Usd } from '../money';
import {
  keptDenial,
  nothingReserved,
  quotaDenial,
  quotaMissingMessage,
  refusedAsFrozen,
  refusedAsUnheld,
} from './denials';
import { headroomUsd, tightest, type Quota } from './quotas';
import { spelled } from '../inputs/read-command';
import { resourceAsked } from '../resources';
import { parseAmounts, requestOf } from './requests';
import {
  isEnvelope,
  isSameRequest,
  othersTold,
  tombstone,
  toldAlso,
  type Amounts,
  type Refusal,
  type Reservation,
  type ReservationRequest,
} from './reservations';
import { limitsNamed, refusedByRun, tightestOfRun, type RunLimit } from './run-limits';
import { settle, settleWhatIsDue } from './settlement';

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

  return asksNew(batch, command, amounts);
}

/** What a request comes to that is not on record: from its envelope where it names one, and by the limits otherwise. */
function asksNew(batch: Batch, came: ReserveCommand, amounts: Amounts): ReserveAnswer | undefined {
  const { operationId } = came;
  const command = batch.holdsEnvelopes ? came : withoutEnvelope(came);
  // It is answered and not recorded: there is no place for it.
  if (!command) return answerRefusal(operationId, refusedAsUnheld('envelopes'));
  const held = resourcesOf(batch, command);
  if ('unheld' in held) return answerRefusal(operationId, refusedAsUnheld(held.unheld));
  const request = requestOf(command, amounts, held);
  const refuse = (refusal: Refusal): ReserveAnswer => record(batch, { operationId, request, refusal });
  const frozen = batch.freezeOf(request);
  if (frozen !== undefined) return refuse(refusedAsFrozen(frozen));
  const ofRun = limitsOf(batch, command);
  if ('type' in ofRun) return refuse(ofRun);
  const { amountUsd, minimumUsd = amountUsd } = amounts;
  const refusal = command.runLimit && refusedByRun(ofRun, { runId: command.runLimit.id, amounts });
  if (refusal) return refuse(refusal);
  const tightOfRun = tightestOfRun(ofRun);
  /** All that it may get: where its least is there, what others hold of a run's limit is not waited for. */
  const mostUsd = tightOfRun && tightOfRun.leftUsd < amountUsd ? tightOfRun.leftUsd : amountUsd;
  const asked: Asked = { command, amounts, request, minimumUsd, mostUsd, limitIds: ofRun.map(({ runId }) => runId) };
  if (command.parentOperationId === undefined) return byLimits(batch, asked);
  const envelope = envelopeFor(batch, command, request);
  if ('type' in envelope) return command.orBeyond ? byLimits(batch, withoutParent(asked)) : refuse(envelope);
  const takePart = (): ReserveAnswer => grantPart(batch, asked, envelope);
  if (envelope.restUsd >= (command.orBeyond ? mostUsd : minimumUsd)) return takePart();
  if (!command.orBeyond) return refuse(refusedByRest(envelope, amounts));
  return byLimits(batch, withoutParent(asked), envelope.restUsd >= minimumUsd ? takePart : undefined);
}

/** A request with all that it is decided by beside the quotas. */
interface Asked {
  command: ReserveCommand;
  amounts: Amounts;
  request: ReservationRequest;
  minimumUsd: Usd;
  mostUsd: Usd;
  limitIds: readonly string[];
}

/** The same as one that names no envelope. */
const withoutParent = (asked: Asked): Asked => ({ ...asked, request: { ...asked.request, parentId: undefined } });

/** Decides by the quotas. What they would refuse for now is had otherwise where it can be. */
function byLimits(batch: Batch, asked: Asked, otherwise?: () => ReserveAnswer): ReserveAnswer | undefined {
  const { command, amounts, request, minimumUsd, mostUsd } = asked;
  const { operationId, prefersWhole } = command;
  const { amountUsd } = amounts;
  const unlimited = unlimitedOf(batch, request);
  if (unlimited !== undefined) {
    const message = quotaMissingMessage(unlimited, nothingReserved);
    return record(batch, { operationId, request, refusal: { type: 'rejected', code: 'quota_missing', message } });
  }
  const quotas = bindingOn(batch, request);
  const isEnforced = isEnforcedFor(batch, request);
  const kept = isEnforced ? batch.keptFrom(command) : [];
  /** What there is of a quota for this request. */
  const leftUsd = (quota: Quota): Usd => headroomUsd(quota) - keptUsd(quota, kept);
  const minimum = leastUsd(quotas, { amountUsd: mostUsd, minimumUsd, prefersWhole });
  const tight = binding(quotas, minimum, leftUsd) as Quota;
  const left = leftUsd(tight);
  if (isEnforced && mustDraw(batch, { quotas, minimum, amount: mostUsd, leftUsd })) return undefined;
  if (isEnforced && left < minimum && otherwise) return otherwise();
  const by = { quotas, amountUsd, mostUsd, kept, isEnforced: (one: Resource) => batch.isEnforced(one) };
  const decidedWith = decidedWithOf(command, { payer: request, ...by });
  if (isEnforced && left < minimum) {
    const refusal = denialOf(batch, request, { tight, minimum, amounts, kept });
    const billed = request.resource === resourceAsked(command) ? {} : { billedAs: request.resource };
    return record(batch, { operationId, request, refusal: { ...refusal, ...billed }, decidedWith });
  }
  if (left < minimum) batch.refuse(tight, amountUsd);
  batch.wouldRefuse(request, amountUsd, (shadow) =>
    leastUsd([...quotas, shadow], { amountUsd: mostUsd, minimumUsd, prefersWhole }),
  );
  const grantedUsd = left >= mostUsd || !isEnforced ? mostUsd : left;
  // What an envelope gets counts for no run: its parts do.
  if (isEnvelope(request))
    return grant(batch, { ...asked, limitIds: [] }, { grantedUsd, envelopeUsd: grantedUsd, decidedWith });
  return grant(batch, asked, { grantedUsd, decidedWith });
}

/** Grants a part from the rest of its envelope: what the quotas hold stays as it is. */
function grantPart(batch: Batch, asked: Asked, envelope: Envelope): ReserveAnswer {
  const { command, amounts, mostUsd } = asked;
  const { reservation, restUsd } = envelope;
  const decidedWith = mostUsd < amounts.amountUsd ? { mostUsd } : undefined;
  const grantedUsd = restUsd < mostUsd ? restUsd : mostUsd;
  const part = { ...asked, request: requestOfPart(command, asked.request, envelope) };
  const rest = { envelope: prolonged(batch, reservation, command), usd: -grantedUsd };
  return movePart(batch, rest, () => grant(batch, part, { grantedUsd, decidedWith }));
}

function grant(
  batch: Batch,
  { command, request, limitIds }: Asked,
  granted: Pick<Reservation, 'envelopeUsd' | 'decidedWith'> & { grantedUsd: Usd },
): ReserveAnswer {
  const { operationId, asker, ttlSeconds } = command;
  const reservation: Reservation & { request: ReservationRequest } = {
    operationId,
    request: limitIds.length > 0 ? { ...request, limitIds } : request,
    status: 'granted',
    ...granted,
    decidedAtMs: batch.nowMs,
    expiresAtMs: batch.nowMs + ttlSeconds * 1000,
    claimed: false,
    asker,
    outcomeFolded: false,
  };
  batch.put(reservation);
  const isPart = request.parentId !== undefined;
  batch.move(reservation.request, { operationId, reservedUsd: granted.grantedUsd, grant: !isPart });
  batch.serve(command);
  return answerOf(reservation);
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
  const minimumUsd = minimum === amounts.amountUsd ? undefined : minimum;
  const asked = { quota: tight, amountUsd: amounts.amountUsd, minimumUsd, what: nothingReserved };
  if (headroomUsd(tight) >= minimum) {
    // The quota is not used up, so nobody is alerted of it.
    return { type: 'denied', ...keptDenial({ ...asked, kept }) };
  }
  batch.refuse(tight, amounts.amountUsd);
  const retryAfterSeconds = batch.retryAfterSeconds(request, minimum);
  const denial = quotaDenial({ ...asked, retryAfterSeconds, inEnvelopesUsd: batch.inEnvelopesUsd(tight) });
  return { type: 'denied', ...denial };
}

const ownOf = (quotas: Quota[]): Quota[] => quotas.filter(({ lease }) => !lease);

/** The quota with the least headroom. A lease binds only what fits the tenant's own quotas, since more might be drawn. */
function binding(quotas: Quota[], minimum: Usd, leftUsd: (quota: Quota) => Usd): Quota | undefined {
  const own = tightest(ownOf(quotas), leftUsd);
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
  const own = tightest(ownOf(quotas), leftUsd);
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
