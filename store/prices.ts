/**
 * The price tables, read whole and anew for each use: they are small, and a price that was just added counts at once. A
 * price is never changed, only superseded.
 */
import type { Operator } from './operator';
import { modelPriceFromRow, type ModelPrice, type ModelPriceRow, type Multipliers } from '../core/prices/prices';
import { sandboxPriceFromRow, type SandboxPrice, type SandboxPriceRow } from '../core/prices/sandbox-prices';
import type { Pool } from './pool';

export interface PriceList {
  models: readonly ModelPrice[];
  sandboxes: readonly SandboxPrice[];
}

/** Every version of every price. @throws PriceError when a stored price cannot be used. */
export async function readPrices(pool: Pool): Promise<PriceList> {
  const [models, sandboxes] = await Promise.all([
    pool.query<ModelPriceRow>('SELECT *, source_date::text AS source_date FROM copilot_internal.model_prices'),
    pool.query<SandboxPriceRow>('SELECT * FROM copilot_internal.sandbox_prices'),
  ]);
  return { models: models.rows.map(modelPriceFromRow), sandboxes: sandboxes.rows.map(sandboxPriceFromRow) };
}

/** The rates of a price as decimal strings, US dollars per million tokens. What is absent or null has no rate. */
export interface RateTexts {
  inputUsd: string;
  outputUsd: string;
  cacheReadUsd?: string | null | undefined;
  cacheWrite5mUsd?: string | null | undefined;
  cacheWrite1hUsd?: string | null | undefined;
}

/** One version of one model's price, to be added. */
export interface NewModelPrice extends RateTexts {
  provider: string;
  model: string;
  effectiveFrom: Date;
  longContext?: (RateTexts & { thresholdTokens: number }) | null | undefined;
  webSearchPerThousandUsd?: string | null | undefined;
  /** Decimal strings by what the request chose. */
  multipliers?: { [K in keyof Multipliers]?: Record<string, string> | undefined } | undefined;
  notes?: string | undefined;
  source: string;
  /** `YYYY-MM-DD` */
  sourceDate: string;
}

/** A day when it begins at midnight in UTC, else the moment. */
const versionOf = ({
  provider,
  model,
  effectiveFrom,
}: Pick<NewModelPrice, 'provider' | 'model' | 'effectiveFrom'>): string =>
  `${provider}/${model}@${effectiveFrom.toISOString().replace('T00:00:00.000Z', '')}`;

/** One version of one sandbox tier's price, to be added. Amounts are decimal strings for each second. */
export interface NewSandboxPrice {
  provider: string;
  tier: string;
  vcpu: number;
  memoryMib: number;
  effectiveFrom: Date;
  vcpuSecondUsd: string;
  gibSecondUsd: string;
  notes?: string | undefined;
  source: string;
  /** `YYYY-MM-DD` */
  sourceDate: string;
}

/** Adds a version of a tier's price with an audit entry, and names it. */
export async function addSandboxPrice(
  pool: Pool,
  { price, by }: { price: NewSandboxPrice; by: Operator },
): Promise<string> {
  const { provider, tier, effectiveFrom } = price;
  const priceVersion = versionOf({ provider, model: tier, effectiveFrom });
  const row = {
    price_version: priceVersion,
    provider,
    tier,
    vcpu: price.vcpu,
    memory_mib: price.memoryMib,
    effective_from: effectiveFrom.toISOString(),
    vcpu_second_usd: price.vcpuSecondUsd,
    gib_second_usd: price.gibSecondUsd,
    notes: price.notes,
    source: price.source,
    source_date: price.sourceDate,
  };
  await pool.query('SELECT copilot_internal.add_sandbox_price($1, $2, $3)', [
    JSON.stringify(row),
    by.apiKeyId ?? null,
    by.author,
  ]);
  return priceVersion;
}

/** Adds price versions with an audit entry, all or none, and names them. */
export async function addModelPrices(
  pool: Pool,
  { prices, by }: { prices: readonly NewModelPrice[]; by: Operator },
): Promise<string[]> {
  const rows = prices.map(rowOf);
  await pool.query('SELECT copilot_internal.add_model_prices($1, $2, $3)', [
    JSON.stringify(rows),
    by.apiKeyId ?? null,
    by.author,
  ]);
  return rows.map((row) => row.price_version);
}

const rowOf = (price: NewModelPrice) => ({
  price_version: versionOf(price),
  provider: price.provider,
  model: price.model,
  effective_from: price.effectiveFrom.toISOString(),
  ...columnsOf(price, ''),
  long_context_threshold_tokens: price.longContext?.thresholdTokens,
  ...(price.longContext ? columnsOf(price.longContext, 'long_context_') : {}),
  web_search_usd_per_thousand: price.webSearchPerThousandUsd,
  multipliers: price.multipliers,
  notes: price.notes,
  source: price.source,
  source_date: price.sourceDate,
});

/** The price as it would be read, of one that is not added. @throws PriceError where it cannot be used. */
export const modelPriceOf = (price: NewModelPrice): ModelPrice =>
  modelPriceFromRow({
    ...columnsOf({ inputUsd: '', outputUsd: '' }, 'long_context_'),
    ...Object.fromEntries(Object.entries(rowOf(price)).map(([column, value]) => [column, value ?? null])),
  } as unknown as ModelPriceRow);

const columnsOf = (rates: RateTexts, prefix: string): Record<string, string | null | undefined> => ({
  [`${prefix}input_usd_per_mtok`]: rates.inputUsd,
  [`${prefix}output_usd_per_mtok`]: rates.outputUsd,
  [`${prefix}cache_read_usd_per_mtok`]: rates.cacheReadUsd,
  [`${prefix}cache_write_5m_usd_per_mtok`]: rates.cacheWrite5mUsd,
  [`${prefix}cache_write_1h_usd_per_mtok`]: rates.cacheWrite1hUsd,
});
