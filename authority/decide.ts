/**
 * The authority's side: decides a batch, records it, and answers whoever waits for it. Answers leave after the commit
 * only, so what a caller was told is never lost; an answer that does not arrive is asked for again and comes from the
 * record.
 */
import type { Client } from '@temporalio/client';
import { Context } from '@temporalio/activity';
import type { Logger } from '../telemetry/log';
import type { BudgetCommand, Enforced, ReserveAnswer, ReserveCommand } from '../core/budget/commands';
import { formatUsd } from '../core/money';
import { readCommand } from '../core/inputs/read-command';
import { headroomUsd, quotaState } from '../core/budget/quotas';
import { asksTheSame } from '../core/budget/reservations';
import { decideAndRecord, type BatchOptions, type RecordedBatch } from '../store/budget-batch';
import { dueAtOnceMax } from '../store/holds';
import { isRefused, isTooSlow, sqlState, type Pool } from '../store/pool';
import { countDecision } from '../telemetry/metrics';
import type { PendingReplies } from './client/pending-replies';
import type { DecideRequest, DecideResult } from '../contracts/budget';
import { failed, tellAnswers, unknownTenant, unreadable } from './answers';
import { canSettle, DueSizes, laterThan } from './due';
import { decideInParts, PartSizes } from './in-parts';
import type { Mandates } from './mandates';
import { logDenials, measured } from './noted';

export interface DecideDependencies {
  pool: Pool;
  client: Client;
  log: Logger;
  enforced: Enforced;
  /** When those who ask are let decide for themselves (docs/decisions/0046); absent where they are not. */
  mandates?: Mandates | undefined;
  replies: PendingReplies;
  /** Holds this process's signals to an authority back for a moment. */
  holdBack: (tenantId: string) => void;
  /** There are alerts to send, by somebody who does not decide. */
  alertsRaised: () => void;
}

/** Postgres gives a batch up after this long; a healthy one takes a few milliseconds. */
const recordingTimeoutMs = 3_000;
/** No part of a batch is begun later than this share of the activity's time: what it was decided has to be said in time. */
const beginningShare = 0.7;
/** As many commands as an authority puts into a batch. */
const batchMax = 500;

export function createDecideBatch(dependencies: DecideDependencies): {
  decideBatch: (request: DecideRequest) => Promise<DecideResult>;
  drainAnswers: () => Promise<void>;
} {
  const { pool, log, enforced, mandates } = dependencies;
  const { answer, drain } = answering(dependencies);
  const partSizes = new PartSizes(batchMax);
  const due = new DueSizes(dueAtOnceMax, recordingTimeoutMs);

  /** Decides some commands, records them, and answers and counts them. Postgres holds them when it returns. */
  async function decidePart(
    request: DecideRequest,
    commands: readonly BudgetCommand[],
    { timeoutMs = recordingTimeoutMs, ...settled }: Partial<Pick<BatchOptions, 'timeoutMs' | 'due'>> = {},
  ): Promise<Decided> {
    const { tenantId } = request;
    const startedMs = performance.now();
    const mandate = mandates?.on(tenantId, commands);
    const recorded = await due.settling(tenantId, (dueMax) =>
      decideAndRecord(pool, { tenantId, commands, enforced, timeoutMs, dueMax, ...settled, mandate }),
    );
    if (!recorded) {
      answer(request, commands, unknownTenant(tenantId, commands));
      return { recorded, waiting: undefined };
    }
    answer(request, commands, recorded.decision.answers);
    if (recorded.alertsDue > 0) dependencies.alertsRaised();
    const seconds = (performance.now() - startedMs) / 1000;
    countDecision(() => measured({ tenantId, commands, seconds }, recorded));
    logDenials({ tenantId, log }, recorded);
    return { recorded, waiting: waitingIn(commands, recorded) };
  }

  /** What came, read. What is no command counts as a look at what is due, and is refused where somebody waits for an answer. */
  const read = (request: DecideRequest): DecideRequest => {
    const commands = request.commands.map((came): BudgetCommand => {
      const one = readCommand(came);
      if ('command' in one) return one.command;
      log.warn(
        { tenantId: request.tenantId },
        `a signal held what is no budget command, and it was set aside: ${one.problem}`,
      );
      if (one.reserve) answer(request, [one.reserve], [unreadable(one.reserve, one.problem)]);
      return { type: 'reload' };
    });
    return { ...request, commands };
  };

  /** Decides parts of one batch: without what is due from where that turns out to keep them from being recorded. */
  function partsOf(
    request: DecideRequest,
    timeoutMs: () => number,
  ): (part: readonly BudgetCommand[]) => Promise<Decided> {
    let due: 'left' | undefined;
    let looked = false;
    const decide = async (part: readonly BudgetCommand[]): Promise<Decided> => {
      const decided = await decidePart(request, part, { timeoutMs: timeoutMs(), ...(due ? { due } : {}) });
      const { recorded } = decided;
      if (due && recorded?.nextWakeUpMs !== undefined) recorded.nextWakeUpMs = laterThan(recorded.nextWakeUpMs);
      return decided;
    };
    return async (part) => {
      try {
        return await decide(part);
      } catch (error) {
        if (looked || !isRefused(error)) throw error;
        looked = true;
        const { tenantId } = request;
        const settle = (only: BatchOptions['due']): Promise<Decided> =>
          decidePart(request, [], { timeoutMs: timeoutMs(), ...(only === undefined ? {} : { due: only }) });
        if (await canSettle({ pool, log, tenantId, settle })) throw error;
        due = 'left';
        return decide(part);
      }
    };
  }

  async function decideBatch(came: DecideRequest): Promise<DecideResult> {
    const request = read(came);
    const { tenantId, commands, continuing } = request;
    if (continuing) dependencies.holdBack(tenantId);
    const startedMs = performance.now();
    const decided: Decided[] = [];
    const endMs = startedMs + Context.current().info.startToCloseTimeoutMs;
    let tries = 0;
    // Those after the first have what is left of the time.
    const timeoutMs = (): number =>
      (tries += 1) === 1 ? recordingTimeoutMs : Math.min(recordingTimeoutMs, Math.max(endMs - performance.now(), 1));
    const decide = partsOf(request, timeoutMs);
    const { done, size, error } = await decideInParts({
      commands,
      size: partSizes.of(tenantId),
      decide: async (part) => void decided.push(await decide(part)),
      setAside: (command, refusal) => setAside(request, command, refusal),
      isRefusal: isRefused,
      isTooSlow,
      hasTime: () => performance.now() < startedMs + (endMs - startedMs) * beginningShare,
    });
    partSizes.note(tenantId, size);
    const undecided = commands.length - done;
    if (undecided > 0)
      log.warn({ tenantId, commands: undecided, sqlState: sqlState(error) }, 'commands were left to the next batch');
    // Nobody takes back what is left of a batch that was said to be done.
    if ((error !== undefined && done === 0) || (undecided > 0 && !request.mayLeaveRest))
      throw error instanceof Error ? error : new Error(`There was no time for ${undecided} commands.`);
    const last = decided.at(-1) ?? (await decide([]));
    return {
      ...resultOf(last.recorded, decided),
      durationMs: Math.round(performance.now() - startedMs),
      ...(undecided > 0 ? { undecided } : {}),
    };
  }

  /** One bad command never stops a tenant: it is answered `rejected`, the others are decided. */
  function setAside(request: DecideRequest, command: BudgetCommand, error: unknown): void {
    const { tenantId } = request;
    const operationId = 'operationId' in command ? command.operationId : undefined;
    log.error(
      { tenantId, operationId, type: command.type, sqlState: sqlState(error) },
      'a budget command failed and was set aside',
    );
    if (command.type === 'reserve') answer(request, [command], [failed(command)]);
  }

  return { decideBatch, drainAnswers: drain };
}

/** Answers who waits, here and elsewhere; `drain` waits until all of them are told. */
function answering(dependencies: DecideDependencies): { answer: Answer; drain: () => Promise<void> } {
  const { log, replies } = dependencies;
  const underWay = new Set<Promise<void>>();
  const answer: Answer = ({ tenantId, continuing = false }, commands, answers) => {
    const reserves = commands.filter((command) => command.type === 'reserve');
    answers.forEach((given, index) => {
      if (given) replies.post(tenantId, given, (command) => asksTheSame(command, reserves[index] as ReserveCommand));
    });
    const told = reserves.map(({ replyTo }, index) => ({ replyTo, answer: answers[index] }));
    const sending = tellAnswers(dependencies, { tenantId, continuing, told })
      // Nobody waits for this promise: unheard, its error would end the process.
      .catch((error: unknown) => log.warn({ tenantId, error }, 'answers could not be sent'))
      .finally(() => underWay.delete(sending));
    underWay.add(sending);
  };
  const drain = async (): Promise<void> => {
    while (underWay.size > 0) await Promise.all(underWay);
  };
  return { answer, drain };
}

/** Answers the reserves among commands, in their order. */
type Answer = (
  request: DecideRequest,
  commands: readonly BudgetCommand[],
  answers: readonly (ReserveAnswer | undefined)[],
) => void;

/** What became of a part of a batch. Nothing is recorded of a tenant that is not there. */
interface Decided {
  recorded: RecordedBatch | undefined;
  waiting: DecideResult['waiting'];
}

/** What the authority is told: how the tenant stands after the last part, and what waits of all of them. */
function resultOf(recorded: RecordedBatch | undefined, decided: readonly Decided[]): Omit<DecideResult, 'durationMs'> {
  const waiting = decided.flatMap((part) => part.waiting ?? []);
  const quotas = recorded?.decision.quotas ?? [];
  return {
    quotas: quotas.map(quotaState),
    ...(recorded?.nextWakeUpMs === undefined ? {} : { nextWakeUpMs: recorded.nextWakeUpMs }),
    // They are this process's to send: the authority neither does it nor waits for it.
    alertsDue: 0,
    ...(waiting.length > 0
      ? {
          waiting: {
            operationIds: waiting.flatMap(({ operationIds }) => operationIds),
            needs: waiting.flatMap(({ needs }) => needs),
          },
        }
      : {}),
    ...(recorded?.moneyWaiters ? { moneyWaiters: true } : {}),
    ...(recorded?.mandate ? { mandate: recorded.mandate } : {}),
    ...(quotas.some((quota) => quota.lease && headroomUsd(quota) > 0n) ? { idleLease: true } : {}),
  };
}

/** The reserves of a batch that wait for the platform. */
function waitingIn(commands: readonly BudgetCommand[], recorded: RecordedBatch | undefined): DecideResult['waiting'] {
  if (!recorded || recorded.decision.leaseNeeds.length === 0) return undefined;
  const { answers, leaseNeeds } = recorded.decision;
  const reserves = commands.filter((command) => command.type === 'reserve');
  return {
    operationIds: reserves.flatMap(({ operationId }, index) => (answers[index] ? [] : [operationId])),
    needs: leaseNeeds.map(({ quotaId, neededUsd }) => ({ quotaId, neededUsd: formatUsd(neededUsd) })),
  };
}
