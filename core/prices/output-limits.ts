/**
 * How many tokens an answer has at most where its request names no limit, by the exact name of its model, thoughts among them. It is what
 * a model can do and no part of a price, which changes without it. Sources: "max output tokens" of OpenAI's model pages and "output token
 * limit" of Google's, as the public list models.dev had them on 2026-07-02. Whether thoughts of Gemini are within that limit its pages do not
 * say, so that the largest budget that they have for them is added. A model that is not listed has no bound of its own; Anthropic takes no
 * request without a limit.
 */
const geminiThoughts = 32_768;

const limits: Readonly<Record<string, number>> = {
  'gpt-3.5-turbo': 4_096,
  'gpt-4-turbo': 4_096,
  'gpt-4o': 16_384,
  'gpt-4o-2024-08-06': 16_384,
  'gpt-4o-2024-11-20': 16_384,
  'gpt-4o-mini': 16_384,
  'gpt-4.1': 32_768,
  'gpt-4.1-mini': 32_768,
  'gpt-4.1-nano': 32_768,
  o1: 100_000,
  o3: 100_000,
  'o3-mini': 100_000,
  'o3-pro': 100_000,
  'o4-mini': 100_000,
  'gpt-5': 128_000,
  'gpt-5-mini': 128_000,
  'gpt-5-nano': 128_000,
  'gpt-5-pro': 272_000,
  'gpt-5.1': 128_000,
  'gpt-5.2': 128_000,
  'gpt-5.2-pro': 128_000,
  'gpt-5.4': 128_000,
  'gpt-5.4-mini': 128_000,
  'gpt-5.4-nano': 128_000,
  'gpt-5.5': 128_000,
  'gemini-2.0-flash': 8_192,
  'gemini-2.0-flash-lite': 8_192,
  'gemini-2.5-pro': 65_536 + geminiThoughts,
  'gemini-2.5-flash': 65_536 + geminiThoughts,
  'gemini-2.5-flash-lite': 65_536 + geminiThoughts,
  'gemini-3-pro-preview': 65_536 + geminiThoughts,
  'gemini-3-flash-preview': 65_536 + geminiThoughts,
  'gemini-3.1-pro-preview': 65_536 + geminiThoughts,
  'gemini-3.1-flash-lite': 65_536 + geminiThoughts,
  'gemini-3.5-flash': 65_536 + geminiThoughts,
};

/** Undefined where no source says so. */
export const outputTokensMax = (model: string): number | undefined =>
  Object.hasOwn(limits, model) ? limits[model] : undefined;
