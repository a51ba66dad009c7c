/** Paid calls outside any workflow: reserve, call, commit. */
import type { claimView, committedView, reservationView } from '../api/reservations/schemas';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { SpendlockApiError } from './errors';
import type { Http } from './http';
import { newUuid } from './ids';
import { pause } from './patience';
import type { Of } from './views';

export type ReservationView = Of<typeof reservationView>;

/** Money that a call outside Temporal asks for. Amounts are decimal strings of US dollars. */
export interface ReserveMoney {
  resource: 'llm' | 'e2b';
  amountUsd: string;
  /** The least of use: when less than all is left, that is granted. */
  minimumUsd?: string;
  ttlSeconds?: number;
  /** What running out without a word means: nothing was billed, or the amount is charged as unverified. */
  onExpiry?: 'release' | 'settle';
  tenantId?: string;
  userId?: string;
  /** The run that the call belongs to, whose limit binds it too. */
  runId?: string;
  kind?: string;
  model?: string;
  /** What its cost is for: at most eight, such as `{ team: 'search' }`. */
  labels?: Labels;
  /** Made up when absent. Asking again under the same id gets the same answer. */
  operationId?: string;
}

export interface MoneyGrant {
  operationId: string;
  decision: 'granted';
  grantedUsd: string;
  partial: boolean;
  /** Absent when there is no reservation that could run out. */
  expiresAt?: string;
  /** Let through without a grant, by the tenant's policy. */
  unreserved?: true;
}

/** What a call cost. */
export interface MoneySpent {
  costUsd: string;
  usage?: unknown;
  tenantId?: string;
  /** Of whoever claimed the reservation. */
  claimToken?: string;
  /**
   * That it was billed so, where it is above $1 and at least 100 times what was granted, which is refused otherwise
   * (`cost_unconfirmed`). With a key of an operator or of the administration only, whose word needs no `claimToken`.
   */
  confirm?: boolean;
  /** Why it is confirmed, which `confirm` needs, and by whom, for the audit. With `confirm` only. */
  reason?: string;
  author?: string;
  /**
   * What the call was, and would have reserved, when it was made without a reservation. Taken from tenants whose policy is
   * `allow`.
   */
  unreserved?: Pick<ReserveMoney, 'resource' | 'userId' | 'kind' | 'model' | 'labels'> & { amountUsd?: string };
}

/** How often a reserve whose grant was given back is made anew. */
const renewalsMax = 3;
/** How long a cost that nobody takes is sent again. */
const recordingPatienceMs = 600_000;

/** Thrown by the work of `withReservation` to say that its call was surely not billed. */
export class NotBilledError extends Error {
  override readonly name = 'NotBilledError';
}

export function reservationsOf(http: Http) {
  const path = (operationId: string, verb: string): string => `/v1/reservations/${operationId}/${verb}`;
  /** Money that is spent already has to be recorded, however long the API is away, up to ten minutes. */
  async function insistForLong<T>(send: () => Promise<T>): Promise<T> {
    for (const giveUpMs = performance.now() + recordingPatienceMs; ; await pause(1_000)) {
      try {
        return await send();
      } catch (error) {
        if (!isUnavailable(error) || performance.now() > giveUpMs) throw error;
      }
    }
  }
  /** Where an answer was lost, what it granted may have been given back: then under another id, unless the caller chose it. */
  async function reserve({ operationId, ...asked }: ReserveMoney): Promise<MoneyGrant> {
    for (let renewals = renewalsMax; ; renewals -= 1) {
      try {
        return await http.postByOperation('/v1/reservations', { operationId: operationId ?? newUuid(), ...asked });
      } catch (error) {
        if (operationId !== undefined || renewals === 0 || !isGivenBack(error)) throw error;
      }
    }
  }
  const commit = (operationId: string, outcome: MoneySpent): Promise<Of<typeof committedView>> =>
    http.postByOperation(path(operationId, 'commit'), outcome);
  const release = (operationId: string, more: { tenantId?: string; claimToken?: string } = {}): Promise<object> =>
    http.postByOperation<object>(path(operationId, 'release'), more);

  return {
    /** Asks for money. @throws QuotaExceededError with the quota and `retryAfterSeconds`, among others. */
    reserve,
    /** Records what a call cost. @throws SpendlockApiError `cost_unconfirmed` where it has to be confirmed. */
    commit,
    /** Gives a reservation up: its call was not made, or surely not billed. */
    release,
    /** A reservation as it stands. */
    reservation: (operationId: string, { tenantId }: { tenantId?: string } = {}) =>
      http.get<ReservationView>(`/v1/reservations/${operationId}`, { tenantId }),
    /** Says that the call is about to be made: from now on its money does not come back by itself. */
    claim: (operationId: string, { tenantId }: { tenantId?: string } = {}) =>
      http.post<Of<typeof claimView>>(path(operationId, 'claim'), omitUndefined({ tenantId })),
    /** Holds a reservation for at least so long from now. */
    extend: (operationId: string, order: { ttlSeconds: number; tenantId?: string }) =>
      http.postByOperation<{ expiresAt: string }>(path(operationId, 'extend'), order),
    /**
     * Makes one paid call with a grant: reserves, works, commits what the work says it cost. A `NotBilledError` releases;
     * after any other error nobody knows, and the grant is charged as unverified when it runs out, unless its cost is
     * committed before.
     *
     * With `onUnavailable: 'allow'` the call is made without a grant when nobody answers, and its cost recorded as soon as
     * somebody does. Until then this process alone knows it.
     */
    async withReservation<T>(
      { onUnavailable = 'fail', ...asked }: ReserveMoney & { onUnavailable?: 'fail' | 'allow' },
      work: (grant: MoneyGrant) => Promise<{ costUsd: string; usage?: unknown; value: T }>,
    ): Promise<T> {
      const grant = await reserve({ onExpiry: 'settle', ...asked }).catch((error: unknown) => {
        if (onUnavailable === 'allow' && isUnavailable(error)) return grantWithoutReservation(asked);
        throw error;
      });
      const tenant = asked.tenantId === undefined ? {} : { tenantId: asked.tenantId };
      let done;
      try {
        done = await work(grant);
      } catch (error) {
        if (error instanceof NotBilledError) await release(grant.operationId, tenant);
        throw error;
      }
      const { costUsd, usage, value } = done;
      const spent = { costUsd, ...(usage === undefined ? {} : { usage }), ...tenant };
      if (grant.unreserved) {
        const { resource, amountUsd, userId, kind, model } = asked;
        const unreserved = { resource, amountUsd, ...omitUndefined({ userId, kind, model }) };
        await insistForLong(() => commit(grant.operationId, { ...spent, unreserved }));
      } else await commit(grant.operationId, spent);
      return value;
    },
  };
}

/** Nobody answered, or said that nobody is there to decide. */
const isUnavailable = (error: unknown): boolean => !(error instanceof SpendlockApiError) || error.status === 503;

/** The API had taken its caller for gone. */
const isGivenBack = (error: unknown): boolean =>
  error instanceof SpendlockApiError && error.code === 'operation_released';

/** A new operation id: the one that was asked under may have been denied without anybody hearing of it. */
const grantWithoutReservation = ({ amountUsd }: ReserveMoney): MoneyGrant => ({
  operationId: newUuid(),
  decision: 'granted',
  grantedUsd: amountUsd,
  partial: false,
  unreserved: true,
});
