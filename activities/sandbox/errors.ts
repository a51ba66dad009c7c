/** Errors of sandboxes on record: a log line, and an event of the run, each with the stage of the sandbox's life. */
import type { Logger } from '../../telemetry/log';
import { lifecycleStageOf, type LifecycleStage, type SandboxOperation } from '../../core/agent/sandbox-stages';
import { asTenant, type Pool } from '../../store/pool';
import { appendRunEvent } from '../../store/runs';
import { countSandboxError } from '../../telemetry/metrics';

/** Requirement T4. */
export interface SandboxError {
  operation: SandboxOperation;
  errorType: string;
  lifecycleStage?: LifecycleStage;
  sandboxId?: string;
  tier?: string;
  tenantId?: string;
  /** The run, or the conversation. */
  runId?: string;
  /** Names the event within its run, so that a repeat is one. */
  key?: string;
}

/** Without a stage it follows from the operation. */
export async function recordE2BError(
  { pool, log }: { pool: Pool; log: Logger },
  { lifecycleStage, key, ...error }: SandboxError,
): Promise<void> {
  const stage = lifecycleStage ?? lifecycleStageOf(error.operation);
  log.warn({ ...error, lifecycleStage: stage }, 'a sandbox failed');
  countSandboxError({ operation: error.operation, errorType: error.errorType, lifecycleStage: stage });
  const { tenantId, runId, operation, errorType, sandboxId } = error;
  if (tenantId === undefined || runId === undefined) return;
  const data = { operation, errorType, lifecycleStage: stage, ...(sandboxId === undefined ? {} : { sandboxId }) };
  await asTenant(pool, tenantId, (client) =>
    appendRunEvent(client, runId, {
      key: `sandbox-error-${key ?? `${sandboxId ?? ''}-${operation}`}`,
      type: 'sandbox.failed',
      data,
    }),
  ).catch((failed: unknown) => log.warn({ error: failed }, 'a sandbox error could not be put on record'));
}
