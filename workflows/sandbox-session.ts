/**
 * The sandbox of a run: made when it is first needed, in windows of time that are each reserved ahead and committed by the
 * second. It is extended while a program runs, paused while nobody uses it, resumed when it is needed again, replaced when it
 * is gone, ended with the run.
 *
 *   none ── needed ──▶ open ── window nearly over, a program runs ──▶ open, in a new window
 *                       │ ◀── needed ── paused ◀── idle ──┘ (the window is committed)
 *                       └── refused a new window ──▶ what was printed is kept, ended
 */
import {
  ActivityCancellationType,
  CancellationScope,
  condition,
  proxyActivities,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { OpenSandbox, SandboxActivities, SandboxPlan } from '../activities/contracts/sandbox';
import { denialOf, failureOf } from './failures';
import { siblingQueues, type AgentRunInput, type CarriedSandbox } from './messages';
import type { Budget, PaidStep } from './with-budget';

/** Beyond its window a reservation lives on for as long as ending the sandbox may take. */
const expiryMarginSeconds = 180;
/** A new window is asked for this long before the end of the last, or for a third of a short one. */
const leadSeconds = 30;
/** What one program may take of a run that does not say so. */
const executionSecondsDefault = 120;

/** How long a sandbox runs and stays paused while nobody uses it, unless the run says otherwise. */
const idleDefault = { pauseSeconds: 60, killSeconds: 86_400 };

export class SandboxSession {
  /** Told when it holds no money any more, since nobody used it. */
  onRest: () => void = () => undefined;
  private open: { sandbox: OpenSandbox; plan: SandboxPlan } | undefined;
  private paused: { sandbox: OpenSandbox; plan: SandboxPlan } | undefined;
  private readonly taskQueue: string;
  private readonly free: SandboxActivities;
  private readonly paid: SandboxActivities;

  constructor(
    private readonly run: AgentRunInput,
    private readonly budget: Budget,
    runsQueue: string,
    carried?: CarriedSandbox,
  ) {
    this.taskQueue = siblingQueues(runsQueue).sandbox;
    this.free = this.activities({ startToCloseTimeout: '5 minutes' });
    this.paid = proxyActivities<SandboxActivities>({
      taskQueue: this.taskQueue,
      startToCloseTimeout: '2 minutes',
      heartbeatTimeout: '15 seconds',
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: { maximumAttempts: 1 },
    });
    if (carried) this[carried.state] = { sandbox: carried.sandbox, plan: carried.plan };
  }

  private activities(options: ActivityOptions): SandboxActivities {
    return proxyActivities<SandboxActivities>({
      taskQueue: this.taskQueue,
      heartbeatTimeout: '15 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '10 seconds', maximumAttempts: 10 },
      ...options,
    });
  }

  /** The operation of the window that is open: it ends with the sandbox, not with the turn. */
  get openOperationIds(): string[] {
    return this.open ? [this.open.sandbox.operationId] : [];
  }

  /** What the next execution goes on with. */
  carry(): CarriedSandbox | undefined {
    if (this.open) return { state: 'open', ...this.open };
    return this.paused && { state: 'paused', ...this.paused };
  }

  /** Runs the tool calls of a step. @throws a denial when the sandbox was refused more time; what was printed is kept. */
  async execute(step: number, calls: { count: number; needSandbox: boolean }): Promise<void> {
    const { tenantId, runId, executionSeconds } = this.run;
    if (!calls.needSandbox) {
      await this.free.executeCode({ tenantId, runId, step });
      return;
    }
    if (executionSeconds === undefined) return this.executeInOneWindow(step);
    await this.ready(step);
    await this.whileExtending(step, (sandbox) =>
      this.programs(calls.count).executeCode({ tenantId, runId, sandbox, step, executionSeconds }),
    );
  }

  /** The same for calls that have a price, under a grant for it. */
  async executePaid(
    step: number,
    {
      operationId,
      pricesUsd,
      ...calls
    }: { operationId: string; pricesUsd: Record<string, string> } & {
      count: number;
      needSandbox: boolean;
    },
  ): Promise<void> {
    const { tenantId, runId, executionSeconds = executionSecondsDefault } = this.run;
    const request = { tenantId, runId, step, operationId, pricesUsd, executionSeconds };
    const once = { maximumAttempts: 1 };
    if (!calls.needSandbox) await this.programs(calls.count, once).runPaidTools(request);
    else {
      await this.whileExtending(step, (sandbox) =>
        this.programs(calls.count, once).runPaidTools({ ...request, sandbox }),
      );
    }
  }

  /** Makes sure that a sandbox runs, with time left in its window. */
  async ready(step: number): Promise<void> {
    if (this.open && this.remainingMs() < this.leadMs()) {
      try {
        await this.extend(step);
      } catch (error) {
        await this.end();
        if (denialOf(error)) throw error;
      }
    }
    if (this.paused) await this.resume(step);
    this.open ??= await this.create(step);
  }

  /** Ends the sandbox, if there is one, and writes what it cost. Not cancellable. */
  async end(): Promise<void> {
    const { tenantId, runId } = this.run;
    await CancellationScope.nonCancellable(async () => {
      if (this.open) {
        const { sandbox, plan } = this.open;
        const { operationId } = sandbox;
        await this.free.terminateSandbox({ tenantId, runId, operationId, plan, sandbox });
      }
      if (this.paused) {
        const { sandboxId } = this.paused.sandbox;
        await this.free.discardSandbox({ tenantId, runId, sandboxId });
      }
    });
    this.open = undefined;
    this.paused = undefined;
  }

  /** Pauses the sandbox, if it runs, and writes what its window cost. Not cancellable. */
  async pause(): Promise<void> {
    const { open } = this;
    if (!open) return;
    const { tenantId, runId } = this.run;
    const { paused, costUsd } = await CancellationScope.nonCancellable(() =>
      this.free.pauseSandbox({ tenantId, runId, ...open }),
    );
    if (costUsd !== undefined) this.budget.onStep({ operationId: open.sandbox.operationId, costUsd });
    this.open = undefined;
    if (paused) this.paused = open;
  }

  /** Waits until a condition holds, at most so long. A sandbox that nobody uses meanwhile is paused, and later ended. */
  async idle(isOver: () => boolean, seconds = Infinity): Promise<void> {
    const untilMs = Date.now() + seconds * 1_000;
    const { pauseSeconds, killSeconds } = this.run.sandboxIdle ?? idleDefault;
    if (this.open) {
      // It is paused before its window ends, or the provider would end it.
      const pauseMs = Math.max(0, Math.min(pauseSeconds * 1_000, this.remainingMs() - this.leadMs() / 2));
      if (await condition(isOver, Math.max(1, Math.min(pauseMs, untilMs - Date.now())))) return;
      if (Date.now() < untilMs) {
        await this.pause();
        this.onRest();
      }
    }
    if (this.paused) {
      if (await condition(isOver, Math.max(1, Math.min(killSeconds * 1_000, untilMs - Date.now())))) return;
      if (Date.now() < untilMs) await this.end();
    }
    if (seconds === Infinity) await condition(isOver);
    else if (untilMs > Date.now()) await condition(isOver, untilMs - Date.now());
  }

  /** As runs did that do not extend: their recorded histories have nothing beside the program. */
  private async executeInOneWindow(step: number): Promise<void> {
    const { tenantId, runId } = this.run;
    this.open ??= await this.create(step);
    const { sandbox } = this.open;
    const { sandboxGone } = await this.free.executeCode({ tenantId, runId, sandbox, step });
    if (sandboxGone) await this.end();
  }

  /** Runs a step's programs in the open sandbox, and extends it for as long as they take. */
  private async whileExtending(
    step: number,
    work: (sandbox: OpenSandbox) => Promise<{ sandboxGone: boolean }>,
  ): Promise<void> {
    const { open } = this;
    if (!open) return;
    let finished: { sandboxGone: boolean } | undefined;
    let isOver = false;
    const programs = new CancellationScope();
    const running = programs.run(async () => (finished = await work(open.sandbox))).finally(() => (isOver = true));
    running.catch(() => undefined);
    try {
      while (!isOver) {
        const untilExtended = Math.max(1, this.remainingMs() - this.leadMs());
        if (await condition(() => isOver, untilExtended)) break;
        await this.extend(step);
      }
    } catch (error) {
      await this.stopPrograms(programs, running);
      // A sandbox that is gone is replaced when it is needed; a run that waits for money does so at its next step.
      const goesOn = denialOf(error) ? this.run.onDenied === 'wait' : failureOf(error)?.code === 'sandbox_failed';
      if (!goesOn) throw error;
      return;
    }
    await running;
    if (finished?.sandboxGone) await this.end();
  }

  /** Programs that are told to stop keep what they printed so far; then the sandbox is ended. */
  private async stopPrograms(programs: CancellationScope, running: Promise<unknown>): Promise<void> {
    programs.cancel();
    await CancellationScope.nonCancellable(() => running.catch(() => undefined));
    await this.end();
  }

  private programs(count: number, retry?: ActivityOptions['retry']): SandboxActivities {
    const { executionSeconds = executionSecondsDefault } = this.run;
    return this.activities({
      startToCloseTimeout: (executionSeconds * Math.max(1, count) + 120) * 1_000,
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      ...(retry ? { retry } : {}),
    });
  }

  private leadMs = (): number => Math.min(leadSeconds, this.run.sandboxWindowSeconds / 3) * 1_000;

  /** What is left of the window. */
  private remainingMs(): number {
    if (!this.open) return 0;
    const { windowStartedAtMs, startedAtMs, windowSeconds } = this.open.sandbox;
    return (windowStartedAtMs ?? startedAtMs) + windowSeconds * 1_000 - Date.now();
  }

  private paidStep(kind: string, step: number, plan: SandboxPlan): PaidStep {
    return {
      resource: 'e2b',
      kind,
      amountUsd: plan.amountUsd,
      priceVersion: plan.priceVersion,
      ttlSeconds: this.run.sandboxWindowSeconds + expiryMarginSeconds,
      step,
    };
  }

  private prepare(): Promise<SandboxPlan> {
    const { sandboxTier: tier, sandboxWindowSeconds: windowSeconds } = this.run;
    return this.free.prepareSandbox({ tier, windowSeconds });
  }

  private async create(step: number): Promise<{ sandbox: OpenSandbox; plan: SandboxPlan }> {
    const { tenantId, runId } = this.run;
    const plan = await this.prepare();
    const sandbox = await this.budget.withBudget(
      this.paidStep('sandbox.create', step, plan),
      ({ operationId }) => this.paid.createSandbox({ tenantId, runId, operationId, plan }),
      // Whether a sandbox runs that nobody was told of is found out, and it is ended, before its cost is settled.
      { beforeCommit: (operationId) => this.free.terminateSandbox({ tenantId, runId, operationId, plan }) },
    );
    return { sandbox, plan };
  }

  /** Begins a new window. A run that waits for money does not wait here: a program runs meanwhile, and is paid for. */
  private async extend(step: number): Promise<void> {
    const { open } = this;
    if (!open) return;
    const { tenantId, runId } = this.run;
    const plan = await this.prepare();
    const sandbox = await this.budget.withBudget(
      { ...this.paidStep('sandbox.extend', step, plan), onDenied: 'fail' },
      ({ operationId }) => this.paid.extendSandbox({ tenantId, runId, operationId, plan, sandbox: open.sandbox }),
    );
    this.open = { sandbox, plan };
  }

  /** Brings the paused sandbox back; one that is gone is forgotten, and a new one made. */
  private async resume(step: number): Promise<void> {
    const { paused } = this;
    if (!paused) return;
    const { tenantId, runId } = this.run;
    const plan = await this.prepare();
    try {
      const sandbox = await this.budget.withBudget(this.paidStep('sandbox.resume', step, plan), ({ operationId }) =>
        this.paid.resumeSandbox({ tenantId, runId, operationId, plan, sandbox: paused.sandbox }),
      );
      this.open = { sandbox, plan };
    } catch (error) {
      if (failureOf(error)?.code !== 'sandbox_failed') throw error;
    }
    this.paused = undefined;
  }
}
