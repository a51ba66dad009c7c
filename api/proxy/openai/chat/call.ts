/** A call of OpenAI's Chat Completions API, as the proxy passes it on. */
import { usageFromOpenAiChat } from '../../../../core/prices/usage-openai-chat';
import type { CallWire } from '../../wire';
import { detailsOf } from '../errors';
import { regionOf } from '../tiers';
import { askedOf } from './ask';
import { countOf } from './count';
import { ChatStreamReader, wholeChatReader, type BilledChat } from './reader';

export const chatCall: CallWire = {
  modelOf: ({ model }) => model,
  ask: askedOf,
  countOf,
  reader: (isStream) => (isStream ? new ChatStreamReader() : wholeChatReader()),
  usageOf({ usage }, price, account) {
    const { usage: counts, service_tier: serviceTier } = usage as BilledChat;
    const billsCacheWrites = price.rates.cacheWrite5mUsd !== undefined;
    return usageFromOpenAiChat(counts, { billsCacheWrites, serviceTier, ...regionOf(account) });
  },
  errorEvent: (failed) => `data: ${JSON.stringify({ error: detailsOf(failed) })}\n\n`,
};
