/** A quota as the API shows it. */
import type { z } from '@hono/zod-openapi';
import { formatUsd } from '../../core/money';
import { balanceOf, remainingUsd } from '../../core/budget/quotas';
import type { StoredQuota } from '../../store/quotas';
import type { quotaView } from './schemas';

export const showQuota = (quota: StoredQuota): z.infer<typeof quotaView> => ({
  scope: quota.scope,
  scopeId: quota.scopeId,
  resourceType: quota.resourceType,
  period: quota.period,
  limitUsd: quota.limitUsd,
  topupUsd: quota.topupUsd,
  spentUsd: quota.spentUsd,
  reservedUsd: quota.reservedUsd,
  remainingUsd: formatUsd(remainingUsd(balanceOf(quota))),
  warningThreshold: quota.warningThreshold,
  moreWarningThresholds: quota.moreWarningThresholds,
  resetsAt: quota.period === 'lifetime' ? null : quota.periodEnd.toISOString(),
});
