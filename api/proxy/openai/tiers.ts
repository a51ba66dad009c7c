/** What of a request of OpenAI's changes its price beside its tokens: the tier that it asks for, how long it has its prompt kept, and where its address is. */
import type { PlannedCall } from '../../../core/prices/pricing';
import type { ModelPrice } from '../../../core/prices/prices';
import { isRegionalOpenAi, openAiRegion } from '../../../core/prices/regions-openai';
import { openAiTierOf } from '../../../core/prices/tiers-openai';
import { isRecord, type UsageModifiers } from '../../../core/prices/usage';
import type { ModelAccount } from '../../../temporal/model-accounts';
import { unbounded } from '../unbounded';

/** The region that calls to an address are billed in. */
export const regionOf = ({ baseURL }: Pick<ModelAccount, 'baseURL'>): Pick<UsageModifiers, 'inferenceGeo'> =>
  isRegionalOpenAi(baseURL) ? { inferenceGeo: openAiRegion } : {};

/** The lifetime of caches whose writing prices have a rate for: OpenAI bills more for a longer one, and does not report which it was. */
const cacheTtl = '30m';

/** All of it. @throws ApiError for a lifetime of caches that has no price. */
export function plannedOf(
  { service_tier: tier, prompt_cache_options: caches }: Record<string, unknown>,
  price: ModelPrice,
  account: ModelAccount,
): Pick<PlannedCall, 'modifiers' | 'openFactor'> {
  if (isRecord(caches) && caches.ttl != null && caches.ttl !== cacheTtl)
    throw unbounded(`prompt_cache_options.ttl other than "${cacheTtl}"`);
  const planned = openAiTierOf(tier, price, { defaultIsStandard: account.serviceTier === 'default' });
  return { ...planned, modifiers: { ...planned.modifiers, ...regionOf(account) } };
}
