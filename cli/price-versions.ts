/** The versions of prices as a change has to see them: what holds when it begins to hold, and what comes after it. */
import type { PriceView } from '../client';
import { client } from './api';

export interface PriceVersions {
  /** The version of a model whose rates a change keeps where it names none. */
  current(model: string): PriceView | undefined;
  /** Versions of these models that were announced for later, and will hold in place of the change. */
  announced(models: readonly string[]): PriceView[];
}

/** @param from when the change begins to hold; now, by the clock of the API, when absent. */
export async function priceVersionsAt(from: string | undefined): Promise<PriceVersions> {
  const { prices: all } = await client().prices.list({ all: true });
  const { prices: inForce } = await client().prices.list();
  const fromMs = from === undefined ? -Infinity : Date.parse(from);
  const begun = [...inForce, ...all.filter((price) => beginOf(price) <= fromMs)];
  const current = (model: string): PriceView | undefined =>
    begun
      .filter((price) => price.model === model)
      .sort((one, other) => beginOf(one) - beginOf(other))
      .at(-1);
  return {
    current,
    announced: (models) =>
      models.flatMap((model) => {
        const held = current(model);
        const afterMs = Math.max(fromMs, held ? beginOf(held) : -Infinity);
        return all.filter((price) => price.model === model && beginOf(price) > afterMs);
      }),
  };
}

const beginOf = ({ effectiveFrom }: PriceView): number => Date.parse(effectiveFrom);
