/** What operators order of a tenant's budget. Each takes effect on the next decision, and is in the audit. */
import type { booksView, repairBody } from '../api/books/schemas';
import type { releasedView } from '../api/reservations/schemas';
import type { mandateBody, mandateView, orderedMandateView } from '../api/tenants/mandate-schemas';
import type {
  adjustmentBody,
  adjustmentView,
  enforcementBody,
  enforcementView,
  freezeBody,
  frozenView,
  holdsView,
  labelDefaultsBody,
  labelDefaultsView,
  policyBody,
  policyView,
  releaseHoldBody,
  removedQuotaView,
  removeQuotaBody,
  topUpBody,
  topUpView,
  unfreezeBody,
  userDefaultsBody,
  userDefaultsView,
} from '../api/tenants/schemas';
import type { Http } from './http';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type HoldsView = Of<typeof holdsView>;
export type MandateView = Of<typeof mandateView>;
export type BooksView = Of<typeof booksView>;

export function budgetOf(http: Http) {
  const path = (tenantId: string, rest: string): string => `/v1/tenants/${encodeURIComponent(tenantId)}/${rest}`;
  const order = <T>(tenantId: string, verb: string, ordered: Ordered<object>): Promise<T> =>
    http.post<T>(path(tenantId, verb), ...withoutKey(ordered));
  return {
    /** Lifts a limit once, until its period ends or the moment `expiresAt`. */
    topUp: (tenantId: string, ordered: Ordered<Given<typeof topUpBody>>) =>
      order<Of<typeof topUpView>>(tenantId, 'topups', ordered),
    /** Removes a limit for good. What was spent stays in the ledger. */
    removeQuota: (tenantId: string, ordered: Ordered<Given<typeof removeQuotaBody>>) =>
      order<Of<typeof removedQuotaView>>(tenantId, 'quotas/remove', ordered),
    /** Has a watched limit bind, from the next decision on; one that bound before goes. */
    enforceQuota: (tenantId: string, ordered: Ordered<Given<typeof enforcementBody>>) =>
      order<Of<typeof enforcementView>>(tenantId, 'quotas/enforce', ordered),
    /** Has a limit bind no more: it counts and raises alerts. */
    watchQuota: (tenantId: string, ordered: Ordered<Given<typeof enforcementBody>>) =>
      order<Of<typeof enforcementView>>(tenantId, 'quotas/watch', ordered),
    policy: (tenantId: string) => http.get<Of<typeof policyView>>(path(tenantId, 'policy')),
    userDefaults: (tenantId: string) => http.get<Of<typeof userDefaultsView>>(path(tenantId, 'user-defaults')),
    labelDefaults: (tenantId: string) => http.get<Of<typeof labelDefaultsView>>(path(tenantId, 'label-defaults')),
    /** Nothing more is reserved by the tenant, or by one user; what is reserved goes on. */
    freeze: (tenantId: string, ordered: Ordered<Given<typeof freezeBody>>) =>
      order<Of<typeof frozenView>>(tenantId, 'freeze', ordered),
    unfreeze: (tenantId: string, ordered: Ordered<Given<typeof unfreezeBody>> = {}) =>
      order<Of<typeof frozenView>>(tenantId, 'unfreeze', ordered),
    /** What happens when the authority does not answer. */
    setPolicy: (tenantId: string, ordered: Ordered<Given<typeof policyBody>>) =>
      order<Of<typeof policyView>>(tenantId, 'policy', ordered),
    /** The quotas that a new user gets. */
    setUserDefaults: (tenantId: string, ordered: Ordered<Given<typeof userDefaultsBody>>) =>
      order<Of<typeof userDefaultsView>>(tenantId, 'user-defaults', ordered),
    /** The quotas that each value of a label gets that has none of its own. */
    setLabelDefaults: (tenantId: string, ordered: Ordered<Given<typeof labelDefaultsBody>>) =>
      order<Of<typeof labelDefaultsView>>(tenantId, 'label-defaults', ordered),
    /** Corrects what an operation cost, by an entry of the difference. */
    adjust: (tenantId: string, ordered: Ordered<Given<typeof adjustmentBody>>) =>
      order<Of<typeof adjustmentView>>(tenantId, 'adjustments', ordered),
    /** Open reservations, what runs out first on top; or the settlements whose cost nobody knows. */
    holds: (
      tenantId: string,
      { unverified = false, ...page }: { unverified?: boolean; cursor?: string; limit?: number } = {},
    ): Promise<HoldsView> =>
      http.get(path(tenantId, 'holds'), { ...page, ...(unverified ? { unverified: 'true' } : {}) }),
    /** Gives a reservation up, also a claimed one: its call was surely not billed. */
    releaseHold: (tenantId: string, operationId: string, ordered: Ordered<Given<typeof releaseHoldBody>>) =>
      order<Of<typeof releasedView>>(tenantId, `holds/${encodeURIComponent(operationId)}/release`, ordered),
    /** Whether those who ask decide themselves, what they decided, and why nothing is decided so now. */
    mandate: (tenantId: string): Promise<MandateView> => http.get(path(tenantId, 'mandate')),
    /** Has the authority take every decision, from when it answers on. */
    recallMandate: (tenantId: string, ordered: Ordered<Given<typeof mandateBody>> = {}) =>
      order<Of<typeof orderedMandateView>>(tenantId, 'mandate/recall', ordered),
    /** Ends a recall: the authority may let those who ask decide again. */
    allowMandate: (tenantId: string, ordered: Ordered<Given<typeof mandateBody>> = {}) =>
      order<Of<typeof orderedMandateView>>(tenantId, 'mandate/allow', ordered),
    /** What does not agree in the books, and what a mending would change. */
    books: (tenantId: string): Promise<BooksView> => http.get(path(tenantId, 'books')),
    repairBooks: (tenantId: string, ordered: Ordered<Given<typeof repairBody>>): Promise<BooksView> =>
      order(tenantId, 'books/repair', ordered),
  };
}
