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

/** Why what was said of a call is not recorded. `unreserved`: whether it goes on without a grant, and holds nothing. */
export function refusalOf(
  before: OutcomeAnswer,
  { claimToken, costUsd, unreserved = false, ...key }: OperationKey & OutcomeItem & { unreserved?: boolean },
): ApiError {
  if (before.status === null) return noSuchReservation(key);
  if (before.unconfirmedAtUsd != null && costUsd !== undefined) {
    const state = before.outcome === 'not_billed' ? 'released' : before.status;
    return unconfirmed(costUsd, {
      mostUsd: before.unconfirmedAtUsd,
      ...(unreserved
        ? { of: 'the call was allowed, without a grant', none: 'the call was allowed nothing' }
        : { of: 'the call was granted', none: 'the call was granted nothing' }),
      kept:
        state !== 'granted'
          ? `The reservation stays ${state}.`
          : unreserved
            ? 'Nothing is held for it, and its cost is still to be told.'
            : 'The hold stays as it is.',
    });
  }
  if (before.claimedElsewhere) {
    const message =
      claimToken === undefined
        ? 'The reservation is claimed, and no claim token was said.'
        : 'The reservation was claimed under another claim token than was said.';
    return new ApiError('claim_refused', `${message} Nothing was recorded.`, {
      action:
        'Say the claim token that the claim was answered with (`claimToken`, `--claim-token`). Where it is lost, an operator says what was billed (`npx spendlock holds commit … --confirm --reason`), or that nothing was (`npx spendlock holds release … --reason`).',
    });
  }
  const cost = before.outcomeUsd === null ? '' : ` with a cost of $${before.outcomeUsd}`;
  return new ApiError(
    'operation_conflict',
    `The reservation is ${before.outcome === 'billed' ? 'committed' : before.status}${cost}. It stands; nothing was changed.`,
    before.outcome === 'billed' || before.status === 'committed' ? { action: correctedBy } : nextOf(before.status),
  );
}

export const noSuchReservation = ({ tenantId, operationId }: OperationKey, kept = ' Nothing was recorded.'): ApiError =>
  new ApiError('unknown_operation', `Tenant ${tenantId} has no reservation ${operationId}.${kept}`);
