/** The stand-ins of a start: one for each service whose key is not set. */
import { randomBytes } from 'node:crypto';
import {
  startAnthropicStandIn,
  startE2bStandIn,
  startGoogleStandIn,
  startOpenAiStandIn,
  type AnthropicStandIn,
  type E2bStandIn,
} from '../stand-ins';
import type { StartOptions } from './options';

export interface StandIns {
  anthropic?: AnthropicStandIn;
  e2b?: E2bStandIn;
  /** What the worker reads. */
  environment: Record<string, string>;
  stop(): Promise<void>;
}

/**
 * A stand-in for each service whose key is not set. They answer this start's worker only: whoever may set what a model answers
 * may run programs here.
 */
export async function startStandIns({ allowLocalCode }: StartOptions): Promise<StandIns> {
  const environment: Record<string, string> = {};
  const key = `stand-in-${randomBytes(24).toString('base64url')}`;
  const shared = { key, emittedCode: new Set<string>() };
  const anthropic = process.env.ANTHROPIC_API_KEY ? undefined : await startAnthropicStandIn(shared);
  if (anthropic) Object.assign(environment, { ANTHROPIC_API_KEY: key, ANTHROPIC_BASE_URL: anthropic.url });
  const openai = process.env.OPENAI_API_KEY ? undefined : await startOpenAiStandIn(shared);
  if (openai) Object.assign(environment, { OPENAI_API_KEY: key, OPENAI_BASE_URL: openai.url });
  const google = process.env.GEMINI_API_KEY ? undefined : await startGoogleStandIn(shared);
  if (google) Object.assign(environment, { GEMINI_API_KEY: key, GEMINI_BASE_URL: google.url });
  let e2b: E2bStandIn | undefined;
  if (!process.env.E2B_API_KEY) {
    e2b = await startE2bStandIn({ key, allowedCode: allowLocalCode ? 'any' : shared.emittedCode });
    Object.assign(environment, {
      E2B_API_KEY: key,
      E2B_API_URL: e2b.url,
      E2B_SANDBOX_URL: e2b.url,
      SPENDLOCK_CODE_LANGUAGES: 'javascript',
    });
  } else if (anthropic) {
    environment.SPENDLOCK_CODE_LANGUAGES = 'javascript';
  }
  return {
    ...(anthropic ? { anthropic } : {}),
    ...(e2b ? { e2b } : {}),
    environment,
    stop: async () => void (await Promise.all([anthropic?.stop(), openai?.stop(), google?.stop(), e2b?.stop()])),
  };
}
