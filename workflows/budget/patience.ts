/** How long a denied step waits for money: for all that it asks for, and for the least that it can use. */
import type { WaitForMoney } from '../../contracts/budget';
import type { ReserveAnswer } from '../../core/budget/commands';
import { fitsWithoutHolds } from '../../core/budget/denials';
import { holdsUpMs } from '../../core/budget/line';
import { heldSeconds } from '../../core/budget/retry-after';
import type { MoneyAnswerSignal } from '../../core/inputs/read-signals';
import { mergedLabels } from '../../core/labels';
import { parseAmountUsd, parseUsd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import { sentAs } from '../../core/resources';
import { isPatched } from '../patches';
import type { BudgetScope, PaidStep } from './paid-step';

export type Denial = Extract<ReserveAnswer, { decision: 'denied' }>;

/** A call takes seconds, and most of what it holds comes back. */
const holdsWaitedForSeconds = 15;
/** A step whose least is there takes that after a moment: what others hold may be held for long. */
const wholeMsMax = 5_000;

/** Who waits for money asks again at the latest after this long, whatever it was told: a signal may have been lost. */
const waitForMoneyMsMax = 6 * 3_600_000;
/** What the platform has left changes with every tenant, and nobody says so: it is asked again, at first after this long. */
const waitForPlatformMs = 60_000;

/** One step's patience, from its first denial on. */
export class Patience {
  /** Undefined until it has a place in the line. */
  waiterId: string | undefined;
  /** It waits for as long as it takes; otherwise only a moment, for what others hold. */
  readonly isLong: boolean;
  private readonly wholeMs: number;
  private readonly mostMs: number;
  private sinceMs: number | undefined;
  private waits = 0;

  constructor({ onDenied, waitForHoldsSeconds = holdsWaitedForSeconds }: BudgetScope, step: PaidStep) {
    this.isLong = onDenied === 'wait' && step.onDenied !== 'fail';
    this.mostMs = this.isLong ? Infinity : step.onDenied === 'fail' ? 0 : waitForHoldsSeconds * 1_000;
    this.wholeMs = this.isLong ? holdsUpMs : Math.min(wholeMsMax, this.mostMs);
  }

  /** Whether it rather waits than takes less than it asks for. */
  get prefersWhole(): boolean {
    return this.waitedMs < this.wholeMs;
  }

  private get waitedMs(): number {
    return this.sinceMs === undefined ? 0 : Date.now() - this.sinceMs;
  }

  /** Its place in the line after a denial: the first operation that was denied. Undefined where it gives up. */
  placeAfter(answer: Denial, step: PaidStep): string | undefined {
    if (this.waitedMs >= this.mostMs) return undefined;
    if (!this.isLong && !(isHeldBack(answer, step) && isPatched('holds-waited-for'))) return undefined;
    this.sinceMs ??= Date.now();
    this.waiterId ??= answer.operationId;
    return this.waiterId;
  }

  /** When it asks again though nobody woke it; `afterMs` is its turn among those that wait for the same moment. */
  untilAskedAgainMs(
    answer: Denial,
    step: PaidStep,
    { prefersWhole, afterMs = 0 }: { prefersWhole: boolean; afterMs?: number },
  ): number {
    const { quota } = answer;
    const frees = this.comesBackAfter(answer, step) * 1_000 + 100 + afterMs;
    if (!this.isLong) {
      const isOver = prefersWhole && isLeastThere(answer, step) ? this.wholeMs : this.mostMs;
      return Math.min(frees, Math.max(0, isOver - this.waitedMs));
    }
    const most = quota.scope === 'platform' ? waitForPlatformMs * 2 ** Math.min(this.waits, 10) : waitForMoneyMsMax;
    this.waits += 1;
    return Math.min(frees, most, waitForMoneyMsMax);
  }

  /** When money comes back, in seconds. Who waits is woken when a call under way ends: by the guess of that it asks less and less often. */
  private comesBackAfter(answer: Denial, step: PaidStep): number {
    const { retryAfterSeconds = Infinity } = answer;
    const isGuess = retryAfterSeconds === heldSeconds && isHeldBack(answer, step);
    return isGuess ? heldSeconds * 2 ** Math.min(this.waits, 12) : retryAfterSeconds;
  }
}

/** Whether only what others hold stands in a step's way, in the quota that bound. Of the platform's nobody can tell. */
function isHeldBack({ quota }: Denial, { amountUsd, minimumUsd = amountUsd }: PaidStep): boolean {
  return quota.scope !== 'platform' && fitsWithoutHolds(quota, parseAmountUsd(minimumUsd));
}

/** Whether the quota that bound has the least that a step can use. */
const isLeastThere = ({ quota }: Denial, { amountUsd, minimumUsd = amountUsd }: PaidStep): boolean =>
  parseUsd(quota.remainingUsd) >= parseAmountUsd(minimumUsd);

/** What a denied step waits for: the least that it can use, and all of it where it rather waits. */
export function moneyAsked(
  { tenantId, runId, userId, labels: ofScope, onDenied, askDays }: BudgetScope,
  { kind, resource, amountUsd, minimumUsd = amountUsd, labels: ofStep }: PaidStep,
  { answer, prefersWhole, answers }: { answer: Denial; prefersWhole: boolean; answers: MoneyAnswerSignal[] },
): Omit<WaitForMoney, 'waiterId' | 'workflowId'> {
  const { quota, retryAfterSeconds } = answer;
  const labels = mergedLabels(ofScope, ofStep);
  return {
    ...{ tenantId, quota, isNamed: true, ...sentAs(resource) },
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
