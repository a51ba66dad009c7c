/** The tier that a request of OpenAI's asks for, as far as that bounds its price. */
import { dearestModifiers, type PlannedCall } from './pricing';
import type { ModelPrice } from './prices';

/**
 * The dearest that a project's default can be where its price does not say: priority processing of GPT-5.5 costs 2.5 times the standard, of
 * other models 1.7 to 2 times (OpenAI's pricing page, as of 2026-06-04).
 */
const openTierFactor = { numerator: 5n, denominator: 2n };

/** Whether a request leaves its tier to its project's default. */
export const isOpenTier = (tier: unknown): boolean => tier === undefined || tier === null || tier === 'auto';

/** What is left open follows the project's default, at its price, unless whoever runs this says that it is the standard. */
export function openAiTierOf(
  tier: unknown,
  price: ModelPrice,
  { defaultIsStandard }: { defaultIsStandard: boolean },
): Pick<PlannedCall, 'modifiers' | 'openFactor'> {
  const isOpen = isOpenTier(tier);
  if (tier === 'default' || (isOpen && defaultIsStandard)) return { modifiers: {} };
  if (!isOpen) return { modifiers: { serviceTier: typeof tier === 'string' ? tier : JSON.stringify(tier) } };
  return Object.hasOwn(price.multipliers.serviceTier, 'priority')
    ? { modifiers: dearestModifiers(price, 'serviceTier') }
    : { modifiers: {}, openFactor: openTierFactor };
}
