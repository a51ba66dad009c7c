/**
 * Decisions that the process which asks takes itself, under its tenant's mandate (docs/decisions/0046): the transaction of the
 * authority, without its way. Per tenant one is under way at a time; what is asked meanwhile goes into the next. What is not decided
 * here goes by signal, as if nothing had been tried: where there is no mandate, where Postgres refuses or is late, and what waits for
 * money from the platform.
 */
import type { BudgetCommand, ReserveAnswer } from '../../core/budget/commands';
import type { RecordedBatch } from '../../store/budget-batch';
import { isLockedOut, isRefused } from '../../store/pool';
import { countDecision, countSignalled } from '../../telemetry/metrics';
import type { Logger } from '../../telemetry/log';
import { logDenials, measured } from '../noted';
import { processClock, type Clock } from './clock';
import type { Pace } from './promptness';

export interface DirectDecisionsOptions {
  /** Decides some commands and records it; `closed` without a mandate. */
  decide: (tenantId: string, commands: readonly BudgetCommand[]) => Promise<RecordedBatch | 'closed'>;
  log: Logger;
  /** Has the authority do what a decision left to do. */
  leave: (tenantId: string, when: 'now' | 'soon') => void;
  /** Whether this process is prompt enough to decide. */
  pace: () => Pace;
  clock?: Clock;
}

/** Commands of one transaction, and of those that wait for the next. */
export const commandsMax = 200;
const waitingMax = 2_000;
/** What is written is folded after this long, where no decision comes before. */
const lookMs = 250;
/** Without a mandate it is looked for again after this long; where somebody stood in the way; after a failure later. */
const closedMs = 250;
const lockedMs = 200;
const failedMs = 5_000;

/** Who was locked out is decided here once more after this long: whoever stands still holds a tenant for a second. */
export const heldUpMs = 300;

/** Why something goes by signal; `locked` where somebody held the tenant up. */
type Signalled = Exclude<Pace, 'prompt'> | 'closed' | 'locked' | 'failed' | 'full';

/** How long a tenant's commands go by signal from now on, and why; `refused` where they need not. */
type Undecided = 'closed' | 'locked' | 'failed' | 'refused';
const signalMs = { closed: closedMs, locked: lockedMs, failed: failedMs };

/** `answer` is absent for a command that is no reserve. */
type Decided = { answer?: ReserveAnswer } | undefined;

interface Waiting {
  command: BudgetCommand;
  resolve: (decided: Decided) => void;
}

interface Lane {
  waiting: Waiting[];
  isDeciding: boolean;
  /** Until then everything goes by signal, and why. */
  signals: { untilMs: number; why: Signalled };
  /** Cancels a look at what Postgres holds; absent when none is due. */
  cancelLook: (() => void) | undefined;
  /** The same of the moment at which it is forgotten. */
  cancelForgetting: (() => void) | undefined;
}

export class DirectDecisions {
  private readonly lanes = new Map<string, Lane>();
  private readonly clock: Clock;
  private isClosed = false;

  constructor(private readonly options: DirectDecisionsOptions) {
    this.clock = options.clock ?? processClock;
  }

  /**
   * Decides a command; undefined when it has to go by signal. Sending one that was decided again is harmless. One that `isOverdue`, whose
   * signal nobody has answered, is decided from afar too: others are held up a little, and it is not held up for good.
   */
  decide(tenantId: string, command: BudgetCommand, { isOverdue = false } = {}): Promise<Decided> {
    if (this.isClosed) return Promise.resolve(undefined);
    const why = this.whySignalled(tenantId, isOverdue);
    if (why !== undefined) {
      countSignalled(why);
      return Promise.resolve(undefined);
    }
    const lane = this.laneOf(tenantId);
    return new Promise((resolve) => {
      lane.waiting.push({ command, resolve });
      if (!lane.isDeciding) void this.decideAll(tenantId, lane);
    });
  }

  /**
   * Has what was written of the tenant's calls folded soon: by its next decision, or by one without commands. Where that is not for
   * this process to do, `orElse` has it done.
   */
  look(tenantId: string, orElse: () => void): void {
    if (this.isClosed || this.whySignalled(tenantId) !== undefined) orElse();
    else this.lookAfter(lookMs, tenantId, this.laneOf(tenantId), orElse);
  }

  private lookAfter(ms: number, tenantId: string, lane: Lane, orElse: () => void): void {
    lane.cancelLook ??= this.clock.after(ms, () => {
      lane.cancelLook = undefined;
      void this.decide(tenantId, { type: 'reload' }).then((decided) => decided ?? orElse());
      this.forgetIdle(tenantId, lane);
    });
  }

  /** Decides nothing more; what is under way ends by itself. */
  close(): void {
    this.isClosed = true;
    for (const [tenantId, lane] of this.lanes) {
      lane.cancelForgetting?.();
      if (cancelLook(lane)) this.options.leave(tenantId, 'soon');
    }
  }

  private whySignalled(tenantId: string, isOverdue = false): Signalled | undefined {
    const pace = this.options.pace();
    if (pace === 'standing' || (pace === 'far' && !isOverdue)) return pace;
    const lane = this.lanes.get(tenantId);
    if (!lane) return undefined;
    if (lane.signals.untilMs > this.clock.nowMs()) return lane.signals.why;
    return lane.waiting.length >= waitingMax ? 'full' : undefined;
  }

  /** Whether somebody stands in the tenant's way now: who was just told to signal tries it again here after {@link heldUpMs}. */
  isHeldUp(tenantId: string): boolean {
    const { signals } = this.lanes.get(tenantId) ?? {};
    return signals?.why === 'locked' && signals.untilMs > this.clock.nowMs();
  }

  /** Tenants of which something is under way, or goes by signal for a while. */
  get size(): number {
    return this.lanes.size;
  }

  /** Forgets a lane once nothing is under way in it, and its tenant's commands need no longer go by signal. */
  private forgetIdle(tenantId: string, lane: Lane): void {
    if (this.isClosed || lane.isDeciding || lane.waiting.length > 0 || lane.cancelLook) return;
    const leftMs = lane.signals.untilMs - this.clock.nowMs();
    if (leftMs > 0) {
      lane.cancelForgetting ??= this.clock.after(leftMs, () => {
        lane.cancelForgetting = undefined;
        this.forgetIdle(tenantId, lane);
      });
    } else if (this.lanes.get(tenantId) === lane) this.lanes.delete(tenantId);
  }

  private laneOf(tenantId: string): Lane {
    let lane = this.lanes.get(tenantId);
    if (!lane) {
      lane = {
        ...{ waiting: [], isDeciding: false, signals: { untilMs: 0, why: 'closed' } },
        ...{ cancelLook: undefined, cancelForgetting: undefined },
      };
      this.lanes.set(tenantId, lane);
    }
    return lane;
  }

  private async decideAll(tenantId: string, lane: Lane): Promise<void> {
    lane.isDeciding = true;
    // What comes in the same turn of the event loop is company.
    await new Promise(setImmediate);
    while (lane.waiting.length > 0) {
      const batch = lane.waiting.splice(0, commandsMax);
      // What was written before is folded with it.
      const looks = cancelLook(lane);
      const undecided = await this.decideBatch(tenantId, batch, lane);
      if (undecided === undefined || undecided === 'refused') continue;
      if (looks) this.options.leave(tenantId, 'soon');
      lane.signals = { untilMs: this.clock.nowMs() + signalMs[undecided], why: undecided };
      const behind = lane.waiting.splice(0);
      countSignalled(undecided, batch.length + behind.length);
      for (const { resolve } of behind) resolve(undefined);
    }
    lane.isDeciding = false;
    this.forgetIdle(tenantId, lane);
  }

  /** Decides some commands together. Answers why they go by signal, where they do. */
  private async decideBatch(tenantId: string, batch: readonly Waiting[], lane: Lane): Promise<Undecided | undefined> {
    const { decide, log } = this.options;
    const commands = batch.map(({ command }) => command);
    const startedMs = this.clock.nowMs();
    const toSignal = (): void => batch.forEach(({ resolve }) => resolve(undefined));
    try {
      const decided = await decide(tenantId, commands);
      if (decided === 'closed') {
        toSignal();
        return 'closed';
      }
      answer(batch, decided);
      if (decided.leaves) this.options.leave(tenantId, decided.leaves);
      // The next decision settles the rest, whether somebody asks for one or not.
      if (decided.moreDue) this.lookAfter(0, tenantId, lane, () => this.options.leave(tenantId, 'soon'));
      const seconds = (this.clock.nowMs() - startedMs) / 1_000;
      countDecision(() => measured({ tenantId, commands, seconds }, decided));
      logDenials({ tenantId, log }, decided);
      return undefined;
    } catch (error) {
      toSignal();
      // Somebody stands still in the middle of a decision, or many decide: the authority waits for both.
      if (isLockedOut(error)) return 'locked';
      log.warn(
        { tenantId, commands: commands.length, error },
        'commands could not be decided under the mandate, and go by signal',
      );
      // What Postgres refuses is isolated by the authority; others need not wait for that.
      return isRefused(error) ? 'refused' : 'failed';
    }
  }
}

/** Cancels the look of a lane; whether there was one. */
function cancelLook(lane: Lane): boolean {
  const wasDue = lane.cancelLook !== undefined;
  lane.cancelLook?.();
  lane.cancelLook = undefined;
  return wasDue;
}

/** Hands on what was decided; what waits for the platform was not. */
function answer(batch: readonly Waiting[], { decision }: RecordedBatch): void {
  let reserves = 0;
  for (const { command, resolve } of batch) {
    if (command.type !== 'reserve') {
      resolve({});
      continue;
    }
    const given = decision.answers[reserves];
    reserves += 1;
    resolve(given && { answer: given });
  }
}
