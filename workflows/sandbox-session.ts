/** The sandbox of a run: made when it is first needed, replaced when it is gone, ended with the run. */
import { ActivityCancellationType, CancellationScope, proxyActivities } from '@temporalio/workflow';
import type { OpenSandbox, SandboxActivities, SandboxPlan } from '../activities/contracts/sandbox';
import { siblingQueues, type AgentRunInput } from './messages';
import type { Budget } from './with-budget';

/** Beyond its window a reservation lives on for as long as ending the sandbox may take. */
const expiryMarginSeconds = 180;

export class SandboxSession {
  private open: { sandbox: OpenSandbox; plan: SandboxPlan } | undefined;
  private readonly free: SandboxActivities;
  private readonly paid: SandboxActivities;

  constructor(
    private readonly run: AgentRunInput,
    private readonly budget: Budget,
    runsQueue: string,
  ) {
    const taskQueue = siblingQueues(runsQueue).sandbox;
    this.free = proxyActivities<SandboxActivities>({
      taskQueue,
      startToCloseTimeout: '5 minutes',
      heartbeatTimeout: '15 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '10 seconds', maximumAttempts: 10 },
    });
    this.paid = proxyActivities<SandboxActivities>({
      taskQueue,
      startToCloseTimeout: '2 minutes',
      heartbeatTimeout: '10 seconds',
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: { maximumAttempts: 1 },
    });
  }

  /** Runs the code of a step's tool calls. */
  async execute(step: number): Promise<void> {
    const { tenantId, runId } = this.run;
    this.open ??= await this.create(step);
    const { sandbox } = this.open;
    const { sandboxGone } = await this.free.executeCode({ tenantId, runId, sandbox, step });
    if (sandboxGone) await this.end();
  }

  /** Ends the sandbox, if there is one, and writes what it cost. Not cancellable. */
  async end(): Promise<void> {
    if (!this.open) return;
    const { sandbox, plan } = this.open;
    const { operationId } = sandbox;
    const { tenantId, runId } = this.run;
    await CancellationScope.nonCancellable(() =>
      this.free.terminateSandbox({ tenantId, runId, operationId, plan, sandbox }),
    );
    this.open = undefined;
  }

  private async create(step: number): Promise<{ sandbox: OpenSandbox; plan: SandboxPlan }> {
    const { tenantId, runId, sandboxTier, sandboxWindowSeconds } = this.run;
    const plan = await this.free.prepareSandbox({ tier: sandboxTier, windowSeconds: sandboxWindowSeconds });
    const sandbox = await this.budget.withBudget(
      {
        resource: 'e2b',
        kind: 'sandbox.create',
        amountUsd: plan.amountUsd,
        priceVersion: plan.priceVersion,
        ttlSeconds: sandboxWindowSeconds + expiryMarginSeconds,
        step,
      },
      ({ operationId }) => this.paid.createSandbox({ tenantId, runId, operationId, plan }),
      // Whether a sandbox runs that nobody was told of is found out, and it is ended, before its cost is settled.
      { beforeCommit: (operationId) => this.free.terminateSandbox({ tenantId, runId, operationId, plan }) },
    );
    return { sandbox, plan };
  }
}
