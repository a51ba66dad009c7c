/** Costs that a caller tells of its own calls: what is taken at its word, and what an operator has to confirm. */
import { confirmedFromTimes, grantNeededAboveUsd } from '../../core/budget/told-costs';
import { formatUsd, minUsd, parseAmountUsd, type Usd } from '../../core/money';
import type { Operator } from '../../store/operator';
import { limitOfCall } from '../../store/outcomes';
import { refuseUnless, whoSteers } from '../http/access';
import { operatorOf, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import type { ApiContext } from '../http/request';
import type { CommitBody } from './schemas';

/** Who vouches for a cost, and why. */
export interface Confirmation {
  by: Operator;
  reason: string;
}

/**
 * What the call has to have been granted; or nothing where an operator confirms its cost, whose word, like his releases and
 * corrections, needs no claim, whatever the cost, and is noted with its reason. @throws ApiError where the key may confirm none.
 */
export function termsOf(
  c: ApiContext,
  { costUsd, confirm = false, reason, author }: CommitBody,
): { needed: { grantAboveUsd?: Usd; anyClaim?: true }; confirmed?: Confirmation } {
  if (confirm) {
    refuseUnless(c, whoSteers, 'Confirming a cost');
    if (reason === undefined)
      throw new ApiError('invalid_request', 'reason: a cost is confirmed with a reason. Nothing was recorded.', {
        action: 'Say why in `reason`: it is on record in the audit.',
      });
    return { needed: { anyClaim: true }, confirmed: { by: operatorOf(c.get('caller'), author), reason } };
  }
  if (reason !== undefined || author !== undefined)
    throw new ApiError('invalid_request', 'reason, author: are of a cost that is confirmed. Nothing was recorded.', {
      action: 'Leave them out, or send `"confirm": true` with them.',
    });
  const grantAboveUsd = grantNeededAboveUsd(parseAmountUsd(costUsd));
  return { needed: grantAboveUsd === undefined ? {} : { grantAboveUsd } };
}

/**
 * Why a cost was not recorded that is far beyond what its call might cost: that is `mostUsd`, and `of` says what that was, `none`
 * where it is nothing. `kept` says what became of the reservation.
 */
export const unconfirmed = (
  costUsd: Usd,
  { mostUsd, of, none, kept }: { mostUsd: string; of: string; none: string; kept: string },
): ApiError => {
  const beyond =
    mostUsd === '0'
      ? `has to be confirmed: ${none}`
      : `is at least ${confirmedFromTimes} times the $${mostUsd} that ${of}`;
  return new ApiError('cost_unconfirmed', `A cost of $${formatUsd(costUsd)} ${beyond}. Nothing was recorded. ${kept}`);
};

/** Why a cost was not recorded that comes on top of much that was told of calls without a reservation. */
export const beyondSum = (costUsd: Usd, roomUsd: Usd): ApiError =>
  new ApiError(
    'cost_unconfirmed',
    `A cost of $${formatUsd(costUsd)} of a call without a reservation has to be confirmed: with what is spent, such costs come to more than twice a limit that covers the call, which has $${formatUsd(roomUsd)} of room for them. Nothing was recorded. There is no reservation of it, and none was made.`,
  );

/** @throws ApiError where the cost of a call that nobody has decided on is far beyond what it could have been granted. */
export async function refuseUnconfirmed(
  { pool }: ApiDependencies,
  {
    tenantId,
    costUsd,
    grantAboveUsd,
    call,
  }: {
    tenantId: string;
    costUsd: Usd;
    grantAboveUsd: Usd | undefined;
    call: NonNullable<CommitBody['unreserved']>;
  },
): Promise<void> {
  if (grantAboveUsd === undefined) return;
  const { userId, resource, amountUsd } = call;
  const limitUsd = await limitOfCall(pool, { tenantId, userId, resource });
  const mostUsd = amountUsd === undefined ? limitUsd : minUsd(limitUsd, parseAmountUsd(amountUsd));
  if (mostUsd > grantAboveUsd) return;
  const isAsked = amountUsd !== undefined && parseAmountUsd(amountUsd) <= limitUsd;
  const words = isAsked
    ? { of: 'the call would have asked for', none: 'the call would have asked for nothing' }
    : {
        of: 'could have been granted to the call, by the least limit that covers it',
        none: 'no limit covers the call, or one of $0',
      };
  throw unconfirmed(costUsd, {
    ...{ mostUsd: formatUsd(mostUsd), ...words },
    kept: 'There is no reservation of it, and none was made.',
  });
}
