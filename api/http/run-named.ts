/** The run, conversation or workflow of one's own that a request names as what its call belongs to. */
import type { Pool } from '../../store/pool';
import { readRunNamed, type RunNamed } from '../../store/run-limits';
import { ApiError } from './errors';

/** Undefined where none is named; `nothing` says what was not done. @throws ApiError `not_found` where the tenant has no such run. */
export async function runNamed(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string | undefined },
  nothing: string,
): Promise<RunNamed | undefined> {
  if (runId === undefined) return undefined;
  const run = await readRunNamed(pool, { tenantId, runId });
  if (!run) throw new ApiError('not_found', `Tenant ${tenantId} has no run ${runId}. ${nothing}`);
  return run;
}
