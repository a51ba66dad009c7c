/** What a caller is told whose reservation cannot be claimed, committed, released or extended. */
import type { OutcomeAnswer, OutcomeItem } from '../../store/outcomes';
import type { OperationKey } from '../../store/reservations';
import { ApiError } from '../http/errors';
import { unconfirmed } from './told-costs';

/** What is to be done about a reservation that nobody can claim or extend any more, where that is not that it ended unused. */
export const nextOf = (status: string): { action?: string } =>
  status === 'committed'
    ? {
        action:
          'Make no call: one was made, or may have been, and is charged. For another one reserve under a new operation id.',
      }
    : status === 'denied' || status === 'rejected'
      ? { action: 'Make no call: nothing was granted. Reserve again under a new operation id.' }
      : {};

/** Another cost under a new id would be charged beside the first. */
const correctedBy =
  'There is nothing to do where that is what the call cost. Where it cost something else, an operator corrects it: `npx spendlock budget adjust`.';

/** Why what was said of a call is not recorded. */
export function refusalOf(
  before: OutcomeAnswer,
  { claimToken, costUsd, ...key }: OperationKey & OutcomeItem,
): ApiError {
  if (before.status === null) return noSuchReservation(key);
  if (before.unconfirmedAtUsd != null && costUsd !== undefined)
    return unconfirmed(costUsd, {
      granted: `the $${before.unconfirmedAtUsd} that the call was granted`,
      kept:
        before.status === 'granted' && before.outcome === null
          ? 'The hold stays as it is.'
          : `The reservation stays ${before.outcome === 'not_billed' ? 'released' : before.status}.`,
    });
  if (before.claimedElsewhere) {
    const message =
      claimToken === undefined
        ? 'The reservation is claimed, and the request has no claimToken.'
        : 'The reservation was claimed under another claimToken than the request has.';
    return new ApiError('claim_refused', `${message} Nothing was recorded.`, {
      action:
        'Send the `claimToken` that the claim was answered with. Where it is lost: the hold runs out and is charged in full, and then `npx spendlock budget reconcile` settles it at what was billed.',
    });
  }
  const cost = before.outcomeUsd === null ? '' : ` with a cost of $${before.outcomeUsd}`;
  return new ApiError(
    'operation_conflict',
    `The reservation is ${before.outcome === 'billed' ? 'committed' : before.status}${cost}. It stands; nothing was changed.`,
    before.outcome === 'billed' || before.status === 'committed' ? { action: correctedBy } : nextOf(before.status),
  );
}

export const noSuchReservation = ({ tenantId, operationId }: OperationKey): ApiError =>
  new ApiError('unknown_operation', `Tenant ${tenantId} has no reservation ${operationId}. Nothing was recorded.`);
