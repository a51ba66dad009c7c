/** Starting, showing and cancelling runs. */
import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import { WorkflowIdReusePolicy } from '@temporalio/common';
import { namespaceIdOf } from '../../temporal/namespace';
import { findModelPrice, UnpricedModelError } from '../../core/prices/prices';
import { findSandboxPrice, UnpricedSandboxError } from '../../core/prices/sandbox-prices';
import { parseUuid } from '../../core/ids';
import { readRunCost, readRunSteps } from '../../store/run-steps';
import { createRun, findRun, listRuns, type Run, type RunFilter } from '../../store/runs';
import { listQuotas } from '../../store/quotas';
import { readPolicy, type TenantPolicy } from '../../store/tenants';
import {
  budgetWorkflowId,
  holdsMoneyAttribute,
  modelAttribute,
  runStatusAttribute,
  runWorkflowId,
  taskQueues,
  tenantIdAttribute,
  userIdAttribute,
  type AgentRunInput,
  type ToolRule,
} from '../../contracts/messages';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { gate } from '../tenants/gate';
import { omitUndefined } from '../../core/omit-undefined';
import type { z } from '@hono/zod-openapi';
import {
  fileBytesMax,
  taskCharsMax,
  type runSummary,
  type RunView,
  type StartConversationBody,
  type StartRunBody,
} from '../http/schemas';
import { whyNoText } from './text-file';

export interface StartedRun {
  runId: string;
  workflowId: string;
  status: 'running';
}

/**
 * Starts a run. Repeated with the same id it goes on with the same run.
 *
 * @throws ApiError `run_lost` for a repeat that comes after the run was given up.
 */
export async function startRun(
  dependencies: ProcessDependencies,
  {
    runId,
    tenantId,
    body,
    content,
  }: {
    runId: string;
    tenantId: string;
    body: StartRunBody;
    /** Of its file, when it was large and is not in the body. */
    content?: Buffer | undefined;
  },
): Promise<StartedRun> {
  const model = body.model ?? dependencies.defaultModel;
  const file = fileOf(body, content);
  checkSizes(body.task, file?.content.length ?? 0);
  await checkText(file);
  const models = [model, ...(body.fallbackModels ?? [])];
  await checkPrices(dependencies, { models, tier: body.sandbox.tier });
  // One that waits for money is started without any.
  if (body.onDenied !== 'wait')
    await gate(dependencies, { tenantId, userId: body.userId, resource: 'llm', what: 'The run was not started.' });
  const unavailable = await unavailablePolicy(dependencies, { tenantId, asked: body.onUnavailable });
  const workflowId = runWorkflowId(runId);
  const options = optionsOf(body);
  const status = await createRun(dependencies.pool, {
    runId,
    tenantId,
    userId: body.userId,
    workflowId,
    namespace: await namespaceIdOf(dependencies.temporal),
    model,
    task: body.task,
    options,
    file,
  });
  if (status === 'failed') await refuseIfLost(dependencies, { tenantId, runId });
  const input = { runId, tenantId, model, ...inputOf(body), ...(unavailable ? { unavailable } : {}) };
  await startWorkflow(dependencies, { type: 'agentRun', workflowId, input, summary: `Agent run with ${model}` });
  return { runId, workflowId, status: 'running' };
}

/** What a run or a conversation remembers of how it was asked for. */
export const optionsOf = ({
  limits,
  sandbox,
  tools,
  instructions,
  compaction,
  fallbackModels,
  onDenied,
}: StartRunBody | StartConversationBody): Record<string, unknown> => ({
  limits,
  sandbox,
  compaction,
  onDenied,
  ...omitUndefined({ tools, instructions, fallbackModels }),
});

/** The part of a workflow's input that follows from how a run or a conversation was asked for. */
export function inputOf(
  body: StartRunBody | StartConversationBody,
): Omit<AgentRunInput, 'runId' | 'tenantId' | 'model' | 'unavailable'> {
  const { maxCostUsd, ...limits } = body.limits;
  const { sandbox, compaction, onDenied, fallbackModels, userId } = body;
  return {
    ...limits,
    ...omitUndefined({ maxCostUsd, userId, fallbackModels }),
    ...(onDenied === 'wait' ? { onDenied } : {}),
    ...(compaction.enabled ? { compact: true } : {}),
    ...toolRules(body.tools),
    sandboxTier: sandbox.tier,
    sandboxWindowSeconds: sandbox.windowSeconds,
    executionSeconds: sandbox.executionSeconds,
    sandboxIdle: { pauseSeconds: sandbox.pauseAfterSeconds, killSeconds: sandbox.killAfterSeconds },
  };
}

/** What a workflow has to know of the tools: which ask a person first, and which have a price. */
function toolRules(tools: StartRunBody['tools']): Pick<AgentRunInput, 'tools'> {
  const rules = (tools ?? []).flatMap(({ name, requiresApproval, priceUsd }): [string, ToolRule][] =>
    requiresApproval || priceUsd !== undefined
      ? [[name, { ...(requiresApproval ? { requiresApproval } : {}), ...(priceUsd === undefined ? {} : { priceUsd }) }]]
      : [],
  );
  return rules.length === 0 ? {} : { tools: Object.fromEntries(rules) };
}

/** A run that was given up for lost has been reported as failed; it must not begin after that. */
export async function refuseIfLost(
  { pool }: ProcessDependencies,
  key: { tenantId: string; runId: string },
): Promise<void> {
  const run = await findRun(pool, key);
  if (run?.failure?.code !== 'run_lost') return;
  throw new ApiError('run_lost', `The run ${key.runId} was given up. ${run.failure.message} Nothing was started.`);
}

/** From the one that lets a step go on to the one that ends it. */
const strictness = ['allow', 'wait', 'deny'] as const;

/** A run may be stricter than its tenant, never laxer. Undefined means to wait. */
export async function unavailablePolicy(
  { pool }: ProcessDependencies,
  { tenantId, asked }: { tenantId: string; asked: TenantPolicy['onUnavailable'] | undefined },
): Promise<AgentRunInput['unavailable']> {
  const tenant = await readPolicy(pool, tenantId);
  const { onUnavailable = 'wait', answerTimeoutMs = 5_000 } = tenant ?? {};
  if (asked !== undefined && strictness.indexOf(asked) < strictness.indexOf(onUnavailable)) {
    throw new ApiError(
      'invalid_request',
      `onUnavailable: ${asked} is laxer than the tenant's ${onUnavailable}; a run may only be stricter. Nothing was stored.`,
    );
  }
  const then = asked ?? onUnavailable;
  return then === 'wait' ? undefined : { then, afterMs: answerTimeoutMs };
}

export function checkSizes(task: string, fileBytes: number): void {
  const nothing = 'Nothing was stored.';
  if (task.length > taskCharsMax) {
    throw new ApiError(
      'payload_too_large',
      `task: ${task.length} characters; at most ${taskCharsMax} are taken. ${nothing}`,
    );
  }
  if (fileBytes > fileBytesMax) {
    throw new ApiError('payload_too_large', `file: ${fileBytes} bytes; at most ${fileBytesMax} are taken. ${nothing}`);
  }
}

/** The file that comes with a run or a conversation; the content of a large one comes beside the body. */
export const fileOf = (
  { file }: Pick<StartRunBody, 'file'>,
  content?: Buffer,
): { name: string; content: Buffer } | undefined =>
  file && { name: file.name, content: content ?? Buffer.from(file.contentBase64, 'base64') };

/** What a program cannot read as text is refused before it costs anything. */
export async function checkText(file: { name: string; content: Buffer } | undefined): Promise<void> {
  const why = file && (await whyNoText(file));
  if (why !== undefined) throw new ApiError('invalid_request', `file: ${why} Nothing was stored.`);
}

/** What has no price is refused before anything is stored. */
export async function checkPrices(
  { prices }: ProcessDependencies,
  { models: named, tier }: { models: readonly string[]; tier: string },
): Promise<void> {
  const { models, sandboxes } = await prices();
  try {
    for (const model of named) findModelPrice(models, { model, at: Date.now() });
    findSandboxPrice(sandboxes, { tier, at: Date.now() });
  } catch (error) {
    if (error instanceof UnpricedModelError) throw new ApiError('unpriced_model', error.message);
    if (error instanceof UnpricedSandboxError) throw new ApiError('unpriced_sandbox', error.message);
    throw error;
  }
}

/** A workflow to be started for a run that is stored. */
export interface NewWorkflow {
  type: 'agentRun' | 'conversation';
  workflowId: string;
  input: AgentRunInput;
  /** What Temporal UI shows beside its id. */
  summary: string;
}

/** What Temporal UI shows of it from the start. */
function detailsOf({ tenantId, userId, model, maxSteps, maxCostUsd, timeoutSeconds, onDenied }: AgentRunInput): string {
  const lines = [
    `Tenant **${tenantId}**${userId === undefined ? '' : `, user **${userId}**`}, model **${model}**.`,
    `At most ${maxSteps} model calls and ${timeoutSeconds} s${maxCostUsd === undefined ? '' : `, and ${maxCostUsd} USD`}.`,
    `A denied step ${onDenied === 'wait' ? 'waits for money' : 'ends it'}. Its steps: under Current Details. What the tenant has left: workflow \`${budgetWorkflowId(tenantId)}\`.`,
  ];
  return lines.join('\n\n');
}

/** @throws ApiError `unavailable` when Temporal does not take it; the run is stored. */
export async function startWorkflow(
  { temporal, taskQueuePrefix, log }: ProcessDependencies,
  { type, workflowId, input, summary }: NewWorkflow,
): Promise<void> {
  try {
    await temporal.workflow.start(type, {
      workflowId,
      taskQueue: taskQueues(taskQueuePrefix).runs,
      args: [input],
      workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
      typedSearchAttributes: [
        { key: tenantIdAttribute, value: input.tenantId },
        { key: modelAttribute, value: input.model },
        { key: runStatusAttribute, value: 'running' },
        { key: holdsMoneyAttribute, value: type === 'agentRun' },
        ...(input.userId === undefined ? [] : [{ key: userIdAttribute, value: input.userId }]),
      ],
      staticSummary: summary,
      staticDetails: detailsOf(input),
    });
    const { tenantId, runId } = input;
    log.info({ tenantId, runId, ...(type === 'conversation' ? { conversationId: runId } : {}), type }, 'a run began');
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return;
    log.error({ tenantId: input.tenantId, workflowId, error }, 'a run could not be started');
    throw new ApiError(
      'unavailable',
      `Temporal did not take the run ${input.runId}. The run is stored and has not begun; send the same request with the same Idempotency-Key within two minutes to start it.`,
    );
  }
}

/** A run as callers see it; undefined when the tenant has none of that id. */
export async function showRun({ pool }: ProcessDependencies, run: Run): Promise<RunView> {
  const [steps, costUsd, quotas] = await Promise.all([
    readRunSteps(pool, run),
    readRunCost(pool, run),
    listQuotas(pool, run.tenantId, []),
  ]);
  const all = quotas.find((quota) => quota.scope === 'tenant' && quota.resourceType === 'all');
  return {
    runId: run.runId,
    tenantId: run.tenantId,
    workflowId: run.workflowId,
    status: statusOf(run),
    waitingFor: run.waiting ? { ...run.waiting } : null,
    model: run.model,
    answer: run.answer ?? null,
    failure: run.failure ? { ...run.failure } : null,
    costUsd,
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
  };
}

/** A tenant's runs without their steps, the newest first. */
export async function showRuns(
  { pool }: ProcessDependencies,
  query: RunFilter & { tenantId: string; limit: number },
): Promise<z.infer<typeof runSummary>[]> {
  return (await listRuns(pool, query)).map((run) => ({
    runId: run.runId,
    tenantId: run.tenantId,
    userId: run.userId ?? null,
    workflowId: run.workflowId,
    status: statusOf(run),
    model: run.model,
    failure: run.failure ? { ...run.failure } : null,
    costUsd: run.costUsd,
    createdAt: run.createdAt.toISOString(),
    endedAt: run.endedAt?.toISOString() ?? null,
  }));
}

const statusOf = ({ status, waiting }: Run): RunView['status'] =>
  status === 'running' && waiting ? 'waiting_for_money' : status;

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
    await temporal.workflow.getHandle(run.workflowId).cancel();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw ended;
    throw new ApiError('unavailable', 'Temporal did not take the cancellation. The run goes on; try again.');
  }
}
