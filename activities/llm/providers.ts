/** The providers of models that there is a key for. */
import { anthropicProvider, type AnthropicAccount } from './anthropic';
import { googleProvider } from './google';
import type { ModelProvider, ModelProviders } from './model-provider';
import { openAiProvider } from './openai';

const makers: Record<'anthropic' | 'openai' | 'google', (account: AnthropicAccount) => ModelProvider> = {
  anthropic: anthropicProvider,
  openai: openAiProvider,
  google: googleProvider,
};

/** By the name that prices use. */
export const modelProviders = (accounts: Partial<Record<keyof typeof makers, AnthropicAccount>>): ModelProviders =>
  Object.fromEntries(
    Object.entries(accounts).map(([name, account]) => [name, makers[name as keyof typeof makers](account)]),
  );
