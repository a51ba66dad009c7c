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
import type { BudgetCommand } from '../../core/budget/commands';
import { processClock, settledWithin, sleepBy, type Clock } from './clock';
import { isBackPressure, isUnanswered, type AuthoritySignals } from './signals';

export interface CoalescerOptions {
  signals: AuthoritySignals;
  /** How long a command that can wait does so for company. */
  lazyMs?: number;
  /** Signals of this process on their way at once, of all tenants together. */
  signalsAtOnce?: number;
  clock?: Clock;
  /** From 0 to 1: those who were turned away do not all come back at once. */
  random?: () => number;
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
/** How often a signal is sent that the server turns away for having too much to do, or does not answer, and the longest pause between. */
const attemptsMax = 8;
const pauseMsMax = 2_000;
/** How long a signal waits for company: a share of what the last one took to be answered, and no longer than this. */
const companyShare = 0.25;
const companyMsMax = 20;
/** Of more tenants than these none is kept whose commands have all gone. */
const lanesKeptMax = 10_000;

interface QueuedCommand {
  command: BudgetCommand;
  bytes: number;
  /** Settles when the authority has answered. */
  answered: Promise<unknown> | undefined;
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Lane {
  urgent: QueuedCommand[];
  lazy: QueuedCommand[];
  running: Promise<void> | undefined;
  /** Cancels the call by which commands that can wait go by themselves; absent when none is due. */
  cancelLazy: (() => void) | undefined;
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
  private readonly signals: AuthoritySignals;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly lazyMs: number;
  private readonly turns: Slots;

  constructor(options: CoalescerOptions) {
    const { signals, clock = processClock, random = Math.random, lazyMs = 50, signalsAtOnce = 16 } = options;
    this.signals = signals;
    this.clock = clock;
    this.random = random;
    this.lazyMs = lazyMs;
    this.turns = new Slots(signalsAtOnce);
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
    this.laneOf(tenantId).heldUntilMs = this.clock.nowMs() + continuingMs;
  }

  /** Of how many tenants it keeps something in mind. */
  get tenants(): number {
    return this.lanes.size;
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
      lane[urgency].push({ command, bytes: bytesOf(command), answered, resolve, reject });
      if (lane.urgent.length >= lane.company) lane.enough?.();
      if (urgency === 'urgent') this.run(tenantId, lane);
      else lane.cancelLazy ??= this.clock.after(this.lazyMs, () => this.runLazy(tenantId, lane));
    });
  }

  private laneOf(tenantId: string): Lane {
    let lane = this.lanes.get(tenantId);
    if (!lane) {
      lane = {
        urgent: [],
        lazy: [],
        running: undefined,
        cancelLazy: undefined,
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
    lane.running ??= this.sendNext(tenantId, lane).finally(() => {
      lane.running = undefined;
      // What may still wait for company does: its time has not come.
      if (lane.urgent.length > 0 || (lane.lazy.length > 0 && !lane.cancelLazy)) this.run(tenantId, lane);
      else if (this.lanes.size > lanesKeptMax && lane.lazy.length === 0) this.lanes.delete(tenantId);
    });
  }

  /** Commands that can wait have waited long enough: they go now, or after the signal that is under way. */
  private runLazy(tenantId: string, lane: Lane): void {
    lane.cancelLazy = undefined;
    this.run(tenantId, lane);
  }

  /** Sends one signal, and resolves when the next may go. */
  private async sendNext(tenantId: string, lane: Lane): Promise<void> {
    await this.waitForCompany(lane);
    while (lane.heldUntilMs > this.clock.nowMs()) await sleepBy(this.clock, lane.heldUntilMs - this.clock.nowMs());
    await this.turns.acquire();
    lane.cancelLazy?.();
    lane.cancelLazy = undefined;
    const batch = take(lane);
    const sentAtMs = this.clock.nowMs();
    try {
      const commands = batch.map((waiting) => waiting.command);
      await this.signal(tenantId, commands).finally(() => this.turns.release());
      for (const waiting of batch) waiting.resolve();
      await this.allAnswered(lane, batch, sentAtMs);
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
    lane.signals += 1;
    if (lane.signals % signalsPerLook === 0) await this.holdBackIfFull(tenantId);
  }

  /** Waits for those who were answered together, as long as that may pay. */
  private async waitForCompany(lane: Lane): Promise<void> {
    const waitMs = Math.min(companyMsMax, lane.answerMs * companyShare) - (this.clock.nowMs() - lane.answeredAtMs);
    if (waitMs <= 0 || lane.urgent.length >= lane.company) return;
    await new Promise<void>((resolve) => {
      const cancel = this.clock.after(waitMs, resolve);
      lane.enough = () => {
        cancel();
        resolve();
      };
    });
    lane.enough = undefined;
  }

  private async allAnswered(lane: Lane, batch: readonly QueuedCommand[], sentAtMs: number): Promise<void> {
    const answers = batch.flatMap(({ answered }) => (answered ? [answered.catch(() => undefined)] : []));
    if (answers.length === 0) return;
    await settledWithin(this.clock, answeredMsMax, Promise.all(answers));
    lane.company = answers.length;
    lane.answeredAtMs = this.clock.nowMs();
    lane.answerMs = lane.answeredAtMs - sentAtMs;
  }

  /** Has its turn when it begins and when it ends. */
  private async signal(tenantId: string, commands: BudgetCommand[]): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.signals.signal(tenantId, commands);
        return;
      } catch (error) {
        if (attempt >= attemptsMax || !(isBackPressure(error) || isUnanswered(error))) throw error;
        // Others need not wait for this tenant's authority.
        this.turns.release();
        await sleepBy(this.clock, Math.min(50 * 2 ** attempt, pauseMsMax) * (0.5 + this.random() / 2));
        await this.turns.acquire();
      }
    }
  }

  /** Waits, a few seconds at most, for an authority whose history is nearly full to continue as new. */
  private async holdBackIfFull(tenantId: string): Promise<void> {
    for (let look = 0; look < 5; look += 1) {
      try {
        const { events, bytes } = await this.signals.historyOf(tenantId);
        if (events < historyEventsMax && bytes < historyBytesMax) return;
      } catch {
        return;
      }
      await sleepBy(this.clock, 1_000);
    }
  }
}

/** So many at once, and the others in the order in which they came. */
class Slots {
  private readonly waiting: (() => void)[] = [];

  constructor(private free: number) {}

  /** Resolves when it is one's turn. Whoever had it calls `next`. */
  async acquire(): Promise<void> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  release(): void {
    const first = this.waiting.shift();
    if (first) first();
    else this.free += 1;
  }
}

/** What a command takes in its signal, with the comma or bracket beside it. */
const bytesOf = (command: BudgetCommand): number => Buffer.byteLength(JSON.stringify(command)) + 1;

/** The next signal: what is urgent first, then company, within the limits of a signal. */
function take(lane: Lane): QueuedCommand[] {
  const batch: QueuedCommand[] = [];
  let bytes = 1;
  for (const queue of [lane.urgent, lane.lazy]) {
    while (queue.length > 0 && batch.length < commandsMax) {
      const next = queue[0] as QueuedCommand;
      if (batch.length > 0 && bytes + next.bytes > bytesMax) break;
      bytes += next.bytes;
      batch.push(next);
      queue.shift();
    }
  }
  return batch;
}
