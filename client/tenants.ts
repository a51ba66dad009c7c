/** Tenants and their quotas. */
import type { OverviewView, tenantsView } from '../api/tenants/overview-schemas';
import type {
  deletedView,
  deleteTenantBody,
  newTenantView,
  quotasView,
  quotaView,
  setQuotasBody,
  setQuotasView,
} from '../api/tenants/schemas';
import type { StreamEvent } from './events';
import type { Http, RequestOptions } from './http';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type QuotaView = Of<typeof quotaView>;
export type TenantsView = Of<typeof tenantsView>;
export type { OverviewView };
export type TenantQuotas = Of<typeof quotasView>;
type SetQuotas = Given<typeof setQuotasBody>;

/** How long a file that comes may pause. */
const exportSilentMs = 60_000;

export function tenantsOf(http: Http) {
  const path = (tenantId: string, rest: string): string => `/v1/tenants/${encodeURIComponent(tenantId)}/${rest}`;
  type Watched = Pick<RequestOptions, 'signal'>;
  return {
    /** Every tenant, with its monthly quota for everything. */
    list: (query: { cursor?: string; limit?: number } = {}): Promise<TenantsView> => http.get('/v1/tenants', query),
    /** The same at once and whenever one changes (`tenants`), until the signal ends it. */
    events: ({ signal }: Watched = {}): AsyncGenerator<StreamEvent> => http.events('/v1/tenants/events', { signal }),
    /** Makes a tenant. Its API key is in the answer, and nowhere else. */
    create: (tenant: { tenantId: string; name?: string }) => http.post<Of<typeof newTenantView>>('/v1/tenants', tenant),
    /** Those of the tenant, and of its first users and labels by name or of those that are named (`label: ['team:search']`). */
    quotas: (tenantId: string, query: { userId?: string; label?: readonly string[] } = {}): Promise<TenantQuotas> =>
      http.get(path(tenantId, 'quotas'), query),
    /** Sets limits, all or none. `warnings` of the answer tell of a limit above that of a quota which covers it. */
    setQuotas: (tenantId: string, quotas: SetQuotas['quotas'], why: Omit<SetQuotas, 'quotas'> = {}) =>
      http.put<Of<typeof setQuotasView>>(path(tenantId, 'quotas'), { quotas, ...why }),
    /** How a tenant stands: quotas with a forecast, spend of 31 days, denials, alerts, holds. */
    overview: (tenantId: string): Promise<OverviewView> => http.get(path(tenantId, 'overview')),
    /** The same at once and whenever it changes (`overview`), until the signal ends it. */
    overviewEvents: (tenantId: string, { signal }: Watched = {}): AsyncGenerator<StreamEvent> =>
      http.events(path(tenantId, 'overview/events'), { signal }),
    /** Every row of a tenant as lines of JSON. The last line has `"end": true`: without it, it is not whole. */
    export: (tenantId: string): Promise<ReadableStream<Uint8Array>> =>
      http.body(path(tenantId, 'export'), exportSilentMs),
    /** Deletes a tenant with all that is its own. What is deleted does not come back. */
    delete: (tenantId: string, order: Ordered<Given<typeof deleteTenantBody>>) =>
      http.post<Of<typeof deletedView>>(path(tenantId, 'delete'), ...withoutKey(order)),
  };
}
