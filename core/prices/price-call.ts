/** The price of a call that was made, whatever its provider reports of it. */
import { formatUsd, type Usd } from '../money';
import { billOf, type Cost, type PriceBook } from './pricing';
import type { ModelPrice } from './prices';
import { savedByCache } from './prompt-cache';
import { checkUsage, UsageError, type ModelUsage } from './usage';

/** What a call that was made cost, or why that cannot be said. */
export type PricedCall =
  | ({ isPriced: true; usage: ModelUsage } & Cost)
  | {
      isPriced: false;
      code: 'invalid_usage' | 'unpriced_usage';
      /** For an operator: what cannot be priced, and why. It quotes nothing of the prompt or the answer. */
      reason: string;
      /** What is known of the usage, for the record: absent where nothing could be read. */
      usage?: ModelUsage;
      /** What the part that can be priced cost: the whole call cost no less, so it is settled at no less. */
      knownUsd: Usd;
    };

/**
 * Prices a call that was made. It never throws for what a provider reports: the answer is paid for and is kept, whatever
 * its usage says. A call that cannot be priced is settled once, `unverified`, at its grant or at `knownUsd` where that
 * is more, and an operator is told the reason.
 * @param read reads the provider's report, such as `usageFromAnthropic`; its UsageError is answered, any other error thrown.
 */
export function priceCall(read: () => ModelUsage, { price, ...book }: PriceBook & { price: ModelPrice }): PricedCall {
  let usage: ModelUsage;
  try {
    usage = read();
    checkUsage(usage);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { code, message: reason, known } = error;
    if (!known) return { isPriced: false, code, reason, knownUsd: 0n };
    return { isPriced: false, code, reason, usage: known, knownUsd: billOf(price, known, book).costUsd };
  }
  const { unpriced, ...cost } = billOf(price, usage, book);
  if (!unpriced) {
    const savedUsd = savedByCache(price, usage, book);
    return {
      isPriced: true,
      usage: savedUsd === 0n ? usage : { ...usage, cacheSavedUsd: formatUsd(savedUsd) },
      ...cost,
    };
  }
  return { isPriced: false, code: unpriced.code, reason: unpriced.message, usage, knownUsd: cost.costUsd };
}
