/** Which quota an order is about: the tenant's own, or that of a user or a label that is named. */
import { labelOfScope } from '../../core/budget/quotas';
import { problemOfLabelQuery } from '../../core/label-query';
import type { QuotaKey } from '../../store/quota-key';
import { ApiError } from '../http/errors';

export const isSameQuota = (one: QuotaKey, other: Omit<QuotaKey, 'scope'> & { scope: string }): boolean =>
  one.scope === other.scope &&
  one.scopeId === other.scopeId &&
  one.resourceType === other.resourceType &&
  one.period === other.period;

/** In words of an error. */
export const nameOfQuota = ({ resourceType, scope, scopeId, period }: QuotaKey): string =>
  `${resourceType} quota of ${scope} ${scopeId} per ${period}`;

type Asked = Omit<QuotaKey, 'scopeId'> & { scopeId?: string | undefined };

/** @throws ApiError where a user or a label is meant and not said, or is named where the tenant is meant: that would change the wrong limit. */
export function quotaKeyOf(tenantId: string, { scope, scopeId, resourceType, period }: Asked): QuotaKey {
  if (scope !== 'tenant' && scopeId === undefined)
    throw new ApiError(
      'invalid_request',
      `scopeId: a quota of scope ${scope} needs the ${scope}. Nothing was changed.`,
    );
  if (scope === 'label') {
    const [key, value] = labelOfScope(scopeId ?? '');
    const problem = problemOfLabelQuery({ [key]: value });
    if (problem !== undefined)
      throw new ApiError(
        'invalid_request',
        `scopeId: a label is such as team:search, and its parts ${problem}. Nothing was changed.`,
      );
  }
  if (scope === 'tenant' && scopeId !== undefined && scopeId !== tenantId)
    throw new ApiError(
      'invalid_request',
      `scopeId: a quota of scope tenant is that of ${tenantId}. To mean user ${scopeId}, say "scope": "user" too. Nothing was changed.`,
    );
  return { scope, scopeId: scopeId ?? tenantId, resourceType, period };
}
