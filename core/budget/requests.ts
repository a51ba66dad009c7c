/** What a reserve asks for, read: its amounts, its request as it is recorded, and whether a command asks for what is on record. */
import { answerAgain, answerRefusal } from './answers';
import type { RejectionCode, ReserveAnswer, ReserveCommand, Resource } from './commands';
import { envelopeKind, problemOfEnvelope } from './envelopes';
import { ttlSecondsMax } from './expiry';
import { mergedLabels } from '../labels';
import { MoneyError, parseAmountUsd } from '../money';
import { isResource, resourceAsked, resourceWords } from '../resources';
import { isSameRequest, type Amounts, type Refusal, type Reservation, type ReservationRequest } from './reservations';

/** Checks what a reserve asks for. A nonsensical amount is refused; it is never a credit. */
export function parseAmounts(command: ReserveCommand): Amounts | Refusal {
  const invalid = (code: RejectionCode, message: string): Refusal => ({ type: 'rejected', code, message });
  if (!(command.ttlSeconds > 0 && command.ttlSeconds <= ttlSecondsMax)) {
    return invalid(
      'invalid_request',
      `ttlSeconds must be more than 0 and at most ${ttlSecondsMax}, not ${command.ttlSeconds}. Nothing was reserved.`,
    );
  }
  const envelope = problemOfEnvelope(command);
  if (envelope) return envelope;
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

/** What is recorded of a command that is billed as a resource. */
export function requestOf(
  command: ReserveCommand,
  { amountUsd, minimumUsd }: Amounts,
  { resource, heldOn }: { resource: Resource; heldOn?: readonly Resource[] | undefined },
): ReservationRequest {
  return {
    userId: command.userId,
    resource,
    requestedUsd: amountUsd,
    minimumUsd,
    priceVersion: command.priceVersion,
    runId: command.runId,
    kind: command.envelopeOf ? envelopeKind : command.kind,
    step: command.step,
    attempt: command.attempt,
    model: command.model,
    onExpiry: command.onExpiry,
    ...(heldOn ? { heldOn } : {}),
    ...(command.parentOperationId === undefined ? {} : { parentId: command.parentOperationId }),
    traceContext: command.traceContext,
    labels: mergedLabels(command.labels),
    sentLabels: command.sentLabels,
  };
}
