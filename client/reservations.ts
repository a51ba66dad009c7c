/** Paid calls outside any workflow: reserve, call, commit. */
import type { claimView, committedView, shownReservation } from '../api/reservations/schemas';
import { omitUndefined } from '../core/omit-undefined';
import type { Http, RequestOptions } from './http';
import type { MoneyGrant, MoneySpent, ReserveMoney } from './money';
import type { Of } from './views';
import { reserveAnew, withReservation, type Asked, type Done } from './with-reservation';

export type ReservationView = Of<typeof shownReservation>;

export function reservationsOf(http: Http) {
  const path = (operationId: string, verb: string): string => `/v1/reservations/${operationId}/${verb}`;
  const reserve = (asked: ReserveMoney): Promise<MoneyGrant> => http.postByOperation('/v1/reservations', asked);
  const commit = (operationId: string, outcome: MoneySpent): Promise<Of<typeof committedView>> =>
    http.postByOperation(path(operationId, 'commit'), outcome);
  const release = (operationId: string, more: { tenantId?: string; claimToken?: string } = {}): Promise<object> =>
    http.postByOperation<object>(path(operationId, 'release'), more);

  const calls = { reserve, commit, release };

  return {
    /** Asks for money. @throws QuotaExceededError with the quota and `retryAfterSeconds`, among others. */
    reserve: (asked: ReserveMoney) => reserveAnew(calls, asked),
    /** Records what a call cost. @throws SpendlockApiError `cost_unconfirmed` where it has to be confirmed. */
    commit,
    /** Gives a reservation up: its call was not made, or surely not billed. */
    release,
    /** A reservation as it stands. */
    reservation: (operationId: string, { tenantId }: { tenantId?: string } = {}) =>
      http.get<ReservationView>(`/v1/reservations/${operationId}`, { tenantId }),
    /** Says that the call is about to be made: from now on its money does not come back by itself. */
    claim: (
      operationId: string,
      { tenantId, idempotencyKey }: { tenantId?: string } & Pick<RequestOptions, 'idempotencyKey'> = {},
    ) => http.post<Of<typeof claimView>>(path(operationId, 'claim'), omitUndefined({ tenantId }), { idempotencyKey }),
    /** Holds a reservation for at least so long from now. */
    extend: (operationId: string, order: { ttlSeconds: number; tenantId?: string }) =>
      http.postByOperation<{ expiresAt: string }>(path(operationId, 'extend'), order),
    /**
     * Makes one paid call with a grant: reserves, works, commits what the work says it cost, for up to ten minutes where nobody takes it.
     * A `NotBilledError` releases; after any other error nobody knows, and the grant is charged as unverified when it runs out, unless its
     * cost is committed before. Money that was asked for and that nobody heard of is given back once somebody answers.
     *
     * With `onUnavailable: 'allow'` the call is made without a grant when nobody answers, and its cost recorded as soon as
     * somebody does. Until then this process alone knows it.
     *
     * @throws CostNotRecordedError, with what the work answered, where its cost cannot be recorded.
     */
    withReservation: <T>(asked: Asked, work: (grant: MoneyGrant) => Promise<Done<T>>): Promise<T> =>
      withReservation(calls, asked, work),
  };
}
