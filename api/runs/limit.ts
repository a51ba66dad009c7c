/** What a run may cost, and whose limit it counts for besides, on record before it has spent anything. */
import type { Labels } from '../../core/labels';
import { omitUndefined } from '../../core/omit-undefined';
import { openRunLimit, readParent, readRunNamed } from '../../store/run-limits';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';

/**
 * Puts the limit of a run that is to be started on record, under the limit of the run that it names as its parent, if it names one; of a
 * conversation that is the turn that it is in. Answers under which, and with which labels.
 *
 * @throws ApiError `not_found` for a parent that the tenant does not have, `run_parent_refused` for one that nothing can belong to.
 */
export async function openLimit(
  { pool }: ProcessDependencies,
  {
    tenantId,
    runId,
    maxCostUsd: limitUsd,
    parentRunId,
  }: { tenantId: string; runId: string; maxCostUsd?: string | undefined; parentRunId?: string | undefined },
): Promise<{ parentRunId?: string; labels?: Labels | undefined }> {
  const own = { id: runId, ...omitUndefined({ limitUsd }) };
  if (parentRunId === undefined) {
    if (limitUsd !== undefined) await openRunLimit(pool, tenantId, own);
    return {};
  }
  const parent = await readRunNamed(pool, { tenantId, runId: parentRunId });
  if (!parent)
    throw new ApiError('not_found', `Tenant ${tenantId} has no run ${parentRunId}. The run was not started.`);
  // A repeat, which may come when the conversation is in another turn.
  const before = await readParent(pool, { tenantId, runId });
  if (before !== undefined) return { parentRunId: before, labels: parent.labels };
  const refused = (): ApiError =>
    new ApiError(
      'run_parent_refused',
      `The run cannot belong to ${parentRunId}: that has no limit of its own (a conversation has one in its turn), has ended, or is eight deep already. The run was not started.`,
    );
  if (!parent.goesOn) throw refused();
  await openRunLimit(pool, tenantId, parent.limit);
  const opened = await openRunLimit(pool, tenantId, { ...own, parentId: parent.limit.id });
  if ('refusal' in opened || !opened.isOnRecord) throw refused();
  return { parentRunId: parent.limit.id, labels: parent.labels };
}
