/** What of a request of OpenAI's changes its price beside its tokens: the tier that it asks for, and where its address is. */
import { dearestModifiers, type PlannedCall } from '../../../core/prices/pricing';
import type { ModelPrice } from '../../../core/prices/prices';
import { isRegionalOpenAi, openAiRegion } from '../../../core/prices/regions-openai';
import type { UsageModifiers } from '../../../core/prices/usage';
import type { ModelAccount } from '../../../temporal/model-accounts';
import { saidIn } from '../unbounded';

/** The region that calls to an address are billed in. */
export const regionOf = ({ baseURL }: Pick<ModelAccount, 'baseURL'>): Pick<UsageModifiers, 'inferenceGeo'> =>
  isRegionalOpenAi(baseURL) ? { inferenceGeo: openAiRegion } : {};

/**
 * The dearest that a project's default can be where its price does not say: priority processing of GPT-5.5 costs 2.5 times the standard, of
 * other models 1.7 to 2 times (OpenAI's pricing page, as of 2026-06-04).
 */
const openTierFactor = { numerator: 5n, denominator: 2n };

/** What is left open follows the project's default, at its price, unless whoever runs this says that it is the standard. */
export function plannedOf(
  { service_tier: tier }: Record<string, unknown>,
  price: ModelPrice,
  account: ModelAccount,
): Pick<PlannedCall, 'modifiers' | 'openFactor'> {
  const region = regionOf(account);
  const isOpen = (tier == null || tier === 'auto') && account.serviceTier !== 'default';
  if (!isOpen) {
    const isStandard = tier == null || tier === 'auto' || tier === 'default';
    return { modifiers: { ...(isStandard ? {} : { serviceTier: saidIn(tier) }), ...region } };
  }
  if (!Object.hasOwn(price.multipliers.serviceTier, 'priority'))
    return { modifiers: region, openFactor: openTierFactor };
  return { modifiers: { ...dearestModifiers(price, 'serviceTier'), ...region } };
}
