/** Reads the usage that OpenAI reports of embeddings. */
import { isRecord, type ModelUsage } from './usage';
import { usageFromOpenAi, type OpenAiDetails } from './usage-openai';

/**
 * Nothing but a prompt: `total_tokens` says the same once more. There are no caches and no tiers.
 * @throws UsageError as {@link usageFromOpenAi}.
 */
export function usageFromOpenAiEmbeddings(
  raw: unknown,
  { inferenceGeo }: Pick<OpenAiDetails, 'inferenceGeo'>,
): ModelUsage {
  const { prompt_tokens: tokens, total_tokens: total }: Record<string, unknown> = isRecord(raw) ? raw : {};
  const usage = { input_tokens: tokens, output_tokens: 0, total_tokens: total };
  return usageFromOpenAi(usage, { billsCacheWrites: false, inferenceGeo });
}
