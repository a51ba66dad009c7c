/** Limits that can never be reached, because other quotas of the same spend have lower ones. */
import { formatUsd, type Usd } from '../money';
import { billedAs, tool } from '../resources';
import { balanceOf, type QuotaAmounts, type ResourceType, type Scope } from './quotas';
import type { Period } from './periods';

/** As much of a quota as says what it covers. */
export interface CoveringQuota extends QuotaAmounts {
  scope: Scope;
  scopeId: string;
  resourceType: ResourceType;
  period: Period;
}

type WhatIsCovered = Pick<CoveringQuota, 'scope' | 'scopeId' | 'resourceType'>;

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
  (other.scope === 'tenant' || (quota.scope === other.scope && quota.scopeId === other.scopeId)) &&
  (other.resourceType === 'all' || other.resourceType === quota.resourceType) &&
  within[quota.period].includes(other.period);

const nameOf = ({ scope, scopeId, resourceType, period }: CoveringQuota): string =>
  `the ${resourceType} quota of ${scope === 'tenant' ? 'the tenant' : `${scope} ${scopeId}`} per ${period}`;

const limitOf = (quota: CoveringQuota): Usd => balanceOf(quota).limitUsd;

/** In words: each limit that cannot be reached. `isMeant` says which quotas are looked at. */
export const limitsCovered = (
  quotas: readonly CoveringQuota[],
  isMeant: (quota: CoveringQuota) => boolean = () => true,
): string[] => [...aboveWhole(quotas, isMeant), ...aboveParts(quotas, isMeant), ...ofNoTool(quotas, isMeant)];

/** For tools, where the tenant's are billed as something else. */
function ofNoTool(quotas: readonly CoveringQuota[], isMeant: (quota: CoveringQuota) => boolean): string[] {
  return quotas
    .filter((quota) => isMeant(quota) && billedAs(quota.resourceType, quotas) !== quota.resourceType)
    .map(
      (quota) =>
        `${nameOf(quota)} binds nothing: the tools of a tenant that limits ${billedAs(quota.resourceType, quotas)}, and neither ` +
        `${quota.resourceType} nor all, are under that.`,
    );
}

/** In words: what nothing of the tenant's covers any more after a change of its limits. */
export function leftUncovered(before: readonly WhatIsCovered[], after: readonly WhatIsCovered[]): string[] {
  const limited = (quotas: readonly WhatIsCovered[]): Set<ResourceType> =>
    new Set(quotas.flatMap(({ scope, resourceType }) => (scope === 'tenant' ? [resourceType] : [])));
  const [was, is] = [limited(before), limited(after)];
  const names = [...new Set([...always, ...was])].filter((name) => name !== 'all');
  const isLost = (name: ResourceType): boolean =>
    (was.has('all') || was.has(billedAs(name, before))) && !is.has('all') && !is.has(billedAs(name, after));
  const told = names
    .filter(isLost)
    .sort()
    .map((name) => {
      const unless = always.includes(name) ? 'without one of its user or of the platform ' : '';
      return `No limit of the tenant covers ${name} any more: ${unless}it is refused (quota_missing).`;
    });
  return was.has('all') && !is.has('all')
    ? [...told, 'No limit of the tenant covers resources of other names any more: they are refused (quota_missing).']
    : told;
}

/** In words: what no limit covers any more of a user, one of whose limits binds no more. */
export function leftUncoveredOfUser(
  userId: string,
  before: readonly WhatIsCovered[],
  after: readonly WhatIsCovered[],
): string[] {
  const limited = (quotas: readonly WhatIsCovered[], name: ResourceType): boolean =>
    quotas.some(
      ({ scope, scopeId, resourceType }) =>
        (scope === 'tenant' || (scope === 'user' && scopeId === userId)) &&
        ['all', billedAs(name, quotas)].includes(resourceType),
    );
  return always
    .filter((name) => limited(before, name) && !limited(after, name))
    .map(
      (name) =>
        `No limit covers ${name} of user ${userId} any more: without one of the platform it is refused (quota_missing).`,
    );
}

/** What one of a user or of the platform may cover too. */
const always: readonly ResourceType[] = ['llm', 'e2b', tool];

/** In words: that tools are billed as something else after a change of a tenant's limits, and which limits bind them no more. */
export function toolsMoved(before: readonly WhatIsCovered[], after: readonly WhatIsCovered[]): string[] {
  const [was, is] = [billedAs(tool, before), billedAs(tool, after)];
  if (was === is) return [];
  return [
    `Tools with a price are billed as ${is} from now on, and no more as ${was}: no limit for ${was} binds them, also of users, labels and ` +
      `the platform.`,
  ];
}

/** For everything, where the limits for models and for sandboxes are lower even together: the rest is for what goes by another name. */
function aboveParts(quotas: readonly CoveringQuota[], isMeant: (quota: CoveringQuota) => boolean): string[] {
  const lowest = (whole: CoveringQuota, resourceType: ResourceType): CoveringQuota | undefined =>
    quotas
      .filter((part) => part.resourceType === resourceType && part.scope === whole.scope)
      .filter((part) => part.scopeId === whole.scopeId && within[whole.period].includes(part.period))
      .sort((one, other) => (limitOf(one) < limitOf(other) ? -1 : 1))[0];
  return quotas
    .filter((quota) => quota.resourceType === 'all' && isMeant(quota))
    .flatMap((whole) => {
      const [llm, e2b] = [lowest(whole, 'llm'), lowest(whole, 'e2b')];
      if (!llm || !e2b || limitOf(llm) + limitOf(e2b) >= limitOf(whole)) return [];
      return [
        `${nameOf(whole)} allows ${formatUsd(limitOf(whole))} USD, but ${nameOf(llm)} ${formatUsd(limitOf(llm))} USD ` +
          `and ${nameOf(e2b)} ${formatUsd(limitOf(e2b))} USD: no more than those can be spent on models and sandboxes.`,
      ];
    });
}

/** Above one that covers it: one of the two has to be meant. */
function aboveWhole(quotas: readonly CoveringQuota[], isMeant: (quota: CoveringQuota) => boolean): string[] {
  return quotas.flatMap((quota) =>
    quotas
      .filter((other) => (isMeant(quota) || isMeant(other)) && isCoveredBy(quota, other))
      .filter((other) => limitOf(quota) > limitOf(other))
      .map(
        (other) =>
          `${nameOf(quota)} allows ${formatUsd(limitOf(quota))} USD, and ${nameOf(other)}, which covers it, ` +
          `${formatUsd(limitOf(other))} USD: no more than that can be spent.`,
      ),
  );
}
