/**
 * One task of an agent: the model is called, its programs are run in a sandbox, and so on until it answers. Words and
 * files stay in Postgres; this history holds ids, usage and money.
 *
 * However it ends (answered, denied, out of its own limits, failed, cancelled), its sandbox is ended and each of its
 * reservations is settled before the run is.
 */
import {
  ActivityCancellationType,
  CancellationScope,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { LedgerActivities } from '../activities/contracts/ledger';
import type { LlmActivities, ModelReply } from '../activities/contracts/llm';
import { denialOf, failureOf, failureWith, isCancellation } from './failures';
import {
  runProgressQuery,
  runStatusAttribute,
  type AgentRunInput,
  type AgentRunResult,
  type RunProgress,
} from './messages';
import { SandboxSession } from './sandbox-session';
import { Budget } from './with-budget';

/** A model call may take this long; its reservation a margin longer. */
const modelCallSecondsMax = 600;
const expiryMarginSeconds = 60;

type RunEnd = Omit<Parameters<LedgerActivities['endRun']>[0], 'tenantId' | 'runId'>;

export async function agentRun(input: AgentRunInput): Promise<AgentRunResult> {
  const { runId, tenantId } = input;
  const progress: RunProgress = { step: 0, doing: 'starting' };
  setHandler(runProgressQuery, () => progress);
  const show = (step: number, doing: string): void => {
    Object.assign(progress, { step, doing });
    setCurrentDetails(`Step ${step}: ${doing}`);
  };

  const { taskQueue } = workflowInfo();
  const { userId, maxCostUsd, unavailable } = input;
  const budget = new Budget({
    tenantId,
    runId,
    ...(userId === undefined ? {} : { userId }),
    ...(maxCostUsd === undefined ? {} : { maxCostUsd }),
    ...(unavailable === undefined ? {} : { unavailable }),
  });
  const sandbox = new SandboxSession(input, budget, taskQueue);
  let end: RunEnd;
  try {
    await CancellationScope.withTimeout(input.timeoutSeconds * 1000, () => work({ input, budget, sandbox, show }));
    end = { status: 'completed' };
  } catch (error) {
    // The scope of the time limit is gone here: what is cancelled now is the workflow itself.
    end = endOf(error, CancellationScope.current().consideredCancelled);
  }
  await CancellationScope.nonCancellable(async () => {
    show(progress.step, 'settling');
    await sandbox.end();
    await budget.settled();
    await ledger(taskQueue).endRun({ tenantId, runId, ...end });
  });
  show(progress.step, end.status);
  upsertSearchAttributes([{ key: runStatusAttribute, value: end.status }]);
  return { runId, status: end.status };
}

interface Work {
  input: AgentRunInput;
  budget: Budget;
  sandbox: SandboxSession;
  show: (step: number, doing: string) => void;
}

async function work({ input, budget, sandbox, show }: Work): Promise<void> {
  const { tenantId, runId, model, maxOutputTokens, maxSteps } = input;
  const llm = llmActivities(workflowInfo().taskQueue);
  for (let step = 1; step <= maxSteps; step += 1) {
    show(step, 'preparing a model call');
    const plan = await llm.free.prepareModelCall({ tenantId, runId, model, maxOutputTokens });
    show(step, 'calling the model');
    const reply = await budget.withBudget<ModelReply>(
      {
        resource: 'llm',
        kind: 'llm.call',
        amountUsd: plan.amountUsd,
        minimumUsd: plan.minimumUsd,
        priceVersion: plan.priceVersion,
        ttlSeconds: modelCallSecondsMax + expiryMarginSeconds,
        step,
        model,
      },
      async ({ operationId, grantedUsd }) => {
        const answered = await llm.paid.callModel({ tenantId, runId, operationId, step, plan, grantedUsd });
        budget.noteCost(operationId, answered.costUsd);
        return answered;
      },
    );
    if (reply.toolCalls.length === 0) {
      if (reply.stopReason !== 'max_tokens') return;
      throw failureWith(
        'run_limit_exceeded',
        'The answer was cut off: it needed more output tokens than its limit or its budget allowed.',
      );
    }
    show(step, 'running code');
    await sandbox.execute(step);
  }
  throw failureWith(
    'run_limit_exceeded',
    `The run made its ${maxSteps} model calls without coming to an answer. What it spent stays on record.`,
  );
}

function llmActivities(taskQueue: string): { free: LlmActivities; paid: LlmActivities } {
  return {
    free: proxyActivities<LlmActivities>({
      taskQueue,
      startToCloseTimeout: '60 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '30 seconds' },
    }),
    paid: proxyActivities<LlmActivities>({
      taskQueue,
      startToCloseTimeout: modelCallSecondsMax * 1000,
      heartbeatTimeout: '10 seconds',
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: { maximumAttempts: 1 },
    }),
  };
}

const ledger = (taskQueue: string): LedgerActivities =>
  proxyActivities<LedgerActivities>({
    taskQueue,
    startToCloseTimeout: '30 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds' },
  });

function endOf(error: unknown, cancelled: boolean): RunEnd {
  const denial = denialOf(error);
  if (denial) {
    return {
      status: 'quota_exceeded',
      failure: { code: 'quota_exceeded', message: (error as Error).message, ...denial },
    };
  }
  if (isCancellation(error)) {
    return cancelled
      ? {
          status: 'cancelled',
          failure: { code: 'run_cancelled', message: 'The run was cancelled. What it had spent stays on record.' },
        }
      : {
          status: 'failed',
          failure: {
            code: 'run_timeout',
            message: 'The run reached its time limit. What it had spent stays on record.',
          },
        };
  }
  const known = failureOf(error);
  return {
    status: 'failed',
    failure: known
      ? { code: known.code, message: known.message }
      : {
          code: 'internal',
          message: 'A step failed. What the run had spent stays on record; the workflow in Temporal UI shows the step.',
        },
  };
}
