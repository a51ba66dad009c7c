/** Showing and cancelling runs. */
import { z } from '@hono/zod-openapi';
import { WorkflowNotFoundError } from '@temporalio/client';
import { valueOf } from '../../core/agent/answer-check';
import { parseUuid } from '../../core/ids';
import { isRecord } from '../../core/prices/usage';
import { omitUndefined } from '../../core/omit-undefined';
import { listQuotas } from '../../store/quotas';
import { readCacheSaved, readRunCost, readRunSteps } from '../../store/run-steps';
import type { Pool } from '../../store/pool';
import { listRuns, type ListedRun, type RunFilter } from '../../store/run-lists';
import { findRun, findRunEvent, type Run } from '../../store/runs';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { answeredBy } from '../http/temporal-answers';
import { pageOf, placeOf } from '../http/pages';
import { readRunTree } from '../../store/run-limits';
import type { RunView, runsView } from './schemas';
import { waitingForOf } from './states';
import { fileOfRun } from './transcripts';

/** A run as callers see it; undefined when the tenant has none of that id. */
export async function showRun({ pool }: ProcessDependencies, run: Run): Promise<RunView> {
  const [steps, costUsd, cacheSavedUsd, ended, tree, quotas] = await Promise.all([
    readRunSteps(pool, run),
    readRunCost(pool, run),
    readCacheSaved(pool, run),
    findRunEvent(pool, { ...run, key: 'ended' }),
    readRunTree(pool, run),
    listQuotas(pool, run.tenantId),
  ]);
  const { settings, answerSchema: schema, limits } = run.options;
  const guaranteedUsd = isRecord(limits) ? limits.guaranteedUsd : undefined;
  const all = quotas.find((quota) => quota.scope === 'tenant' && quota.resourceType === 'all');
  return {
    runId: run.runId,
    tenantId: run.tenantId,
    workflowId: run.workflowId,
    status: run.state,
    waitingFor: waitingForOf(run),
    model: run.model,
    labels: run.labels ?? null,
    task: run.type === 'task' && !run.forgottenAt ? run.task : null,
    instructions: typeof run.options.instructions === 'string' ? run.options.instructions : null,
    settings: isRecord(settings) ? settings : null,
    answerSchema: typeof schema === 'string' ? (JSON.parse(schema) as Record<string, unknown>) : null,
    file: fileOfRun(run),
    answer: run.answer ?? null,
    answerJson: schema === undefined ? null : (valueOf(run.answer ?? '')?.value ?? null),
    failure: run.failure ? { ...run.failure } : null,
    stoppedBy: ended?.data.stoppedBy === 'budget' ? 'budget' : null,
    costUsd,
    guaranteedUsd: typeof guaranteedUsd === 'string' ? guaranteedUsd : null,
    cacheSavedUsd,
    tree,
    quota: all
      ? { limitUsd: all.limitUsd, topupUsd: all.topupUsd, spentUsd: all.spentUsd, reservedUsd: all.reservedUsd }
      : null,
    steps: steps.map(({ step, attempt, grantedUsd, decidedAt, claimedAt, outcomeAt, endedAt, ...more }) => ({
      ...more,
      ...omitUndefined({ step: step ?? undefined, attempt: attempt ?? undefined }),
      reservedUsd: grantedUsd,
      decidedAt: decidedAt.toISOString(),
      claimedAt: claimedAt?.toISOString() ?? null,
      endedAt: (outcomeAt ?? endedAt)?.toISOString() ?? null,
    })),
    createdAt: run.createdAt.toISOString(),
    endedAt: run.endedAt?.toISOString() ?? null,
    forgottenAt: run.forgottenAt?.toISOString() ?? null,
  };
}

/** A tenant's runs without their steps, the newest first. */
export async function showRuns(
  { pool }: ProcessDependencies,
  { cursor, limit, ...filter }: RunFilter & RunPage,
): Promise<z.infer<typeof runsView>> {
  const { rows, nextCursor } = await pageOfRuns(pool, { ...filter, cursor, limit });
  const runs = rows.map((run) => ({
    runId: run.runId,
    tenantId: run.tenantId,
    userId: run.userId ?? null,
    workflowId: run.workflowId,
    status: run.state,
    waitingFor: waitingForOf(run),
    model: run.model,
    labels: run.labels ?? null,
    file: fileOfRun(run),
    failure: run.failure ? { ...run.failure } : null,
    costUsd: run.costUsd,
    cacheSavedUsd: run.cacheSavedUsd,
    createdAt: run.createdAt.toISOString(),
    endedAt: run.endedAt?.toISOString() ?? null,
    forgottenAt: run.forgottenAt?.toISOString() ?? null,
  }));
  return { runs, nextCursor };
}

interface RunPage {
  tenantId: string;
  cursor?: string | undefined;
  limit: number;
}

const place = z.tuple([z.uuid()]);

/** A page of runs, or of conversations. */
export async function pageOfRuns(
  pool: Pool,
  { cursor, limit, ...filter }: RunFilter & RunPage,
): Promise<{ rows: ListedRun[]; nextCursor: string | null }> {
  const [afterRunId] = placeOf(cursor, place) ?? [];
  const rows = await listRuns(pool, { ...filter, afterRunId, limit: limit + 1 });
  return pageOf(rows, { limit, place: ({ runId }) => [runId] });
}

/** @throws ApiError `not_found`, which does not tell whether another tenant has such a run. */
export async function findRunOrFail(
  { pool }: ProcessDependencies,
  { tenantId, runId: named }: { tenantId: string; runId: string },
): Promise<Run> {
  const runId = parseUuid(named);
  const run = runId === undefined ? undefined : await findRun(pool, { tenantId, runId });
  if (!run) throw new ApiError('not_found', `There is no run ${JSON.stringify(named)}.`);
  return run;
}

/** Asks a run to stop. It ends its model call and its sandbox and settles its reservations first. */
export async function cancelRun({ temporal }: ProcessDependencies, run: Run): Promise<void> {
  const ended = new ApiError(
    'run_ended',
    `The run ${run.runId} has ended already (${run.status}). Nothing was changed.`,
  );
  if (run.status !== 'running') throw ended;
  try {
    await answeredBy(temporal, () => temporal.workflow.getHandle(run.workflowId).cancel());
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw ended;
    throw new ApiError(
      'unavailable',
      'Temporal did not answer: it may have taken the cancellation or not. Try again; a second one does no harm.',
    );
  }
}
