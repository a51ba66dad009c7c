/** Limits that can never be reached, because another quota that covers the same spend has a lower one. */
import { formatUsd } from '../money';
import { balanceOf, type QuotaAmounts, type ResourceType, type Scope } from './quotas';
import type { Period } from './periods';

/** As much of a quota as says what it covers. */
export interface CoveringQuota extends QuotaAmounts {
  scope: Scope;
  scopeId: string;
  resourceType: ResourceType;
  period: Period;
}

/** What each period lies within. A week may begin in one month and end in the next. */
const within: Record<Period, readonly Period[]> = {
  day: ['day', 'week', 'month', 'lifetime'],
  week: ['week', 'lifetime'],
  month: ['month', 'lifetime'],
  lifetime: ['lifetime'],
};

/** Whether all that one quota counts, the other counts too. */
const isCoveredBy = (quota: CoveringQuota, other: CoveringQuota): boolean =>
  quota !== other &&
  (other.scope === 'tenant' || (quota.scope === 'user' && other.scope === 'user' && quota.scopeId === other.scopeId)) &&
  !(quota.scope === 'tenant' && other.scope === 'user') &&
  (other.resourceType === 'all' || other.resourceType === quota.resourceType) &&
  within[quota.period].includes(other.period);

const nameOf = ({ scope, scopeId, resourceType, period }: CoveringQuota): string =>
  `the ${resourceType} quota of ${scope === 'user' ? `user ${scopeId}` : 'the tenant'} per ${period}`;

/** In words: each limit that is above one that covers it. `isMeant` says which quotas are looked at: one of the two has to be. */
export function limitsCovered(
  quotas: readonly CoveringQuota[],
  isMeant: (quota: CoveringQuota) => boolean = () => true,
): string[] {
  return quotas.flatMap((quota) =>
    quotas
      .filter((other) => (isMeant(quota) || isMeant(other)) && isCoveredBy(quota, other))
      .filter((other) => balanceOf(quota).limitUsd > balanceOf(other).limitUsd)
      .map(
        (other) =>
          `${nameOf(quota)} allows ${formatUsd(balanceOf(quota).limitUsd)} USD, and ${nameOf(other)}, which covers it, ` +
          `${formatUsd(balanceOf(other).limitUsd)} USD: no more than that can be spent.`,
      ),
  );
}
