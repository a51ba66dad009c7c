/** What of a request of OpenAI's changes its price beside its tokens: the tier that it asks for, and where its address is. */
import type { PlannedCall } from '../../../core/prices/pricing';
import type { ModelPrice } from '../../../core/prices/prices';
import { isRegionalOpenAi, openAiRegion } from '../../../core/prices/regions-openai';
import { openAiTierOf } from '../../../core/prices/tiers-openai';
import type { UsageModifiers } from '../../../core/prices/usage';
import type { ModelAccount } from '../../../temporal/model-accounts';

/** The region that calls to an address are billed in. */
export const regionOf = ({ baseURL }: Pick<ModelAccount, 'baseURL'>): Pick<UsageModifiers, 'inferenceGeo'> =>
  isRegionalOpenAi(baseURL) ? { inferenceGeo: openAiRegion } : {};

/** Both together. */
export function plannedOf(
  { service_tier: tier }: Record<string, unknown>,
  price: ModelPrice,
  account: ModelAccount,
): Pick<PlannedCall, 'modifiers' | 'openFactor'> {
  const planned = openAiTierOf(tier, price, { defaultIsStandard: account.serviceTier === 'default' });
  return { ...planned, modifiers: { ...planned.modifiers, ...regionOf(account) } };
}
