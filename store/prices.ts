/**
 * The price tables, read whole and anew for each use: they are small, and a price that was just added counts at once. A
 * price is never changed, only superseded.
 */
import { modelPriceFromRow, type ModelPrice, type ModelPriceRow } from '../core/prices';
import { sandboxPriceFromRow, type SandboxPrice, type SandboxPriceRow } from '../core/sandbox-prices';
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
