/** What a reserve is answered, by what is on record of it: when it is decided, and whenever it is asked again. */
import type { ReserveAnswer, ReserveCommand } from './commands';
import { formatUsd } from '../money';
import { allowedUsdOf, isSameRequest, type Amounts, type Refusal, type Reservation } from './reservations';

/** The record answers a repeat; a different request under the same id is a conflict and changes nothing. */
export function answerAgain(known: Reservation, command: ReserveCommand, amounts: Amounts): ReserveAnswer {
  const { operationId } = known;
  if (!known.request) {
    const message =
      'This operation was released before its reserve arrived. Nothing was reserved. Reserve under a new operation id.';
    return { decision: 'rejected', operationId, code: 'operation_released', message };
  }
  if (!isSameRequest(known.request, command, amounts)) {
    const message =
      'Another request was decided under this operation id; it stands. Use a new operation id for this one.';
    return { decision: 'rejected', operationId, code: 'operation_conflict', message };
  }
  // Who may have gone away, and comes back, is not told of money that is not there any more.
  if (command.asker !== undefined && (known.status === 'released' || known.status === 'expired')) {
    const how = known.status === 'released' ? 'was released' : 'has run out';
    const message = `This operation was granted, and ${how}: nothing is held. Reserve under a new operation id.`;
    return { decision: 'rejected', operationId, code: 'operation_released', message };
  }
  return answerOf(known);
}

export function answerOf(reservation: Reservation): ReserveAnswer {
  const { operationId, refusal, request, expiresAtMs = 0 } = reservation;
  // Of an envelope, whatever its parts have taken since.
  const { grantedUsd = 0n, envelopeUsd: firstUsd = grantedUsd } = reservation;
  if (refusal) return answerRefusal(operationId, refusal);
  const expiresAt = new Date(expiresAtMs).toISOString();
  if (reservation.unreserved && request) {
    const allowedUsd = allowedUsdOf(reservation, request);
    const partial = allowedUsd < request.requestedUsd;
    return {
      decision: 'granted',
      operationId,
      grantedUsd: formatUsd(allowedUsd),
      partial,
      expiresAt,
      unreserved: true,
    };
  }
  return {
    decision: 'granted',
    operationId,
    grantedUsd: formatUsd(firstUsd),
    partial: request !== undefined && firstUsd < request.requestedUsd,
    expiresAt,
    ...(request?.limitIds ? { countsForRun: true } : {}),
    ...(request?.parentId ? { parentOperationId: request.parentId } : {}),
  };
}

export function answerRefusal(operationId: string, refusal: Refusal): ReserveAnswer {
  const { type, ...rest } = refusal;
  return { decision: type, operationId, ...rest } as ReserveAnswer;
}
