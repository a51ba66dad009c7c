/** A quota as the API shows it. */
import type { z } from '@hono/zod-openapi';
import { formatUsd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import { balanceOf, remainingUsd } from '../../core/budget/quotas';
import type { StoredQuota } from '../../store/quota-rows';
import type { quotaView } from './schemas';

export const showQuota = (quota: StoredQuota): z.infer<typeof quotaView> => ({
  scope: quota.scope,
  scopeId: quota.scopeId,
  resourceType: quota.resourceType,
  period: quota.period,
  limitUsd: quota.limitUsd,
  topupUsd: quota.topupUsd,
  expiringTopups: (quota.topUps?.expiring ?? []).map(({ amountUsd, expiresAtMs }) => ({
    amountUsd: formatUsd(amountUsd),
    expiresAt: new Date(expiresAtMs).toISOString(),
  })),
  spentUsd: quota.spentUsd,
  reservedUsd: quota.reservedUsd,
  ...omitUndefined({ inEnvelopesUsd: quota.inEnvelopesUsd }),
  remainingUsd: formatUsd(remainingUsd(balanceOf(quota))),
  warningThreshold: quota.warningThreshold,
  moreWarningThresholds: quota.moreWarningThresholds,
  resetsAt: quota.period === 'lifetime' ? null : quota.periodEnd.toISOString(),
});
