/** Tenants, their quotas, and what they spent. */
import type { z } from '@hono/zod-openapi';
import type { quotaView, setQuotasBody } from '../api/tenants/schemas';
import type { CostRecordView, costRecordsQuery, quotaCheckBody, quotaCheckView, usageView } from '../api/usage/schemas';
import type { Http } from './http';

export type QuotaView = z.infer<typeof quotaView>;
export type UsageView = z.infer<typeof usageView>;
export interface TenantQuotas {
  tenantId: string;
  quotas: QuotaView[];
  /** How many quotas of users there are beyond those that are shown. */
  moreUserQuotas: number;
}

export function tenantsOf(http: Http) {
  const path = (tenantId: string): string => `/v1/tenants/${encodeURIComponent(tenantId)}/quotas`;
  return {
    /** Makes a tenant. Its API key is in the answer, and nowhere else. */
    create: (tenant: { tenantId: string; name?: string }) =>
      http.post<TenantQuotas & { apiKey: string }>('/v1/tenants', tenant),
    /** Those of the tenant, and of its first users by name or of the one that is named. */
    quotas: (tenantId: string, query: { userId?: string } = {}) => http.get<TenantQuotas>(path(tenantId), query),
    setQuotas: (tenantId: string, quotas: z.input<typeof setQuotasBody>['quotas']) =>
      http.put<TenantQuotas>(path(tenantId), { quotas }),
  };
}

type RecordsQuery = Omit<z.input<typeof costRecordsQuery>, 'format' | 'limit'> & { limit?: number };

export function usageOf(http: Http) {
  return {
    /** What was spent, by group. */
    summary: (query: Record<string, string> = {}) => http.get<UsageView>('/v1/usage', query),
    /** A page of the ledger. */
    records: (query: RecordsQuery = {}) =>
      http.get<{ records: CostRecordView[]; next: string | null }>('/v1/cost-records', query),
    /** The ledger line by line, page after page. */
    async *allRecords(query: RecordsQuery = {}): AsyncGenerator<CostRecordView> {
      for (let after = query.after; ;) {
        const page = await http.get<{ records: CostRecordView[]; next: string | null }>('/v1/cost-records', {
          ...query,
          after,
        });
        yield* page.records;
        if (page.next === null) return;
        after = page.next;
      }
    },
    /** The ledger as comma-separated values. */
    exportCsv: (query: RecordsQuery = {}) => http.text('/v1/cost-records', { ...query, format: 'csv' }),
  };
}

/** Whether a request has a chance now. Nothing is reserved. @throws QuotaExceededError when it has none. */
export const quotaChecksOf =
  (http: Http) =>
  (asked: z.input<typeof quotaCheckBody> = {}) =>
    http.post<z.infer<typeof quotaCheckView>>('/v1/quota-checks', asked);
