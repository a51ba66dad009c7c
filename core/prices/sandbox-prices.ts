/** What a sandbox costs: by the second, for what is allocated. */
import { divideRoundUp, USD_DECIMALS, type Usd } from '../money';
import { latestAt, momentMs, parseRate } from './prices';

/** What a sandbox is made of, and billed for while it runs. */
export interface SandboxShape {
  vcpu: number;
  memoryMib: number;
}

/** One version of the price of one sandbox tier. */
export interface SandboxPrice extends SandboxShape {
  priceVersion: string;
  provider: string;
  tier: string;
  effectiveFromMs: number;
  vcpuSecondUsd: Usd;
  gibSecondUsd: Usd;
  notes: string;
  source: string;
}

/** A row of `copilot_internal.sandbox_prices`. */
export interface SandboxPriceRow {
  price_version: string;
  provider: string;
  tier: string;
  vcpu: number;
  memory_mib: number;
  effective_from: Date | string;
  vcpu_second_usd: string;
  gib_second_usd: string;
  notes: string;
  source: string;
}

/** There is no price for a sandbox of that tier or shape. The sandbox is not created. */
export class UnpricedSandboxError extends Error {
  override readonly name = 'UnpricedSandboxError';
  readonly code = 'unpriced_sandbox';
  constructor(wanted: string, priced: readonly string[]) {
    super(
      `There is no price for ${wanted}. No sandbox was created and nothing was reserved. ` +
        `${priced.length === 0 ? 'No tier is priced yet' : `Priced tiers are ${priced.join(', ')}`}. To use another, add its ` +
        'price with `npx spendlock prices set-sandbox`; docs/prices.md shows how.',
    );
  }
}

const mibPerGib = 1024n;

/** Reads a price from its row. @throws PriceError when an amount or a moment is none. */
export function sandboxPriceFromRow(row: SandboxPriceRow): SandboxPrice {
  const context = `The price ${row.price_version}`;
  return {
    priceVersion: row.price_version,
    provider: row.provider,
    tier: row.tier,
    vcpu: row.vcpu,
    memoryMib: row.memory_mib,
    effectiveFromMs: momentMs(row.effective_from, context),
    vcpuSecondUsd: parseRate(row.vcpu_second_usd, { context, decimals: USD_DECIMALS }),
    gibSecondUsd: parseRate(row.gib_second_usd, { context, decimals: USD_DECIMALS }),
    notes: row.notes,
    source: row.source,
  };
}

/**
 * The price at a moment of a tier by name, or of the shape that a sandbox turned out to have.
 * @throws UnpricedSandboxError when there is none.
 */
export function findSandboxPrice(
  prices: readonly SandboxPrice[],
  wanted: ({ tier: string } | SandboxShape) & { at: Date | number },
): SandboxPrice {
  const matches = prices.filter((price) =>
    'tier' in wanted ? price.tier === wanted.tier : price.vcpu === wanted.vcpu && price.memoryMib === wanted.memoryMib,
  );
  const found = latestAt(matches, wanted.at);
  if (found !== undefined) return found;
  const name =
    'tier' in wanted
      ? `the sandbox tier ${JSON.stringify(wanted.tier)}`
      : `a sandbox of ${wanted.vcpu} vCPU and ${wanted.memoryMib} MiB`;
  throw new UnpricedSandboxError(name, [...new Set(prices.map((price) => price.tier))]);
}

/**
 * What a sandbox costs that ran for a time. Allocated vCPU and memory are billed by the second, so a begun second
 * counts whole; a fraction of a pico-dollar, possible for memory that is no whole GiB, rounds up.
 * @throws RangeError when `seconds` is negative or no number.
 */
export function costOfSandbox(price: SandboxPrice, { seconds }: { seconds: number }): Usd {
  if (!Number.isFinite(seconds) || seconds < 0) {
    throw new RangeError(`A sandbox runs for 0 seconds or more, not for ${seconds}; nothing was charged.`);
  }
  const wholeSeconds = BigInt(Math.ceil(seconds));
  const vcpuUsd = BigInt(price.vcpu) * price.vcpuSecondUsd * wholeSeconds;
  const memoryUsd = divideRoundUp({
    dividend: BigInt(price.memoryMib) * price.gibSecondUsd * wholeSeconds,
    divisor: mibPerGib,
  });
  return vcpuUsd + memoryUsd;
}

/** What a sandbox costs at most in a window of `seconds`, at whose end its provider stops it. It may end earlier. */
export const estimateSandbox = (price: SandboxPrice, window: { seconds: number }): Usd => costOfSandbox(price, window);
