/** Stand-ins for paid services: the real wire format, spoken to the real SDKs, with scripted content. */
export { startAnthropicStandIn, type AnthropicStandIn } from './anthropic';
export { DEMO_FILE, DEMO_TASK } from './script';
export { startGoogleStandIn, type GoogleStandIn } from './google';
export { startOpenAiStandIn, type OpenAiStandIn } from './openai';
export { startE2bStandIn, type E2bStandIn } from './e2b';
export type { ModelKnobs } from './knobs';
