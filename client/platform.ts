/** The quotas that bind all tenants together. For administration. */
import type {
  platformQuotasView,
  removedPlatformQuotaView,
  removePlatformQuotaBody,
  setPlatformQuotasBody,
} from '../api/tenants/schemas';
import type { Http } from './http';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type PlatformQuotas = Of<typeof platformQuotasView>;

export function platformOf(http: Http) {
  return {
    quotas: () => http.get<PlatformQuotas>('/v1/platform/quotas'),
    /** Sets limits, all or none; a lower one takes back at once what tenants leased and do not use. */
    setQuotas: (order: Given<typeof setPlatformQuotasBody>) => http.put<PlatformQuotas>('/v1/platform/quotas', order),
    /** Removes a limit for good. What was spent stays in the ledger. */
    removeQuota: (order: Ordered<Given<typeof removePlatformQuotaBody>>) =>
      http.post<Of<typeof removedPlatformQuotaView>>('/v1/platform/quotas/remove', ...withoutKey(order)),
  };
}
