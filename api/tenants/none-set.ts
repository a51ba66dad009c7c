/** What an order about a limit is told where there is no such limit. */
import { readBudget } from '../../store/budget';
import type { Pool } from '../../store/pool';
import type { QuotaKey } from '../../store/quota-key';
import type { StoredQuota } from '../../store/quota-rows';
import { ApiError } from '../http/errors';
import { isSameQuota, nameOfQuota } from './quota-key';

/** There is no such limit to change, or it is not as the order takes it to be. */
export async function noneSet(pool: Pool, tenantId: string, quota: QuotaKey, watched: boolean): Promise<ApiError> {
  const payers = quota.scope === 'user' ? { userIds: [quota.scopeId] } : undefined;
  const { quotas, shadowQuotas } = await readBudget(pool, tenantId, payers);
  const isThere = (all: readonly StoredQuota[]): boolean => all.some((one) => isSameQuota(quota, one));
  const name = nameOfQuota(quota);
  const why = isThere(watched ? quotas : shadowQuotas)
    ? watched
      ? `The ${name} of ${tenantId} binds already.`
      : `The ${name} of ${tenantId} is only watched, and binds nobody.`
    : isThere(watched ? shadowQuotas : quotas)
      ? `${tenantId} has set no ${name}: the one that is there comes from a default, and goes with that.`
      : `${tenantId} has no ${watched ? 'watched ' : ''}${name}.`;
  return new ApiError('quota_missing', `${why} Nothing was changed.`);
}
