/** The platform's quotas: what authorities draw from them and give back. */
import { drawLease, returnLeases } from '../store/leases';
import type { Pool } from '../store/pool';
import type { AuthorityActivities } from '../contracts/budget';

export const createLeaseActivities = ({
  pool,
}: {
  pool: Pool;
}): Pick<AuthorityActivities, 'drawLease' | 'returnLeases'> => ({
  drawLease: (request) => drawLease(pool, request),
  returnLeases: ({ tenantId }) => returnLeases(pool, tenantId),
});
