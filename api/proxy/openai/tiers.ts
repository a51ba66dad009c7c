/** What of a request of OpenAI's changes its price beside its tokens: the tier that it asks for, and where its address is. */
import { dearestModifiers } from '../../../core/prices/pricing';
import type { ModelPrice } from '../../../core/prices/prices';
import { isRegionalOpenAi, openAiRegion } from '../../../core/prices/regions-openai';
import type { UsageModifiers } from '../../../core/prices/usage';
import type { ModelAccount } from '../../../temporal/model-accounts';
import { saidIn } from '../unbounded';

/** The region that calls to an address are billed in. */
export const regionOf = ({ baseURL }: Pick<ModelAccount, 'baseURL'>): Pick<UsageModifiers, 'inferenceGeo'> =>
  isRegionalOpenAi(baseURL) ? { inferenceGeo: openAiRegion } : {};

/** What is left open follows the project's default, at its price. */
export function modifiersOf(
  { service_tier: tier }: Record<string, unknown>,
  price: ModelPrice,
  account: ModelAccount,
): UsageModifiers {
  const isOpen = tier == null || tier === 'auto';
  return {
    ...(isOpen ? dearestModifiers(price, 'serviceTier') : tier === 'default' ? {} : { serviceTier: saidIn(tier) }),
    ...regionOf(account),
  };
}
