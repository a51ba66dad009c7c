/** How long a denied step waits for money: for all that it asks for, and for the least that it can use. */
import type { WaitForMoney } from '../../contracts/budget';
import type { Rejection, ReserveAnswer, Resource } from '../../core/budget/commands';
import { fitsWithoutHolds } from '../../core/budget/denials';
import { holdsUpMs } from '../../core/budget/line';
import { heldSeconds } from '../../core/budget/retry-after';
import type { MoneyAnswerSignal } from '../../core/inputs/read-signals';
import { mergedLabels } from '../../core/labels';
import { parseAmountUsd, parseUsd, type Usd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import { allResources, sentAs } from '../../core/resources';
import { isPatched } from '../patches';
import type { BudgetScope, PaidStep, PaidStepHooks } from './paid-step';

export type Denial = Extract<ReserveAnswer, { decision: 'denied' }>;
/** A rejection, by the authority or by the run's own limit before it is asked. */
export type Refused = Omit<Rejection, 'operationId'>;

/** A call takes seconds, and most of what it holds comes back. */
const holdsWaitedForSeconds = 15;
/** A step whose least is there takes that after a moment: what others hold may be held for long. */
const wholeMsMax = 5_000;

/** Nobody is woken for what comes back to a run's limit: a step asks again after pauses that double, up to a bound. */
const runPauseMs = 1_000;
const runPauseMsMax = 4_000;

/** Who waits for money asks again at the latest after this long, whatever it was told: a signal may have been lost. */
const waitForMoneyMsMax = 6 * 3_600_000;
/** What the platform has left changes with every tenant, and nobody says so: it is asked again, at first after this long. */
const waitForPlatformMs = 60_000;
/** What comes back to a run's own envelope wakes nobody: a step that it might do for asks again, at first after this long. */
const ownMoneyMs = 2_000;
/** An envelope is woken in vain so often without a pause, and after that with pauses that double. */
const vainWakesMax = 3;
const restMs = 1_000;
const restMsMax = 60_000;

/** One step's patience, from its first denial on. */
export class Patience {
  /** Undefined until it has a place in the line. */
  waiterId: string | undefined;
  /** It waits for as long as it takes; otherwise only a moment, for what others hold. */
  readonly isLong: boolean;
  private readonly wholeMs: number;
  private readonly mostMs: number;
  /** A moment, for what others hold: of its run's limit nobody waits longer. */
  private readonly momentMs: number;
  private sinceMs: number | undefined;
  /** Since when its run's limit stands in its way, and how often it asked since. */
  private runSinceMs: number | undefined;
  private runPauses = 0;
  private waits = 0;
  private vainWakes = 0;
  private looksForOwn = 0;
  /** People are asked for what it lacks. */
  private readonly asksPeople: boolean;
  /** What cuts it is no limit that people could lift: the platform's, or its run's own. */
  private isCutAnyway = false;

  /** @param hasOwnMoney Whether its run has an envelope that it may be a part of. */
  constructor(
    { onDenied, askDays, waitForHoldsSeconds = holdsWaitedForSeconds }: BudgetScope,
    private readonly step: PaidStep,
    private readonly hasOwnMoney: boolean,
  ) {
    this.isLong = onDenied === 'wait' && step.onDenied === undefined;
    this.asksPeople = this.isLong && askDays !== undefined;
    this.momentMs = step.onDenied === 'fail' ? 0 : waitForHoldsSeconds * 1_000;
    this.mostMs = this.isLong ? Infinity : this.momentMs;
    this.wholeMs = this.isLong ? holdsUpMs : step.onDenied ? 0 : Math.min(wholeMsMax, this.mostMs);
  }

  /** Whether it rather waits than takes less than it asks for. */
  get prefersWhole(): boolean {
    return this.waitedMs < this.wholeMs;
  }

  /**
   * Whether it takes nothing less than all of a step that could use less: a quota would cut it, and people are there to be asked for what is lacking. What
   * it buys can be used then.
   */
  insistsOn({ minimumUsd }: PaidStep): boolean {
    return this.asksPeople && minimumUsd !== undefined && !this.isCutAnyway && isPatched('asks-for-all');
  }

  /** Whether it is its run's limit that refused a step that insisted: then less of it may fit, and it does not insist any more. */
  isCutBy({ code }: Refused): boolean {
    this.isCutAnyway ||= code === 'run_limit_exceeded';
    return this.isCutAnyway;
  }

  /**
   * How long a step pauses before it asks its run's limit again; undefined where it fails: what others hold is not what is missing, or it has
   * waited for that. `keptUsd` is what its own workflow holds for later.
   */
  pauseForRunMs(
    { leftWithoutHoldsUsd }: Refused,
    { amountUsd, minimumUsd = amountUsd }: PaidStep,
    keptUsd: Usd,
  ): number | undefined {
    if (leftWithoutHoldsUsd === undefined) return undefined;
    if (parseUsd(leftWithoutHoldsUsd) - keptUsd < parseAmountUsd(minimumUsd)) return undefined;
    const nowMs = Date.now();
    this.runSinceMs ??= nowMs;
    const restMs = this.runSinceMs + this.momentMs - nowMs;
    if (restMs <= 0 || !this.mayWait() || !isPatched('run-holds-waited-for')) return undefined;
    const pauseMs = Math.min(runPauseMs * 2 ** this.runPauses, runPauseMsMax);
    this.runPauses += 1;
    return Math.min(pauseMs, restMs);
  }

  /** What is held for a last call was not waited for. */
  private mayWait(): boolean {
    return this.step.onDenied === undefined || isPatched('last-call-waits');
  }

  private get waitedMs(): number {
    return this.sinceMs === undefined ? 0 : Date.now() - this.sinceMs;
  }

  /** Its place in the line after a denial: the first operation that was denied. Undefined where it gives up. */
  placeAfter(answer: Denial, step: PaidStep): string | undefined {
    this.runSinceMs = undefined;
    this.runPauses = 0;
    if (this.waitedMs >= this.mostMs) return undefined;
    if (!this.isLong && !(isHeldBack(answer, step) && this.mayWait() && isPatched('holds-waited-for')))
      return undefined;
    this.isCutAnyway ||= answer.quota.scope === 'platform';
    this.sinceMs ??= Date.now();
    this.waiterId ??= answer.operationId;
    return this.waiterId;
  }

  /** It was told that there may be money, and asks again. */
  noteWake(): void {
    this.vainWakes += 1;
  }

  /**
   * How long it rests before it waits once more. Who wakes it looks at the limits of one of its resources, and an envelope has to fit those
   * of all: whatever they come to, it does not ask without a pause.
   */
  get restsMs(): number {
    const beyond = this.vainWakes - vainWakesMax;
    return !this.step.envelopeOf || beyond < 0 ? 0 : Math.min(restMs * 2 ** beyond, restMsMax);
  }

  /** When it asks again though nobody woke it; `afterMs` is its turn among those that wait for the same moment. */
  untilAskedAgainMs(
    answer: Denial,
    step: PaidStep,
    { prefersWhole, afterMs = 0 }: { prefersWhole: boolean; afterMs?: number },
  ): number {
    const { quota } = answer;
    const comesBackMs = this.comesBackAfter(answer, step) * 1_000 + 100 + afterMs;
    const frees = Math.min(comesBackMs, this.untilOwnMoneyMs());
    if (!this.isLong) {
      const isOver = prefersWhole && isLeastThere(answer, step) ? this.wholeMs : this.mostMs;
      return Math.min(frees, Math.max(0, isOver - this.waitedMs));
    }
    const most = quota.scope === 'platform' ? waitForPlatformMs * 2 ** Math.min(this.waits, 10) : waitForMoneyMsMax;
    this.waits += 1;
    return Math.min(frees, most, waitForMoneyMsMax);
  }

  /** When it looks whether its envelope has got something back. */
  private untilOwnMoneyMs(): number {
    if (!this.hasOwnMoney) return Infinity;
    this.looksForOwn += 1;
    return ownMoneyMs * 2 ** Math.min(this.looksForOwn - 1, 20);
  }

  /** When money comes back, in seconds. Who waits is woken when a call under way ends: by the guess of that it asks less and less often. */
  private comesBackAfter(answer: Denial, step: PaidStep): number {
    const { retryAfterSeconds = Infinity } = answer;
    const isGuess = retryAfterSeconds === heldSeconds && isHeldBack(answer, step);
    return isGuess ? heldSeconds * 2 ** Math.min(this.waits, 12) : retryAfterSeconds;
  }
}

/** The step at the prices of now, where its caller says those. */
export const plannedAgain = (step: PaidStep, { planAgain }: PaidStepHooks): PaidStep | Promise<PaidStep> =>
  planAgain && isPatched('planned-again') ? planAgain() : step;

/** Whether only what others hold stands in a step's way, in the quota that bound. Of the platform's nobody can tell. */
function isHeldBack({ quota }: Denial, { amountUsd, minimumUsd = amountUsd }: PaidStep): boolean {
  return quota.scope !== 'platform' && fitsWithoutHolds(quota, parseAmountUsd(minimumUsd));
}

/** Whether the quota that bound has the least that a step can use. */
const isLeastThere = ({ quota }: Denial, { amountUsd, minimumUsd = amountUsd }: PaidStep): boolean =>
  parseUsd(quota.remainingUsd) >= parseAmountUsd(minimumUsd);

/** An envelope waits for what the limit that bound is of: on its other resources it may fit already. */
const resourceAwaited = ({ resource, envelopeOf }: PaidStep, { quota: { resourceType } }: Denial): Resource =>
  envelopeOf && resourceType !== allResources ? resourceType : resource;

/** What a denied step waits for: the least that it can use, and all of it where it rather waits. */
export function moneyAsked(
  { tenantId, runId, userId, labels: ofScope, onDenied, askDays }: BudgetScope,
  step: PaidStep,
  { answer, prefersWhole, answers }: { answer: Denial; prefersWhole: boolean; answers: MoneyAnswerSignal[] },
): Omit<WaitForMoney, 'waiterId' | 'workflowId'> {
  const { kind, amountUsd, minimumUsd = amountUsd, labels: ofStep } = step;
  const { quota, retryAfterSeconds } = answer;
  const labels = mergedLabels(ofScope, ofStep);
  return {
    ...{ tenantId, quota, isNamed: true, ...sentAs(resourceAwaited(step, answer)) },
    ...omitUndefined({ runId, userId, labels, retryAfterSeconds, wantedUsd: prefersWhole ? amountUsd : undefined }),
    neededUsd: minimumUsd,
    // A step that only waits a moment asks nobody.
    ...(askDays !== undefined && onDenied === 'wait'
      ? {
          asks: {
            ...{ operationId: answer.operationId, days: askDays, kind, amountUsd },
            ...(answers.length > 0 ? { answers } : {}),
          },
        }
      : {}),
  };
}
