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
  ActivityFailure,
  CancellationScope,
  condition,
  proxyActivities,
  type ActivityOptions,
} from '@temporalio/workflow';
import { sandboxDefaults } from '../../contracts/sandbox';
import type { Executed, OpenSandbox, SandboxActivities, SandboxPlan } from '../../contracts/sandbox';
import { denialOf, failureOf } from '../failures';
import { siblingQueues, type AgentRunInput, type CarriedSandbox } from '../../contracts/messages';
import type { PaidStep } from '../budget/paid-step';
import type { Budget } from '../budget/with-budget';

/** Beyond its window a reservation lives on for as long as ending the sandbox may take. */
const expiryMarginSeconds = 180;
/** A new window is asked for this long before the end of the last, or for a third of a short one. */
const leadSeconds = 30;
/** What its activities need beyond their work: Postgres may be away when they are to write what it cost. */
const writingSecondsMax = 300;

/** A provider that is ill fails no workflow. False when what was asked of it is left undone. Not cancellable. */
async function unlessIll(ask: () => Promise<void>): Promise<boolean> {
  try {
    await CancellationScope.nonCancellable(ask);
    return true;
  } catch (error) {
    // Also what a worker of the version before says after its ten tries.
    if (error instanceof ActivityFailure) return false;
    throw error;
  }
}

/** The provider did not let a sandbox go on, or does not say whether it did. */
const cannotLiveOn = (error: unknown): boolean =>
  ['sandbox_failed', 'outcome_unknown'].includes(failureOf(error)?.code ?? '');

export class SandboxSession {
  /** Told when it holds no money any more, since nobody used it. */
  onRest: () => void = () => undefined;
  private open: { sandbox: OpenSandbox; plan: SandboxPlan } | undefined;
  private paused: { sandbox: OpenSandbox; plan: SandboxPlan } | undefined;
  private readonly taskQueue: string;
  private readonly free: SandboxActivities;
  /** They give up on a provider by themselves; anything else that fails them passes. */
  private readonly ending: SandboxActivities;
  /** Windows whose sandbox the provider neither ended nor paused: settled by the sweeper, or when they run out. */
  private left: { operationId: string; untilMs: number }[] = [];
  private readonly paid: SandboxActivities;

  constructor(
    private readonly run: AgentRunInput,
    private readonly budget: Budget,
    runsQueue: string,
    carried?: CarriedSandbox,
  ) {
    this.taskQueue = siblingQueues(runsQueue).sandbox;
    budget.keepsOpen = () => this.openOperationIds;
    this.free = this.activities({ startToCloseTimeout: (300 + writingSecondsMax) * 1_000 });
    this.ending = this.activities({
      startToCloseTimeout: (120 + writingSecondsMax) * 1_000,
      retry: { initialInterval: '500 milliseconds', maximumInterval: '10 seconds' },
    });
    this.paid = proxyActivities<SandboxActivities>({
      taskQueue: this.taskQueue,
      startToCloseTimeout: (120 + writingSecondsMax) * 1_000,
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

  /** The operations of windows that go on: they end with their sandboxes, not with the turn. */
  get openOperationIds(): string[] {
    this.left = this.left.filter(({ untilMs }) => untilMs > Date.now());
    const open = this.open ? [this.open.sandbox.operationId] : [];
    return [...this.left.map(({ operationId }) => operationId), ...open];
  }

  /** What the next execution goes on with. */
  carry(): CarriedSandbox | undefined {
    if (this.open) return { state: 'open', ...this.open };
    return this.paused && { state: 'paused', ...this.paused };
  }

  /** Runs the tool calls of a step. @throws a denial when the sandbox was refused more time; what was printed is kept. */
  async execute(step: number, calls: { count: number; needSandbox: boolean }): Promise<void> {
    const { tenantId, runId, executionSeconds } = this.run;
    const work = this.run.hasOwnTools ? this.programs(calls.count) : this.free;
    const most = executionSeconds === undefined ? {} : { executionSeconds };
    if (!calls.needSandbox) return void (await work.executeCode({ tenantId, runId, step, ...most }));
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
    const { tenantId, runId, executionSeconds = sandboxDefaults.executionSeconds } = this.run;
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

  /**
   * Ends the sandbox, if there is one, and writes what it cost. One that the provider does not end is left to its window and to
   * the sweeper. Not cancellable.
   */
  async end(): Promise<void> {
    const { tenantId, runId } = this.run;
    const { open, paused } = this;
    if (open) {
      const { sandbox, plan } = open;
      const { operationId } = sandbox;
      const isEnded = await unlessIll(() =>
        this.ending.terminateSandbox({ tenantId, runId, operationId, plan, sandbox }),
      );
      if (!isEnded) this.leave(operationId);
    }
    this.open = undefined;
    if (paused) {
      const { sandboxId } = paused.sandbox;
      await unlessIll(() => this.ending.discardSandbox({ tenantId, runId, sandboxId }));
    }
    this.paused = undefined;
  }

  /**
   * Pauses the sandbox, if it runs, and writes what its window cost. One that the provider does not pause stays open until its
   * window ends it. Not cancellable.
   */
  async pause(): Promise<void> {
    const { open } = this;
    if (!open) return;
    const { tenantId, runId } = this.run;
    await unlessIll(async () => {
      const { paused, costUsd } = await this.ending.pauseSandbox({ tenantId, runId, ...open });
      if (costUsd !== undefined) this.budget.onStep({ operationId: open.sandbox.operationId, costUsd });
      this.open = undefined;
      if (paused) this.paused = open;
    });
  }

  private leave(operationId: string): void {
    const mostSeconds = this.run.sandboxWindowSeconds + expiryMarginSeconds;
    this.left.push({ operationId, untilMs: Date.now() + mostSeconds * 1_000 });
  }

  /** Waits until a condition holds, at most so long. A sandbox that nobody uses meanwhile is paused, and later ended. */
  async idle(isOver: () => boolean, seconds = Infinity): Promise<void> {
    const untilMs = Date.now() + seconds * 1_000;
    const { pauseSeconds, killSeconds } = this.run.sandboxIdle ?? sandboxDefaults.idle;
    if (this.open) {
      // It is paused before its window ends, or the provider would end it.
      const pauseMs = Math.max(0, Math.min(pauseSeconds * 1_000, this.remainingMs() - this.leadMs() / 2));
      if (await condition(isOver, Math.max(1, Math.min(pauseMs, untilMs - Date.now())))) return;
      if (Date.now() < untilMs) {
        await this.pause();
        if (!this.open) this.onRest();
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
    const executed = await this.free.executeCode({ tenantId, runId, sandbox, step });
    this.saw(executed);
    if (executed.sandboxGone) await this.end();
  }

  /** Runs a step's programs in the open sandbox, and extends it for as long as they take. */
  private async whileExtending(step: number, work: (sandbox: OpenSandbox) => Promise<Executed>): Promise<void> {
    const { open } = this;
    if (!open) return;
    let finished: Executed | undefined;
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
      // A sandbox that cannot live on is replaced when it is needed; a run that waits for money does so at its next step.
      const goesOn = denialOf(error) ? this.run.onDenied === 'wait' : cannotLiveOn(error);
      if (!goesOn) throw error;
      return;
    }
    await running;
    if (finished) this.saw(finished);
    if (finished?.sandboxGone) await this.end();
  }

  /** Keeps when the open sandbox was last seen. */
  private saw({ lastSeenAtMs }: Executed): void {
    if (this.open && lastSeenAtMs !== undefined)
      this.open = { ...this.open, sandbox: { ...this.open.sandbox, lastSeenAtMs } };
  }

  /** Programs that are told to stop keep what they printed so far; then the sandbox is ended. */
  private async stopPrograms(programs: CancellationScope, running: Promise<unknown>): Promise<void> {
    programs.cancel();
    await CancellationScope.nonCancellable(() => running.catch(() => undefined));
    await this.end();
  }

  private programs(count: number, retry?: ActivityOptions['retry']): SandboxActivities {
    const { executionSeconds = sandboxDefaults.executionSeconds } = this.run;
    return this.activities({
      startToCloseTimeout: (executionSeconds * Math.max(1, count) + 120 + writingSecondsMax) * 1_000,
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
    let plan = await this.prepare();
    const sandbox = await this.budget.withBudget(
      this.paidStep('sandbox.create', step, plan),
      ({ operationId }) => this.paid.createSandbox({ tenantId, runId, operationId, plan }),
      // Whether a sandbox runs that nobody was told of is found out, and it is ended, before its cost is settled.
      {
        beforeCommit: async (operationId) => {
          await unlessIll(() => this.ending.terminateSandbox({ tenantId, runId, operationId, plan }));
        },
        planAgain: async () => this.paidStep('sandbox.create', step, (plan = await this.prepare())),
      },
    );
    return { sandbox, plan };
  }

  /** Begins a new window. A run that waits for money does not wait here: a program runs meanwhile, and is paid for. */
  private async extend(step: number): Promise<void> {
    const { open } = this;
    if (!open) return;
    const { tenantId, runId } = this.run;
    let plan = await this.prepare();
    const asked = (): PaidStep => ({ ...this.paidStep('sandbox.extend', step, plan), onDenied: 'fail' });
    const sandbox = await this.budget.withBudget(
      asked(),
      ({ operationId }) => this.paid.extendSandbox({ tenantId, runId, operationId, plan, sandbox: open.sandbox }),
      {
        planAgain: async () => {
          plan = await this.prepare();
          return asked();
        },
      },
    );
    this.open = { sandbox, plan };
  }

  /** Brings the paused sandbox back; one that is gone is forgotten, and a new one made. */
  private async resume(step: number): Promise<void> {
    const { paused } = this;
    if (!paused) return;
    const { tenantId, runId } = this.run;
    let plan = await this.prepare();
    try {
      const sandbox = await this.budget.withBudget(
        this.paidStep('sandbox.resume', step, plan),
        ({ operationId }) => this.paid.resumeSandbox({ tenantId, runId, operationId, plan, sandbox: paused.sandbox }),
        { planAgain: async () => this.paidStep('sandbox.resume', step, (plan = await this.prepare())) },
      );
      this.open = { sandbox, plan };
    } catch (error) {
      if (!cannotLiveOn(error)) throw error;
    }
    this.paused = undefined;
  }
}
