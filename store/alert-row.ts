/** An alert as a decision records it. */
import type { QuotaAlert } from '../core/budget/quota-alerts';
import { utilizationPercent } from '../core/budget/quotas';
import { formatUsd } from '../core/money';

/** What the alert will say, kept as it was at that moment. */
export function alertRow({
  kind,
  quota,
  thresholdBasisPoints,
  estimatedUsd,
  overrun,
}: QuotaAlert): Record<string, unknown> {
  return {
    quotaId: quota.quotaId,
    kind,
    thresholdBasisPoints,
    details: {
      scope: quota.scope,
      scopeId: quota.scopeId,
      resourceType: quota.resourceType,
      period: quota.period,
      ...(quota.isShadow && { enforced: false }),
      limitUsd: formatUsd(quota.limitUsd),
      spentUsd: formatUsd(quota.spentUsd),
      reservedUsd: formatUsd(quota.reservedUsd),
      utilizationPercent: utilizationPercent(quota),
      estimatedUsd: estimatedUsd === undefined ? undefined : formatUsd(estimatedUsd),
      ...(overrun && {
        operationId: overrun.operationId,
        grantedUsd: formatUsd(overrun.grantedUsd),
        costUsd: formatUsd(overrun.costUsd),
      }),
    },
  };
}
