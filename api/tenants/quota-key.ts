/** Which quota an order is about: the tenant's own, or that of a user who is named. */
import type { QuotaKey } from '../../store/quotas';
import { ApiError } from '../http/errors';

type Asked = Omit<QuotaKey, 'scopeId'> & { scopeId?: string | undefined };

/** @throws ApiError where a user is meant and not said, or is named where the tenant is meant: that would change the wrong limit. */
export function quotaKeyOf(tenantId: string, { scope, scopeId, resourceType, period }: Asked): QuotaKey {
  if (scope === 'user' && scopeId === undefined)
    throw new ApiError('invalid_request', 'scopeId: a quota of scope user needs the user. Nothing was changed.');
  if (scope === 'tenant' && scopeId !== undefined && scopeId !== tenantId)
    throw new ApiError(
      'invalid_request',
      `scopeId: a quota of scope tenant is that of ${tenantId}. To mean user ${scopeId}, say "scope": "user" too. Nothing was changed.`,
    );
  return { scope, scopeId: scopeId ?? tenantId, resourceType, period };
}
