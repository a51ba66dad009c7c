/** Rows of quotas, as people read them. */
import type { BindingQuota } from '../core/budget/commands';
import type { Period } from '../core/budget/periods';
import type { QuotaAmounts } from '../core/budget/quotas';
import { standsAt, topUpsOf, totalOf, type StoredTopUps, type TopUps } from '../core/budget/top-ups';
import { formatUsd, parseUsd } from '../core/money';

/** A quota as people read it: in the period around now, without what has expired. What is topped up is added to the limit. */
export interface StoredQuota extends QuotaAmounts {
  /** Of what is reserved, what envelopes and their parts hold; absent where there is none, and where nobody asked. */
  inEnvelopesUsd?: string;
  scope: BindingQuota['scope'];
  scopeId: string;
  resourceType: BindingQuota['resourceType'];
  period: Period;
  warningThreshold: number;
  moreWarningThresholds: number[];
  periodStart: Date;
  periodEnd: Date;
  topUps?: TopUps | undefined;
  /** Its period had ended, and it is shown as the next one begins. */
  wasEnded?: boolean;
  /** Of a label's limit of `other`: which of the labels that were asked for count for it. */
  beyondValues?: string[];
}

export interface QuotaRow {
  scope: StoredQuota['scope'];
  scope_id: string;
  resource_type: StoredQuota['resourceType'];
  period: Period;
  limit_usd: string;
  topup_usd: string;
  more_warning_thresholds: number[];
  spent_usd: string;
  reserved_usd: string;
  warning_threshold: number;
  period_start: Date;
  period_end: Date;
  beyond_values?: string[] | null;
  expiring_topups?: StoredTopUps['expiring'];
  topup_kept_usd?: string | null;
  /** When its last period ended, if that is not the one around now. */
  ended_at?: Date | null;
  now_ms?: number;
}

/** As the next decision will find them. */
function amountsOf(row: QuotaRow): QuotaAmounts & { topUps?: TopUps | undefined } {
  const topUps = topUpsOf({ topupUsd: row.topup_usd, keptUsd: row.topup_kept_usd, expiring: row.expiring_topups });
  const found = {
    period: row.period,
    periodEndMs: (row.ended_at ?? row.period_end).getTime(),
    limitUsd: parseUsd(row.limit_usd) + totalOf(topUps),
    spentUsd: parseUsd(row.spent_usd),
    reservedUsd: parseUsd(row.reserved_usd),
    topUps,
  };
  const now = standsAt(found, row.now_ms ?? 0);
  const isLeaseAnew = row.ended_at && row.scope === 'platform';
  return {
    limitUsd: isLeaseAnew ? row.reserved_usd : row.limit_usd,
    topupUsd: formatUsd(totalOf(now.topUps)),
    spentUsd: formatUsd(now.spentUsd),
    reservedUsd: row.reserved_usd,
    ...(now.topUps ? { topUps: now.topUps } : {}),
  };
}

export const viewOf = (row: QuotaRow): StoredQuota => ({
  scope: row.scope,
  scopeId: row.scope_id,
  resourceType: row.resource_type,
  period: row.period,
  ...amountsOf(row),
  warningThreshold: row.warning_threshold,
  moreWarningThresholds: row.more_warning_thresholds,
  periodStart: row.period_start,
  periodEnd: row.period_end,
  ...(row.ended_at ? { wasEnded: true } : {}),
  ...(row.beyond_values ? { beyondValues: row.beyond_values } : {}),
});
