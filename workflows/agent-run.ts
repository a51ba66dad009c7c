/**
 * One task of an agent: the model is called, its programs are run in a sandbox, and so on until it answers. Words and
 * files stay in Postgres; this history holds ids, usage and money.
 *
 * However it ends (answered, denied, out of its own limits, failed, cancelled), its sandbox is ended and each of its
 * reservations is settled before the run is.
 */
import {
  CancellationScope,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { LedgerActivities } from '../activities/contracts/ledger';
import { AgentLoop } from './agent-loop';
import { ApprovalDesk } from './approvals';
import { endOf, failureWith, type RunEnd } from './failures';
import {
  runProgressQuery,
  runStatusAttribute,
  type AgentRunInput,
  type AgentRunResult,
  type RunProgress,
} from './messages';
import { SandboxSession } from './sandbox-session';
import { TimeLimit } from './time-limit';
import { Budget, scopeOf } from './with-budget';

export async function agentRun(input: AgentRunInput): Promise<AgentRunResult> {
  const { runId, tenantId } = input;
  const progress: RunProgress = { step: 0, doing: 'starting' };
  setHandler(runProgressQuery, () => progress);
  const show = (step: number, doing: string): void => {
    Object.assign(progress, { step, doing });
    setCurrentDetails(`Step ${step}: ${doing}`);
  };

  const { taskQueue } = workflowInfo();
  const budget = new Budget(scopeOf(input));
  const sandbox = new SandboxSession(input, budget, taskQueue);
  const limit = new TimeLimit(input.timeoutSeconds * 1000);
  budget.whileWaiting = (wait) => limit.standStill(() => sandbox.pause().then(wait));
  const loop = new AgentLoop({ input, budget, sandbox, desk: new ApprovalDesk(input), limit, show });
  let end: RunEnd<AgentRunResult['status']>;
  try {
    await limit.run(() => work(loop, input.maxSteps));
    end = { status: 'completed' };
  } catch (error) {
    // The scope of the time limit is gone here: what is cancelled now is the workflow itself.
    end = endOf(error, { what: 'run', cancelled: CancellationScope.current().consideredCancelled });
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

async function work(loop: AgentLoop, maxSteps: number): Promise<void> {
  for (let step = 1; step <= maxSteps; step += 1) if ((await loop.step(step)) === 'answered') return;
  throw failureWith(
    'run_limit_exceeded',
    `The run made its ${maxSteps} model calls without coming to an answer. What it spent stays on record.`,
  );
}

const ledger = (taskQueue: string): LedgerActivities =>
  proxyActivities<LedgerActivities>({
    taskQueue,
    startToCloseTimeout: '30 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds' },
  });
