/** What a tenant may spend, as people read it. */
import { frozenOf, type Frozen } from './frozen';
import { asTenant, type Pool } from './pool';
import type { StoredQuota } from './quota-rows';
import { ownQuotasOf, type OwnQuotas, type Payers } from './quotas';
import { shadowsOf } from './shadow-quotas';

/** The tenant's own quotas and those that are only watched, of these users and labels or of the first by name, and who is frozen, as they stand together. */
export async function readBudget(
  pool: Pool,
  tenantId: string,
  payers?: Payers,
): Promise<Frozen & OwnQuotas & { shadowQuotas: StoredQuota[] }> {
  return asTenant(pool, tenantId, async (client) => {
    const [own, shadowQuotas, frozen] = await Promise.all([
      ownQuotasOf(client, tenantId, payers),
      shadowsOf(client, tenantId, payers),
      frozenOf(client, tenantId),
    ]);
    return { ...own, shadowQuotas, ...frozen };
  });
}
