/**
 * What the steps of a workflow count for its own limit. The books count it, with all that belongs to the run
 * (docs/decisions/0050-run-limits.md); until an answer says that they do, it counts here, of what this workflow spends itself.
 */
import type { RunLimitRef } from '../../core/budget/commands';
import { formatUsd, maxUsd, parseAmountUsd, sumUsd, type Usd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import type { BudgetScope, PaidStep } from './paid-step';
import type { Refused } from './patience';

/** What was counted of a limit, for whoever goes on with it. */
export interface Counted {
  /** What its steps have cost or may cost. Decimal string. */
  spentUsd: string;
  /** Whether the books count that; absent before anything was granted, and where the version before handed it on. */
  isInBooks?: boolean;
}

export class OwnLimit {
  /** What each attempt may have cost at most, until its cost is known. It binds where the books do not. */
  private readonly heldUsd = new Map<string, Usd>();
  /** Of these a part comes back by itself: they are asked for, or under way. */
  private readonly underWay = new Set<string>();
  /** Held for later, and not in use. */
  private readonly kept = new Set<string>();
  /**
   * Whether the books count all that was granted for its limit, so that it need not count itself; undefined before anything was. A worker
   * or a database of the version before does not, and neither do answers in old histories: what those count themselves goes on as it was.
   */
  private inBooks: boolean | undefined;

  /** @param limitId Under which `maxCostUsd` stands in the books; null for none. */
  constructor(
    private readonly scope: Pick<BudgetScope, 'maxCostUsd' | 'parentRunId' | 'runId' | 'unavailable'>,
    private limitId: string | null,
  ) {}

  /** What its steps count for in the books. */
  get ref(): RunLimitRef | undefined {
    const { maxCostUsd, parentRunId, runId } = this.scope;
    if (this.limitId === null || (maxCostUsd ?? parentRunId ?? runId) === undefined) return undefined;
    return { id: this.limitId, ...omitUndefined({ limitUsd: maxCostUsd, parentId: parentRunId }) };
  }

  get counted(): Counted {
    const spentUsd = formatUsd(sumUsd(this.heldUsd.values()));
    return { spentUsd, ...omitUndefined({ isInBooks: this.inBooks }) };
  }

  /** Counts for the limit of `limitId` from here on, as if nothing but this had been spent. */
  countFrom(limitId: string, { spentUsd, isInBooks }: Counted): void {
    this.heldUsd.clear();
    this.heldUsd.set('before', parseAmountUsd(spentUsd));
    // One of the version before that has spent something counted it itself.
    this.inBooks = isInBooks ?? (parseAmountUsd(spentUsd) > 0n ? false : undefined);
    if (this.scope.maxCostUsd !== undefined) this.limitId = limitId;
  }

  /** What an attempt has cost, or may cost at most. */
  hold(operationId: string, usd: string): void {
    this.heldUsd.set(operationId, parseAmountUsd(usd));
  }

  /** Its money is in use from here on. */
  begin(operationId: string): void {
    this.kept.delete(operationId);
    this.underWay.add(operationId);
  }

  /** What it held for is over. */
  end(operationId: string): void {
    this.underWay.delete(operationId);
  }

  /** It holds its money for later. */
  keep(operationId: string): void {
    this.end(operationId);
    this.kept.add(operationId);
  }

  /** What is held for later, with what else is kept open (`open`). */
  keptUsd(open: readonly string[]): Usd {
    return this.sumOf(new Set([...this.kept, ...open]));
  }

  private sumOf(operationIds: Iterable<string>): Usd {
    return sumUsd([...operationIds].map((operationId) => this.heldUsd.get(operationId) ?? 0n));
  }

  granted(operationId: string, { grantedUsd, countsForRun }: { grantedUsd: string; countsForRun?: true }): void {
    this.hold(operationId, grantedUsd);
    this.inBooks = countsForRun === true && this.inBooks !== false;
  }

  /** An attempt that costs nothing. */
  drop(operationId: string): void {
    this.heldUsd.delete(operationId);
    this.underWay.delete(operationId);
    this.kept.delete(operationId);
  }

  /**
   * All of a step, of which nothing but this limit makes less: as much as it leaves room for by what was counted here; undefined where that is
   * not even the least. Where the books count more, since others spend of it too, they refuse it.
   */
  whole(step: PaidStep): PaidStep | undefined {
    const { maxCostUsd } = this.scope;
    const { minimumUsd = step.amountUsd, ...whole } = step;
    if (maxCostUsd === undefined) return whole;
    const leftUsd = parseAmountUsd(maxCostUsd) - sumUsd(this.heldUsd.values());
    if (leftUsd < parseAmountUsd(minimumUsd)) return undefined;
    return leftUsd < parseAmountUsd(step.amountUsd) ? { ...whole, amountUsd: formatUsd(leftUsd) } : whole;
  }

  /**
   * The step as the limit leaves room for it where the books do not say, or may not be asked since it may go on without a grant: shrunk to
   * what is left where its minimum allows that, and refused where it does not. `open` is what its workflow keeps open.
   */
  within(step: PaidStep, open: readonly string[]): PaidStep | Refused {
    const { maxCostUsd, unavailable } = this.scope;
    if (maxCostUsd === undefined || (this.inBooks && unavailable?.then !== 'allow')) return step;
    const { amountUsd, minimumUsd = amountUsd, kind } = step;
    const leftUsd = parseAmountUsd(maxCostUsd) - sumUsd(this.heldUsd.values());
    if (parseAmountUsd(amountUsd) <= leftUsd) return step;
    if (parseAmountUsd(minimumUsd) <= leftUsd) return { ...step, amountUsd: formatUsd(leftUsd) };
    const heldUsd = this.sumOf(new Set([...this.underWay, ...this.kept, ...open]));
    const held = heldUsd > 0n ? ` ($${formatUsd(heldUsd)} of it is held)` : '';
    return {
      decision: 'rejected',
      code: 'run_limit_exceeded',
      message: `The next step (${kind}) may cost $${amountUsd}, and $${formatUsd(leftUsd > 0n ? leftUsd : 0n)} is left of the run's own limit of $${maxCostUsd}${held}. It was not made.`,
      leftWithoutHoldsUsd: formatUsd(maxUsd(0n, leftUsd + heldUsd)),
    };
  }
}
