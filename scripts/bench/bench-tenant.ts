/** A tenant that no benchmark exhausts. */
import type { Pool } from '../../store/pool';
import { setQuotas } from '../../store/quotas';
import { createTenant } from '../../store/tenants';

export async function benchTenant(pool: Pool, tenantId: string): Promise<string> {
  await createTenant(pool, { tenantId });
  const quota = { scope: 'tenant' as const, scopeId: tenantId, period: 'month' as const, limitUsd: '1000000' };
  await setQuotas(pool, {
    tenantId,
    changes: [
      { ...quota, resourceType: 'all' },
      { ...quota, resourceType: 'llm' },
    ],
  });
  return tenantId;
}
