/** What recorded usage would have cost by other prices, model by model. Estimates, and so decisions, are not made anew: what was asked for stays. */
import type { Usd } from '../money';
import { billOf } from './pricing';
import type { ModelPrice } from './prices';
import { UsageError, type ModelUsage } from './usage';

/** What an operation cost, and what it used. */
export interface UsedCall {
  resource: string;
  model: string | null;
  costUsd: Usd;
  /** As it stands on record, which may be as whoever made the call told it; absent where there is none, or none of the whole. */
  usage?: unknown;
}

interface Sums {
  operations: number;
  recordedUsd: Usd;
}

export class Repricing {
  readonly byModel = new Map<string, Sums & { wouldCostUsd: Usd }>();
  /** What could not be priced anew, by why: it stays at what it cost. */
  readonly leftOut = new Map<string, Sums>();
  private readonly byName: ReadonlyMap<string, ModelPrice>;

  /** @param prices one of each model. */
  constructor(private readonly prices: readonly ModelPrice[]) {
    this.byName = new Map(prices.map((price) => [price.model, price]));
  }

  add({ resource, model, costUsd, usage }: UsedCall): void {
    const priced = resource === 'llm' && model !== null ? this.priced(model, usage) : 'no model';
    if (typeof priced === 'string') {
      const sums = this.leftOut.get(priced) ?? { operations: 0, recordedUsd: 0n };
      this.leftOut.set(priced, { operations: sums.operations + 1, recordedUsd: sums.recordedUsd + costUsd });
      return;
    }
    const name = model ?? '';
    const sums = this.byModel.get(name) ?? { operations: 0, recordedUsd: 0n, wouldCostUsd: 0n };
    this.byModel.set(name, {
      operations: sums.operations + 1,
      recordedUsd: sums.recordedUsd + costUsd,
      wouldCostUsd: sums.wouldCostUsd + priced,
    });
  }

  /** What it would have cost, or why nobody can say. */
  private priced(model: string, usage: unknown): Usd | string {
    const price = this.byName.get(model);
    if (!price) return 'no price in the list';
    if (!isWhole(usage)) return 'no whole usage on record';
    try {
      const { costUsd, unpriced } = billOf(price, usage, { prices: this.prices, at: price.effectiveFromMs });
      return unpriced ? 'no rate for what was used' : costUsd;
    } catch (error) {
      if (error instanceof UsageError) return 'no whole usage on record';
      throw error;
    }
  }
}

/** Whether it has the form of what our own calls keep; what is counted in it is checked where it is priced. */
function isWhole(usage: unknown): usage is ModelUsage {
  const { compactions, modifiers, otherModels = [] } = (usage ?? {}) as Record<keyof ModelUsage, unknown>;
  const lists = [compactions, otherModels];
  return typeof modifiers === 'object' && modifiers !== null && lists.every(isListOfObjects);
}

const isListOfObjects = (list: unknown): boolean =>
  Array.isArray(list) && list.every((one) => typeof one === 'object' && one !== null);
