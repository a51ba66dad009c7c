/** What a call of the AI SDK used, by what its provider reported: read by the same code as the product's own calls. */
import { billingOfRefusal } from '../../core/prices/refusals-anthropic';
import { doubts } from '../../core/prices/doubts';
import type { ModelPrice } from '../../core/prices/prices';
import { openAiRegion } from '../../core/prices/regions-openai';
import { isOpenTier } from '../../core/prices/tiers-openai';
import {
  checkCount,
  isRecord,
  UsageError,
  usageOf,
  type ModelUsage,
  type UsageModifiers,
} from '../../core/prices/usage';
import { usageFromAnthropic } from '../../core/prices/usage-anthropic';
import { usageFromGoogle } from '../../core/prices/usage-google';
import { usageFromOpenAi } from '../../core/prices/usage-openai';
import { usageFromOpenAiEmbeddings } from '../../core/prices/usage-openai-embeddings';
import { usageFromOpenAiChat } from '../../core/prices/usage-openai-chat';

/** What of the request its answer does not repeat. */
export interface AskedTerms {
  cacheWriteTtl?: '5m' | '1h';
  /** The tier that was asked for: a stream's answer does not say which served it. */
  serviceTier?: string | undefined;
  /** Whether one that was left open may have been served by a dearer tier than the standard. */
  defaultTierIsOpen: boolean;
  isRegional: boolean;
}

const recordIn = (value: unknown, name: string): Record<string, unknown> => {
  const found = isRecord(value) ? value[name] : undefined;
  return isRecord(found) ? found : {};
};

/** @throws UsageError for a report that cannot be billed. */
export function usageOfResult(result: unknown, price: ModelPrice, asked: AskedTerms): ModelUsage {
  const usage = recordIn(result, 'usage');
  const body = recordIn(recordIn(result, 'response'), 'body');
  // Whole answers are there as they came; of a stream its reports are.
  const raw = isRecord(body.usage) ? body.usage : usage.raw;
  if (!isRecord(raw)) return usageFromCounts(usage, asked);
  switch (price.provider) {
    case 'anthropic':
      return 'output_tokens' in raw ? fromAnthropic(raw, { result, body, price }) : usageFromCounts(usage, asked);
    case 'openai':
      return fromOpenAi(raw, { usage, result, body, price, asked });
    case 'google':
      return 'promptTokenCount' in raw ? usageFromGoogle(raw) : usageFromCounts(usage, asked);
    default:
      return usageFromCounts(usage, asked);
  }
}

interface Reported {
  result: unknown;
  body: Record<string, unknown>;
  price: ModelPrice;
}

/** A refusal before any output is billed, or not, by its category. */
function fromAnthropic(raw: Record<string, unknown>, { result, body, price }: Reported): ModelUsage {
  const { content } = isRecord(result) ? result : {};
  const isRefusal =
    recordIn(result, 'finishReason').raw === 'refusal' && Array.isArray(content) && content.length === 0;
  const { stop_details: details } = body;
  const category = isRecord(details) ? (details.category as string | null | undefined) : undefined;
  const billing = isRefusal ? billingOfRefusal(category) : 'billed';
  if (billing === 'not_billed') return usageOf();
  const read = usageFromAnthropic(raw, price.model);
  if (billing === 'unknown') throw new UsageError(doubts.unknownRefusal, read);
  return read;
}

function fromOpenAi(
  raw: Record<string, unknown>,
  { usage, result, body, price, asked }: Reported & { usage: Record<string, unknown>; asked: AskedTerms },
): ModelUsage {
  const said = body.service_tier ?? recordIn(recordIn(result, 'providerMetadata'), 'openai').serviceTier;
  const { warnings } = isRecord(result) ? result : {};
  // Its provider leaves out what a model does not have.
  const isLeftOut = (Array.isArray(warnings) ? (warnings as unknown[]) : []).some(
    (warning) => isRecord(warning) && warning.feature === 'serviceTier',
  );
  const serviceTier = typeof said === 'string' ? said : isLeftOut ? undefined : asked.serviceTier;
  const details = {
    billsCacheWrites: price.rates.cacheWrite5mUsd !== undefined,
    serviceTier,
    ...(asked.isRegional ? { inferenceGeo: openAiRegion } : {}),
  };
  const read =
    'completion_tokens' in raw
      ? usageFromOpenAiChat(raw, details)
      : 'output_tokens' in raw
        ? usageFromOpenAi(raw, { ...details, output: body.output })
        : usageFromCounts(usage, asked);
  const isStream = !isRecord(body.usage);
  if (asked.defaultTierIsOpen && isStream && isOpenTier(serviceTier)) throw new UsageError(openTier, read);
  return read;
}

const openTier =
  "A stream does not say which tier served it, and its request named none: name serviceTier, or say that the project has the standard one (openAiServiceTier: 'default').";

/** The AI SDK's own counts, of a provider whose report is not known here. */
function usageFromCounts(usage: Record<string, unknown>, { cacheWriteTtl }: AskedTerms): ModelUsage {
  const input = recordIn(usage, 'inputTokens');
  const cacheReadTokens = checkCount(input.cacheRead ?? 0, 'inputTokens.cacheRead');
  const written = checkCount(input.cacheWrite ?? 0, 'inputTokens.cacheWrite');
  const total = checkCount(input.total, 'inputTokens.total');
  return usageOf({
    inputTokens: checkCount(total - cacheReadTokens - written, 'inputTokens.noCache'),
    outputTokens: checkCount(recordIn(usage, 'outputTokens').total, 'outputTokens.total'),
    cacheReadTokens,
    ...(cacheWriteTtl === '1h' ? { cacheWrite1hTokens: written } : { cacheWrite5mTokens: written }),
  });
}

/** Of an embedding: what was read, and nothing written. @throws UsageError */
export function usageOfEmbedding(result: unknown, price: ModelPrice, region: UsageModifiers): ModelUsage {
  const { usage: raw } = recordIn(recordIn(result, 'response'), 'body');
  if (price.provider === 'openai' && isRecord(raw)) return usageFromOpenAiEmbeddings(raw, region);
  return usageOf({ inputTokens: checkCount(recordIn(result, 'usage').tokens, 'usage.tokens'), modifiers: region });
}
