/** The platform's quotas: what authorities draw from them and give back, and the look at what sleeps. */
import type { Coalescer } from '../../authority/coalescer';
import { drawLease, lookAfter, returnLeases } from '../../store/leases';
import type { Pool } from '../../store/pool';
import type { AuthorityActivities, LookAfterActivities } from '../contracts/budget';

/** Tenants woken in one call; the next call wakes the next. */
const wokenMax = 1_000;

export const createLeaseActivities = ({
  pool,
  coalescer,
}: {
  pool: Pool;
  coalescer: Coalescer;
}): Pick<AuthorityActivities, 'drawLease' | 'returnLeases'> & LookAfterActivities => ({
  drawLease: (request) => drawLease(pool, request),
  returnLeases: ({ tenantId }) => returnLeases(pool, tenantId),
  async wakeSleepers() {
    const tenantIds = await lookAfter(pool, wokenMax);
    await Promise.all(tenantIds.map((tenantId) => coalescer.send(tenantId, { type: 'reload' })));
    return tenantIds.length;
  },
});
