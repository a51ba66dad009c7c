/** Starting runs, and the workflows of runs and conversations that are stored. */
import { WorkflowExecutionAlreadyStartedError, type WorkflowStartOptions } from '@temporalio/client';
import { WorkflowIdReusePolicy } from '@temporalio/common';
import {
  budgetWorkflowId,
  priorityOf,
  holdsMoneyAttribute,
  modelAttribute,
  runStatusAttribute,
  runWorkflowId,
  taskQueues,
  tenantIdAttribute,
  userIdAttribute,
  type AgentRunInput,
} from '../../contracts/messages';
import type { Labels } from '../../core/labels';
import { createRun, findRun } from '../../store/runs';
import { namespaceIdOf } from '../../temporal/namespace';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { fittingLabels, labelsOver } from '../http/labels';
import { answeredBy } from '../http/temporal-answers';
import { gate } from '../tenants/gate';
import { checkGuarantee, guaranteedOn } from './guarantee';
import { openLimit } from './limit';
import {
  checkAsking,
  checkLastCall,
  checkModels,
  checkSizes,
  fileOf,
  inputOf,
  optionsOf,
  keptOf,
  unavailablePolicy,
} from './request';
import type { StartedRun, StartRunBody } from './schemas';
import { toolsFor } from './tools';

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
    keyLabels,
    content,
  }: {
    runId: string;
    tenantId: string;
    body: StartRunBody;
    /** Of the key that it came with. */
    keyLabels?: Labels | undefined;
    /** Of its file, when it was large and is not in the body. */
    content?: Buffer | undefined;
  },
): Promise<StartedRun> {
  const model = body.model ?? dependencies.defaultModel;
  const sent = fileOf(body, content);
  checkLastCall(body);
  checkGuarantee(body);
  await checkAsking(dependencies, body);
  checkSizes(body.task, sent?.content.length ?? 0);
  const file = await keptOf(sent);
  const models = [model, ...(body.fallbackModels ?? [])];
  await checkModels(dependencies, { models, body, file });
  const tools = await toolsFor(dependencies, { tenantId, tools: body.tools });
  // One that waits for money is started without any.
  if (body.onDenied === 'fail')
    await gate(dependencies, {
      ...{ tenantId, userId: body.userId, resource: 'llm', what: 'The run was not started.' },
      labels: fittingLabels(keyLabels, body.labels),
      waitsForHolds: body.waitForHoldsSeconds !== 0,
    });
  const unavailable = await unavailablePolicy(dependencies, { tenantId, asked: body.onUnavailable });
  const workflowId = runWorkflowId(runId);
  const options = optionsOf(body, { file, tools });
  const { maxCostUsd } = body.limits;
  // From now on it binds, also those who name the run before it has spent anything.
  const { labels: ofParent, ...belongs } = await openLimit(dependencies, {
    ...{ tenantId, runId, maxCostUsd, parentRunId: body.parentRunId },
  });
  const { labels } = labelsOver(body.labels, { inherited: [keyLabels, ofParent], nothing: 'The run was not started.' });
  const status = await createRun(dependencies.pool, {
    runId,
    tenantId,
    userId: body.userId,
    workflowId,
    namespace: await namespaceIdOf(dependencies.temporal),
    model,
    task: body.task,
    labels,
    options,
    file,
  });
  if (status === 'failed') await refuseIfLost(dependencies, { tenantId, runId });
  const ofBody = inputOf({ ...body, labels }, tools);
  const input = {
    runId,
    tenantId,
    model,
    ...ofBody,
    ...(await guaranteedOn(dependencies, { tenantId, labels, body, tools: ofBody.tools })),
    ...belongs,
    ...(unavailable ? { unavailable } : {}),
  };
  await startWorkflow(dependencies, { type: 'agentRun', workflowId, input, summary: `Agent run with ${model}` });
  return { runId, workflowId, status: 'running' };
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

/** A workflow to be started for a run that is stored. */
export interface NewWorkflow {
  type: 'agentRun' | 'conversation';
  workflowId: string;
  input: AgentRunInput;
  /** What Temporal UI shows beside its id. */
  summary: string;
}

/** What Temporal UI shows of it from the start. */
function detailsOf({
  tenantId,
  userId,
  model,
  maxSteps,
  maxCostUsd,
  timeoutSeconds,
  onDenied,
  askDays,
}: AgentRunInput): string {
  const lines = [
    `Tenant **${tenantId}**${userId === undefined ? '' : `, user **${userId}**`}, model **${model}**.`,
    `At most ${maxSteps} model calls and ${timeoutSeconds} s${maxCostUsd === undefined ? '' : `, and ${maxCostUsd} USD`}.`,
    `A denied step ${askDays !== undefined ? 'asks people for money' : onDenied === 'wait' ? 'waits for money' : 'ends it'}. Its steps: under Current Details. What the tenant has left: workflow \`${budgetWorkflowId(tenantId)}\`.`,
  ];
  return lines.join('\n\n');
}

/** @throws ApiError `unavailable` when Temporal does not say that it took it; the run is stored, and may have begun. */
export async function startWorkflow(
  { temporal, taskQueuePrefix, log }: ProcessDependencies,
  { type, workflowId, input, summary }: NewWorkflow,
): Promise<void> {
  try {
    const options: WorkflowStartOptions = {
      workflowId,
      taskQueue: taskQueues(taskQueuePrefix).runs,
      args: [input],
      priority: priorityOf(type, input.tenantId),
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
    };
    await answeredBy(temporal, () => temporal.workflow.start(type, options));
    const { tenantId, runId } = input;
    log.info({ tenantId, runId, ...(type === 'conversation' ? { conversationId: runId } : {}), type }, 'a run began');
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return;
    log.error({ tenantId: input.tenantId, workflowId, error }, 'a run could not be started');
    const what = type === 'agentRun' ? 'run' : 'conversation';
    throw new ApiError(
      'unavailable',
      `Temporal did not answer. The ${what} ${input.runId} is stored, and may have begun; one that has not is ended as lost after two minutes.`,
      {
        [`${what}Id`]: input.runId,
        action: `Send the same request with the same Idempotency-Key within a minute: it goes on with it. Without that key it begins another. GET /v1/${what}s/${input.runId} tells of it.`,
      },
    );
  }
}
