/**
 * Brings budget commands to their tenant's authority, together. Per tenant one signal is under way at a time, until its
 * reserves were answered; commands that arrive meanwhile travel in the next. The load on an authority then grows with
 * the number of processes, not with the number of calls.
 *
 * Callers that were answered together tend to come back together: a signal waits a little for as many as the last one
 * carried, or the first to come back would travel alone and all others wait for its decision.
 *
 * A command that can wait (a commit whose outcome Postgres already holds) rides with the next one that cannot, or goes
 * by itself soon after: most steps then cost their authority one signal instead of two.
 *
 * However many tenants there are, a process has only so many signals on their way to Temporal at once. What waits for its
 * turn gathers company, and a server that has too much to do is not given more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, WorkflowSignalWithStartOptions } from '@temporalio/client';
import { isGrpcServiceError, WorkflowNotFoundError } from '@temporalio/client';
import { WorkflowIdReusePolicy } from '@temporalio/common';
import type { BudgetCommand } from '../../core/budget/commands';
import {
  budgetCommandsSignal,
  budgetWorkflowId,
  tenantIdAttribute,
  type TenantBudgetInput,
} from '../../contracts/messages';

export interface CoalescerOptions {
  client: Client;
  /** The queue of the authorities. */
  taskQueue: string;
  /** How long a command that can wait does so for company. */
  lazyMs?: number;
  /** Signals of this process on their way at once, of all tenants together. */
  signalsAtOnce?: number;
}

/** Limits of one signal. The server fails a workflow task above 100 buffered events or 2 MiB of them. */
const commandsMax = 200;
const bytesMax = 32 * 1024;
/** How often an authority's size is looked at, and the size from which on its callers hold back. */
const signalsPerLook = 100;
const historyEventsMax = 8_000;
/** An authority takes about this long to continue as new. */
const continuingMs = 100;
const historyBytesMax = 10 * 1024 * 1024;
/** A signal whose reserves are not answered holds the next one back no longer than this. */
const answeredMsMax = 1_000;
/** How long a signal waits for company: a share of what the last one took to be answered, and no longer than this. */
const companyShare = 0.25;
const companyMsMax = 20;

interface Waiting {
  command: BudgetCommand;
  bytes: number;
  /** Settles when the authority has answered. */
  answered: Promise<unknown> | undefined;
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Lane {
  urgent: Waiting[];
  lazy: Waiting[];
  running: Promise<void> | undefined;
  lazyTimer: NodeJS.Timeout | undefined;
  signals: number;
  /** Reserves of the last signal, how long they took to be answered, and when that was. */
  company: number;
  answerMs: number;
  answeredAtMs: number;
  /** Ends the wait for company. */
  enough: (() => void) | undefined;
  heldUntilMs: number;
}

export class Coalescer {
  private readonly lanes = new Map<string, Lane>();
  /** Tenants whose authority was running when last signalled. */
  private readonly started = new Set<string>();
  private readonly lazyMs: number;
  private readonly turns: Turns;

  constructor(private readonly options: CoalescerOptions) {
    this.lazyMs = options.lazyMs ?? 50;
    this.turns = new Turns(options.signalsAtOnce ?? 16);
  }

  /**
   * Resolves once Temporal has accepted the command. Rejects when it did not; sending it again is harmless. `answered`
   * settles when the caller has its answer.
   */
  send(tenantId: string, command: BudgetCommand, answered?: Promise<unknown>): Promise<void> {
    return this.enqueue(tenantId, 'urgent', command, answered);
  }

  /** The same for a command that may wait a little for company. */
  sendLazily(tenantId: string, command: BudgetCommand): Promise<void> {
    return this.enqueue(tenantId, 'lazy', command);
  }

  /** Has the authority look at what Postgres holds, soon: with the next command, or after a while. */
  nudge(tenantId: string): Promise<void> {
    if (this.laneOf(tenantId).lazy.length > 0) return Promise.resolve();
    return this.enqueue(tenantId, 'lazy', { type: 'reload' });
  }

  /** Keeps this process's signals to an authority back while it continues as new. */
  holdBack(tenantId: string): void {
    this.laneOf(tenantId).heldUntilMs = performance.now() + continuingMs;
  }

  /** How many commands wait to be taken by an authority. */
  get size(): number {
    let size = 0;
    for (const { urgent, lazy } of this.lanes.values()) size += urgent.length + lazy.length;
    return size;
  }

  /** Sends what waits, and resolves when nothing does. */
  async drain(): Promise<void> {
    for (;;) {
      for (const [tenantId, lane] of this.lanes) if (lane.lazy.length > 0) this.run(tenantId, lane);
      const running = [...this.lanes.values()].flatMap((lane) => lane.running ?? []);
      if (running.length === 0) return;
      await Promise.all(running);
    }
  }

  private enqueue(
    tenantId: string,
    urgency: 'urgent' | 'lazy',
    command: BudgetCommand,
    answered?: Promise<unknown>,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const lane = this.laneOf(tenantId);
      lane[urgency].push({ command, bytes: Buffer.byteLength(JSON.stringify(command)), answered, resolve, reject });
      if (lane.urgent.length >= lane.company) lane.enough?.();
      if (urgency === 'urgent') this.run(tenantId, lane);
      else lane.lazyTimer ??= setTimeout(() => this.run(tenantId, lane), this.lazyMs);
    });
  }

  private laneOf(tenantId: string): Lane {
    let lane = this.lanes.get(tenantId);
    if (!lane) {
      lane = {
        urgent: [],
        lazy: [],
        running: undefined,
        lazyTimer: undefined,
        signals: 0,
        company: 0,
        answerMs: 0,
        answeredAtMs: 0,
        enough: undefined,
        heldUntilMs: 0,
      };
      this.lanes.set(tenantId, lane);
    }
    return lane;
  }

  private run(tenantId: string, lane: Lane): void {
    lane.running ??= this.sendAll(tenantId, lane).finally(() => {
      lane.running = undefined;
      if (lane.urgent.length + lane.lazy.length > 0) this.run(tenantId, lane);
      else if (lane.signals === 0) this.lanes.delete(tenantId);
    });
  }

  private async sendAll(tenantId: string, lane: Lane): Promise<void> {
    do {
      await this.waitForCompany(lane);
      while (lane.heldUntilMs > performance.now()) await sleep(lane.heldUntilMs - performance.now());
      await this.turns.mine();
      clearTimeout(lane.lazyTimer);
      lane.lazyTimer = undefined;
      const batch = take(lane);
      const sentAtMs = performance.now();
      try {
        const commands = batch.map((waiting) => waiting.command);
        await this.signal(tenantId, commands).finally(() => this.turns.next());
        for (const waiting of batch) waiting.resolve();
        await this.allAnswered(lane, batch, sentAtMs);
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
      lane.signals += 1;
      if (lane.signals % signalsPerLook === 0) await this.holdBackIfFull(tenantId);
    } while (lane.urgent.length > 0);
  }

  /** Waits for those who were answered together, as long as that may pay. */
  private async waitForCompany(lane: Lane): Promise<void> {
    const waitMs = Math.min(companyMsMax, lane.answerMs * companyShare) - (performance.now() - lane.answeredAtMs);
    if (waitMs <= 0 || lane.urgent.length >= lane.company) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      lane.enough = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    lane.enough = undefined;
  }

  private async allAnswered(lane: Lane, batch: readonly Waiting[], sentAtMs: number): Promise<void> {
    const answers = batch.flatMap(({ answered }) => (answered ? [answered.catch(() => undefined)] : []));
    if (answers.length === 0) return;
    const givenUp = new AbortController();
    await Promise.race([
      Promise.all(answers),
      sleep(answeredMsMax, undefined, { signal: givenUp.signal }).catch(() => undefined),
    ]);
    givenUp.abort();
    lane.company = answers.length;
    lane.answeredAtMs = performance.now();
    lane.answerMs = lane.answeredAtMs - sentAtMs;
  }

  /** A plain signal costs the server less, but an authority that is idle has completed. False when it has. */
  private async signalRunning(tenantId: string, commands: BudgetCommand[]): Promise<boolean> {
    if (!this.started.has(tenantId)) return false;
    try {
      await this.options.client.workflow.getHandle(budgetWorkflowId(tenantId)).signal(budgetCommandsSignal, commands);
      return true;
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      this.started.delete(tenantId);
      return false;
    }
  }

  /** Has its turn when it begins and when it ends. */
  private async signal(tenantId: string, commands: BudgetCommand[]): Promise<void> {
    const { client, taskQueue } = this.options;
    const options: WorkflowSignalWithStartOptions<[BudgetCommand[]]> & { args: [TenantBudgetInput] } = {
      workflowId: budgetWorkflowId(tenantId),
      taskQueue,
      args: [{ tenantId }],
      signal: budgetCommandsSignal,
      signalArgs: [commands],
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      typedSearchAttributes: [{ key: tenantIdAttribute, value: tenantId }],
      staticSummary: 'Budget authority: decides every reservation of its tenant, in one order',
      staticDetails: 'What the tenant has spent, reserved and left: under Current Details, once they are refreshed.',
    };
    for (let attempt = 1; ; attempt += 1) {
      try {
        if (!(await this.signalRunning(tenantId, commands))) {
          await client.workflow.signalWithStart('tenantBudget', options);
          this.started.add(tenantId);
        }
        return;
      } catch (error) {
        if (attempt >= 8 || !isBackPressure(error)) throw error;
        // Others need not wait for this tenant's authority.
        this.turns.next();
        await sleep(Math.min(50 * 2 ** attempt, 2_000) * (0.5 + Math.random() / 2));
        await this.turns.mine();
      }
    }
  }

  /** Waits, a few seconds at most, for an authority whose history is nearly full to continue as new. */
  private async holdBackIfFull(tenantId: string): Promise<void> {
    for (let look = 0; look < 5; look += 1) {
      try {
        const { historyLength, historySize = 0 } = await this.options.client.workflow
          .getHandle(budgetWorkflowId(tenantId))
          .describe();
        if (historyLength < historyEventsMax && historySize < historyBytesMax) return;
      } catch {
        return;
      }
      await sleep(1_000);
    }
  }
}

/** So many at once, and the others in the order in which they came. */
class Turns {
  private readonly waiting: (() => void)[] = [];

  constructor(private free: number) {}

  /** Resolves when it is one's turn. Whoever had it calls `next`. */
  async mine(): Promise<void> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  next(): void {
    const first = this.waiting.shift();
    if (first) first();
    else this.free += 1;
  }
}

/** The next signal: what is urgent first, then company, within the limits of a signal. */
function take(lane: Lane): Waiting[] {
  const batch: Waiting[] = [];
  let bytes = 0;
  for (const queue of [lane.urgent, lane.lazy]) {
    while (queue.length > 0 && batch.length < commandsMax) {
      const next = queue[0] as Waiting;
      if (batch.length > 0 && bytes + next.bytes > bytesMax) break;
      bytes += next.bytes;
      batch.push(next);
      queue.shift();
    }
  }
  return batch;
}

/**
 * Whether the server turned a signal away because there is too much to do. A full history (50 MB, or 10,000 signals)
 * comes as INVALID_ARGUMENT, although trying again is right: the authority continues as new.
 */
function isBackPressure(error: unknown): boolean {
  const cause = error instanceof Error && isGrpcServiceError(error.cause) ? error.cause : error;
  if (!isGrpcServiceError(cause)) return false;
  const resourceExhausted = 8;
  const invalidArgument = 3;
  const code = Number(cause.code);
  if (code === resourceExhausted) return true;
  return code === invalidArgument && /exceed|limit|too many|terminated/i.test(cause.details);
}
