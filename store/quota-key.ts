/** What names a quota of a tenant, and what is set of it. */
import type { BindingQuota } from '../core/budget/commands';
import type { Period } from '../core/budget/periods';

/** What names a quota of a tenant. */
export interface QuotaKey {
  scope: 'tenant' | 'user' | 'label';
  scopeId: string;
  resourceType: BindingQuota['resourceType'];
  period: Period;
}

export interface QuotaChange extends QuotaKey {
  limitUsd: string;
  /** Unless it says otherwise: one that is not is only watched. */
  enforced?: boolean | undefined;
  warningThreshold?: number | undefined;
  /** More thresholds to warn at. */
  moreWarningThresholds?: readonly number[] | undefined;
}

/** The scope of its row: a limit that is only watched has one of its own. */
export const storedScope = ({ scope, enforced = true }: Pick<QuotaChange, 'scope' | 'enforced'>): string =>
  enforced ? scope : `shadow_${scope}`;

/** Whose quotas of one scope these are, each once. */
export const scopeIdsOf = (
  which: QuotaKey['scope'],
  quotas: readonly Pick<QuotaKey, 'scope' | 'scopeId'>[],
): string[] => [...new Set(quotas.flatMap(({ scope, scopeId }) => (scope === which ? [scopeId] : [])))];
