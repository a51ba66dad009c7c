/** What of a request of OpenAI's changes its price beside its tokens: the tier that it asks for, how long it has its prompt kept, and where its address is. */
import type { PlannedCall } from '../../../core/prices/pricing';
import type { ModelPrice } from '../../../core/prices/prices';
import { isRegionalOpenAi, openAiRegion } from '../../../core/prices/regions-openai';
import { openAiTierOf } from '../../../core/prices/tiers-openai';
import { isRecord, type UsageModifiers } from '../../../core/prices/usage';
import type { ModelAccount } from '../../../temporal/model-accounts';
import { lookInside, unbounded } from '../unbounded';

/** The region that calls to an address are billed in. */
export const regionOf = ({ baseURL }: Pick<ModelAccount, 'baseURL'>): Pick<UsageModifiers, 'inferenceGeo'> =>
  isRegionalOpenAi(baseURL) ? { inferenceGeo: openAiRegion } : {};

/** The lifetime of caches whose writing prices have a rate for: OpenAI bills more for a longer one, and does not report which it was. */
const cacheTtl = '30m';
/** Where one is said: of the whole prompt, and of a part of it. */
const cacheFields = ['prompt_cache_options', 'prompt_cache_breakpoint'] as const;

/** What of a request changes its price beside its tokens. @throws ApiError for a lifetime of caches that has no price. */
export function plannedOf(
  body: Record<string, unknown>,
  price: ModelPrice,
  account: ModelAccount,
): Pick<PlannedCall, 'modifiers' | 'openFactor'> {
  // A part of the prompt may have a lifetime of its own.
  lookInside(body, (inside) => {
    for (const field of cacheFields) {
      const { [field]: caches } = inside;
      if (isRecord(caches) && caches.ttl != null && caches.ttl !== cacheTtl)
        throw unbounded(`${field}.ttl other than "${cacheTtl}"`);
    }
  });
  const planned = openAiTierOf(body.service_tier, price, { defaultIsStandard: account.serviceTier === 'default' });
  return { ...planned, modifiers: { ...planned.modifiers, ...regionOf(account) } };
}
