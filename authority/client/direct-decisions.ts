/**
 * Decisions that the process which asks takes itself, under its tenant's mandate (docs/decisions/0046): the transaction of the
 * authority, without its way. Per tenant one is under way at a time; what is asked meanwhile goes into the next. What is not decided
 * here goes by signal, as if nothing had been tried: where there is no mandate, where Postgres refuses or is late, and what waits for
 * money from the platform.
 */
import type { BudgetCommand, ReserveAnswer, Resource } from '../../core/budget/commands';
import { decideUnderMandate, type RecordedBatch } from '../../store/budget-batch';
import { createPool, isRefused, type Pool } from '../../store/pool';
import { countDecision } from '../../telemetry/metrics';
import type { Logger } from '../../telemetry/log';
import { logDenials, measured } from '../noted';
import { processClock, type Clock } from './clock';
import type { Coalescer } from './coalescer';

export interface DirectDecisionsOptions {
  /** Decides some commands and records it; `closed` without a mandate. */
  decide: (tenantId: string, commands: readonly BudgetCommand[]) => Promise<RecordedBatch | 'closed'>;
  log: Logger;
  /** Has the authority do what a decision left to do. */
  leave: (tenantId: string, when: 'now' | 'soon') => void;
  clock?: Clock;
}

/** Tenants that are decided for at once. */
const connectionsMax = 4;
/** Commands of one transaction, and of those that wait for the next. */
const commandsMax = 200;
const waitingMax = 2_000;
/** Of what is due of the tenant that much is settled beside them. */
const dueMax = 50;
/** Postgres ends the transaction of a process that stands still after this long: nobody waits longer for it. */
const decidingMs = 1_000;
/** Nobody waits longer than that for a free connection: signals take no longer. */
const connectMs = 500;
/** What is written is folded after this long, where no decision comes before. */
const lookMs = 250;
/** Without a mandate it is looked for again after this long; after a failure later. */
const closedMs = 250;
const failedMs = 5_000;

/** `answer` is absent for a command that is no reserve. */
type Decided = { answer?: ReserveAnswer } | undefined;

interface Waiting {
  command: BudgetCommand;
  resolve: (decided: Decided) => void;
}

interface Lane {
  waiting: Waiting[];
  isDeciding: boolean;
  /** Until then everything goes by signal. */
  signalUntilMs: number;
  /** Cancels a look at what Postgres holds; absent when none is due. */
  cancelLook: (() => void) | undefined;
}

export class DirectDecisions {
  private readonly lanes = new Map<string, Lane>();
  private readonly clock: Clock;
  private isClosed = false;

  constructor(private readonly options: DirectDecisionsOptions) {
    this.clock = options.clock ?? processClock;
  }

  /** Decides a command; undefined when it has to go by signal. Sending one that was decided again is harmless. */
  decide(tenantId: string, command: BudgetCommand): Promise<Decided> {
    const lane = this.laneOf(tenantId);
    if (this.isClosed) return Promise.resolve(undefined);
    if (lane.signalUntilMs > this.clock.nowMs() || lane.waiting.length >= waitingMax) return Promise.resolve(undefined);
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
    const lane = this.laneOf(tenantId);
    if (this.isClosed || lane.signalUntilMs > this.clock.nowMs()) orElse();
    else
      lane.cancelLook ??= this.clock.after(lookMs, () => {
        lane.cancelLook = undefined;
        void this.decide(tenantId, { type: 'reload' }).then((decided) => decided ?? orElse());
      });
  }

  /** Decides nothing more; what is under way ends by itself. */
  close(): void {
    this.isClosed = true;
    for (const [tenantId, lane] of this.lanes) if (cancelLook(lane)) this.options.leave(tenantId, 'soon');
  }

  private laneOf(tenantId: string): Lane {
    let lane = this.lanes.get(tenantId);
    if (!lane) {
      lane = { waiting: [], isDeciding: false, signalUntilMs: 0, cancelLook: undefined };
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
      const signalMs = await this.decideBatch(tenantId, batch);
      if (signalMs === 0) continue;
      if (looks) this.options.leave(tenantId, 'soon');
      lane.signalUntilMs = this.clock.nowMs() + signalMs;
      for (const { resolve } of lane.waiting.splice(0)) resolve(undefined);
    }
    lane.isDeciding = false;
    if (!lane.cancelLook && lane.signalUntilMs <= this.clock.nowMs()) this.lanes.delete(tenantId);
  }

  /** Decides some commands together. Answers for how long its tenant's commands go by signal now. */
  private async decideBatch(tenantId: string, batch: readonly Waiting[]): Promise<number> {
    const { decide, log } = this.options;
    const commands = batch.map(({ command }) => command);
    const startedMs = this.clock.nowMs();
    const toSignal = (): void => batch.forEach(({ resolve }) => resolve(undefined));
    try {
      const decided = await decide(tenantId, commands);
      if (decided === 'closed') {
        toSignal();
        return closedMs;
      }
      answer(batch, decided);
      if (decided.leaves) this.options.leave(tenantId, decided.leaves);
      const seconds = (this.clock.nowMs() - startedMs) / 1_000;
      countDecision(() => measured({ tenantId, commands, seconds }, decided));
      logDenials({ tenantId, log }, decided);
      return 0;
    } catch (error) {
      log.warn(
        { tenantId, commands: commands.length, error },
        'commands could not be decided under the mandate, and go by signal',
      );
      toSignal();
      // What Postgres refuses is isolated by the authority; others need not wait for that.
      return isRefused(error) ? 0 : failedMs;
    }
  }
}

/**
 * Those of a process, on connections that are theirs alone, beside what `pool` has: whoever waits for a tenant's lock keeps none from
 * others. What a decision left goes as a look of the authority; with what else is signalled, where that can wait.
 */
export function directDecisions({
  pool: { options },
  enforced,
  coalescer,
  log,
}: {
  pool: Pool;
  enforced: Record<Resource, boolean>;
  coalescer: Coalescer;
  log: Logger;
}): { direct: DirectDecisions; close: () => Promise<void> } {
  const pool = createPool(options.connectionString ?? '', {
    ...{ application_name: 'spendlock-decisions', max: connectionsMax },
    ...{ idleTimeoutMillis: 60_000, connectionTimeoutMillis: connectMs },
  });
  const direct = new DirectDecisions({
    log,
    decide: (tenantId, commands) =>
      decideUnderMandate(pool, { tenantId, commands, enforced, timeoutMs: decidingMs, dueMax }),
    leave(tenantId, when) {
      const told = when === 'now' ? coalescer.send(tenantId, { type: 'reload' }) : coalescer.nudge(tenantId);
      told.catch((error: unknown) =>
        log.warn({ tenantId, error }, 'an authority could not be told what is left to do'),
      );
    },
  });
  const close = async (): Promise<void> => {
    direct.close();
    await pool.end();
  };
  return { direct, close };
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
