/**
 * How many tokens of context a model takes, by its exact name. Sources: Anthropic's and OpenAI's model pages and Google's
 * Gemini model pages, as of 2026-07-30. A model that is not listed is taken to have 128,000, which each priced one has at least,
 * `gpt-3.5-turbo` apart; a run can name another figure.
 */
const windows: Readonly<Record<string, number>> = {
  'claude-3-haiku-20240307': 200_000,
  'claude-3-opus-20240229': 200_000,
  'claude-3-5-haiku-20241022': 200_000,
  'claude-3-5-sonnet-20241022': 200_000,
  'claude-3-7-sonnet-20250219': 200_000,
  'claude-sonnet-4-20250514': 200_000,
  'claude-opus-4-20250514': 200_000,
  'claude-haiku-4-5': 200_000,
  'claude-sonnet-4-5': 200_000,
  'claude-opus-4-5': 200_000,
  'gpt-3.5-turbo': 16_385,
  'gpt-4.1': 1_047_576,
  'gpt-4.1-mini': 1_047_576,
  'gpt-4.1-nano': 1_047_576,
  o1: 200_000,
  o3: 200_000,
  'o3-mini': 200_000,
  'o3-pro': 200_000,
  'o4-mini': 200_000,
  'gpt-5': 400_000,
  'gpt-5-mini': 400_000,
  'gpt-5-nano': 400_000,
  'gpt-5-pro': 400_000,
  'gpt-5.1': 400_000,
  'gpt-5.2': 400_000,
  'gemini-2.0-flash': 1_048_576,
  'gemini-2.0-flash-lite': 1_048_576,
  'gemini-2.5-pro': 1_048_576,
  'gemini-2.5-flash': 1_048_576,
  'gemini-2.5-flash-lite': 1_048_576,
};

const windowTokensDefault = 128_000;

/** Tokens of prompt and answer that a model takes together. */
export const contextWindowTokens = (model: string): number =>
  Object.hasOwn(windows, model) ? (windows[model] ?? windowTokensDefault) : windowTokensDefault;
