/** How OpenAI caches prompts: by itself from 1,024 tokens on, in pieces of 128, in the same place for the same `prompt_cache_key`. */
import type { CacheCounts, CacheRule } from './prompt-cache';

/** From GPT-5.6 on it tells, and bills, what it wrote. */
const tellsWrites = /^gpt-(5[.]([6-9]|[1-9][0-9])|[6-9])/;

export const openAiCacheRule = (model: string, { key, blocks }: { key: unknown; blocks: unknown[] }): CacheRule => ({
  blocks: blocks.map((value) => ({ value })),
  key: [model, key],
  minimumTokens: 1_024,
  stepTokens: 128,
});

export const openAiCacheDetails = (model: string, { read, written5m }: CacheCounts): Record<string, number> => ({
  cached_tokens: read,
  cache_write_tokens: tellsWrites.test(model) ? written5m : 0,
});
