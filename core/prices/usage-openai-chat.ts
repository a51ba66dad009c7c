/** Reads the usage that OpenAI reports of a chat completion. */
import { checkCount, isRecord, type ModelUsage } from './usage';
import { usageFromOpenAi, type OpenAiDetails } from './usage-openai';

/**
 * The same counts as of a response, under the names of before. `completion_tokens` has all choices in it. Tokens of sound are billed at
 * rates of their own, which no price has.
 * @throws UsageError as {@link usageFromOpenAi}.
 */
export function usageFromOpenAiChat(raw: unknown, details: Omit<OpenAiDetails, 'output'>): ModelUsage {
  const usage: Record<string, unknown> = isRecord(raw) ? raw : {};
  const { prompt_tokens_details: prompt, completion_tokens_details: completion } = usage;
  const read = usageFromOpenAi(
    {
      input_tokens: checkCount(usage.prompt_tokens, 'usage.prompt_tokens'),
      input_tokens_details: prompt,
      output_tokens: checkCount(usage.completion_tokens, 'usage.completion_tokens'),
      output_tokens_details: completion,
      total_tokens: usage.total_tokens,
    },
    details,
  );
  const sounds = { audio_input: soundIn(prompt), audio_output: soundIn(completion) };
  const otherTools = Object.fromEntries(Object.entries(sounds).filter(([, tokens]) => tokens > 0));
  return Object.keys(otherTools).length === 0 ? read : { ...read, otherTools };
}

const soundIn = (details: unknown): number =>
  checkCount((isRecord(details) ? details.audio_tokens : undefined) ?? 0, 'audio_tokens');
