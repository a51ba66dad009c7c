/**
 * One task of an agent: the model is called, its programs are run in a sandbox, and so on until it answers. Words and
 * files stay in Postgres; this history holds ids, usage and money.
 *
 * However it ends (answered, denied, out of its own limits, failed, cancelled), its sandbox is ended and each of its
 * reservations is settled before the run is. Its workflow then ends as what it came to: Completed, Failed with the code of what
 * stood in the way, or Cancelled.
 */
import { CancellationScope, proxyActivities, setHandler, setWorkflowOptions, workflowInfo } from '@temporalio/workflow';
import type { RunActivities } from '../../contracts/runs';
import { problemOfRun } from '../../core/inputs/workflow-inputs';
import { AgentLoop, stoppedByBudget } from './agent-loop';
import { ApprovalDesk } from './approvals';
import { endingOf, endOf, failureWith, type RunEnd } from '../failures';
import { refuseNonsense } from '../inputs';
import { runProgressQuery, runWorkflowId, type AgentRunInput, type AgentRunResult } from '../../contracts/messages';
import { isPatched } from '../patches';
import { RunPage, showOn } from './run-page';
import { SandboxSession } from './sandbox-session';
import { TimeLimit } from './time-limit';
import { scopeOf } from '../budget/paid-step';
import { Budget } from '../budget/with-budget';

// A run is short: it ends on the version of the workers that it began on. Where workers have no versions the server would not
// take a pinned run's tasks.
setWorkflowOptions(
  () => (workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: 'PINNED' } : {}),
  agentRun,
);
export async function agentRun(input: AgentRunInput): Promise<AgentRunResult> {
  refuseNonsense(problemOfRun(input), { prefix: runWorkflowId(''), field: 'runId', id: input?.runId });
  const { runId, tenantId } = input;
  const page = new RunPage();
  setHandler(runProgressQuery, () => page.progress);
  const show = (step: number, doing: string): void => page.show(step, doing);

  const { taskQueue } = workflowInfo();
  const budget = new Budget(scopeOf(input), (input.maxCostUsd ?? input.parentRunId) === undefined ? null : runId);
  const sandbox = new SandboxSession(input, budget, taskQueue);
  const limit = new TimeLimit(input.timeoutSeconds * 1000);
  const desk = new ApprovalDesk(input);
  showOn(page, { budget, limit, sandbox, desk });
  const loop = new AgentLoop({ input, budget, sandbox, desk, limit, show, calls: 'calls' });
  let end: RunEnd<AgentRunResult['status']>;
  try {
    const how = await limit.run(async () => {
      const { guaranteedUsd, guaranteedOn = ['llm'] } = input;
      if (guaranteedUsd !== undefined && isPatched('guaranteed')) await budget.guarantee(guaranteedUsd, guaranteedOn);
      return work(loop, input.maxSteps);
    });
    end = { status: 'completed', ...how };
  } catch (error) {
    // The scope of the time limit is gone here: what is cancelled now is the workflow itself.
    end = endOf(error, { what: 'run', cancelled: CancellationScope.current().consideredCancelled });
  }
  const cost = await CancellationScope.nonCancellable(async () => {
    show(page.progress.step, 'settling');
    await sandbox.end();
    await loop.end();
    await budget.settled(sandbox.openOperationIds);
    return ledger(taskQueue).endRun({ tenantId, runId, ...end });
  });
  page.ended({ status: end.status, ...cost });
  if (end.status !== 'completed' && isPatched('endings')) throw endingOf(runId, end);
  const { status, stoppedBy } = end;
  return { runId, status, ...(stoppedBy ? { stoppedBy } : {}) };
}

async function work(loop: AgentLoop, maxSteps: number): Promise<Pick<AgentRunResult, 'stoppedBy'>> {
  for (let step = 1; step <= maxSteps || loop.isOneMoreNext; step += 1) {
    const come = await loop.step(step);
    if (come !== 'goes on') return come === 'answered' ? {} : stoppedByBudget;
  }
  throw failureWith(
    'run_limit_exceeded',
    `The run made its ${maxSteps} model calls without coming to an answer. What it spent stays on record.`,
  );
}

const ledger = (taskQueue: string): RunActivities =>
  proxyActivities<RunActivities>({
    taskQueue,
    startToCloseTimeout: '30 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds' },
  });
