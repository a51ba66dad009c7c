/** What was spent, line by line and in sums; and whether a request has a chance. */
import type {
  CostRecordView,
  costRecordsQuery,
  quotaCheckBody,
  quotaCheckView,
  usageQuery,
  usageView,
} from '../api/usage/schemas';
import type { whatIfBody, whatIfView } from '../api/usage/what-if-schemas';
import type { Http } from './http';
import type { Given, Of } from './views';

export type UsageView = Of<typeof usageView>;
export type WhatIfView = Of<typeof whatIfView>;
export interface CostRecordsPage {
  records: CostRecordView[];
  /** The `cursor` of the next page. */
  nextCursor: string | null;
}
/** Such as `team:search`: what has it, or all of them. */
type OfLabels = { label?: string | readonly string[] };
type RecordsQuery = Omit<Given<typeof costRecordsQuery>, 'format' | 'limit' | 'label'> & OfLabels & { limit?: number };
type UsageQuery = Omit<Given<typeof usageQuery>, 'format' | 'label'> & OfLabels;

export function usageOf(http: Http) {
  const page = (query: RecordsQuery): Promise<CostRecordsPage> => http.get<CostRecordsPage>('/v1/cost-records', query);
  return {
    /** What was spent, by group, or by two things at once; a label is `label:team`. */
    summary: (query: UsageQuery = {}): Promise<UsageView> => http.get('/v1/usage', query),
    /** The same as comma-separated values, every group. */
    summaryCsv: (query: UsageQuery = {}) => http.text('/v1/usage', { ...query, format: 'csv' }),
    /** What other limits would have done with a span of the record, or other prices; nothing is changed. */
    whatIf: (tenantId: string, asked: Given<typeof whatIfBody> = {}): Promise<WhatIfView> =>
      http.post(`/v1/tenants/${encodeURIComponent(tenantId)}/what-if`, asked),
    /** A page of the ledger. */
    records: (query: RecordsQuery = {}) => page(query),
    /** The ledger line by line, page after page. */
    async *allRecords(query: RecordsQuery = {}): AsyncGenerator<CostRecordView> {
      for (let cursor = query.cursor; ;) {
        const { records, nextCursor } = await page({ ...query, cursor });
        yield* records;
        if (nextCursor === null) return;
        cursor = nextCursor;
      }
    },
    /** The ledger as comma-separated values. */
    exportCsv: (query: RecordsQuery = {}) => http.text('/v1/cost-records', { ...query, format: 'csv' }),
  };
}

/** Whether a request has a chance now. Nothing is reserved. @throws QuotaExceededError when it has none. */
export const quotaChecksOf =
  (http: Http) =>
  (asked: Given<typeof quotaCheckBody> = {}) =>
    http.post<Of<typeof quotaCheckView>>('/v1/quota-checks', asked);
