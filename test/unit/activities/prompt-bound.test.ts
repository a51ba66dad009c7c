/**
 * The bound of a prompt's tokens, and what a call is reserved by it or by its provider's count: never below what the stand-ins bill, each
 * as its provider documents it, through the SDKs that ask in earnest; and not many times above it once there is a true count to start from.
 */
import fc from 'fast-check';
import { anthropicProvider } from '../../../activities/llm/anthropic';
import { googleProvider } from '../../../activities/llm/google';
import { openAiProvider } from '../../../activities/llm/openai';
import type { Block, ModelProvider, Prompt, PromptMessage } from '../../../activities/llm/model-provider';
import { toolSpec } from '../../../activities/llm/instructions';
import { planCall } from '../../../activities/llm/plan-call';
import { boundPrompt, trueCountOf, type TrueCount } from '../../../activities/llm/prompt-bound';
import type { ModelCallPlan } from '../../../contracts/llm';
import { toolNames } from '../../../core/agent/tools';
import { parseAmountUsd } from '../../../core/money';
import { costOfUsage } from '../../../core/prices/pricing';
import { promptTokens, type ModelUsage } from '../../../core/prices/usage';
import { startAnthropicStandIn, startGoogleStandIn, startOpenAiStandIn } from '../../../scripts/stand-ins';
import { answerTokensMax, opening, promptFor, samples } from '../../support/prompts';
import { priceOfTest } from '../../support/proxy-prices';

const providers = {
  anthropic: {
    models: ['claude-haiku-4-5', 'claude-opus-4-7', 'claude-3-haiku-20240307'],
    start: startAnthropicStandIn,
    make: anthropicProvider,
  },
  openai: { models: ['gpt-5', 'gpt-5.1', 'gpt-4o'], start: startOpenAiStandIn, make: openAiProvider },
  google: {
    models: ['gemini-2.5-flash', 'gemini-2.0-flash', 'gemini-3.5-flash'],
    start: startGoogleStandIn,
    make: googleProvider,
  },
};
type Name = keyof typeof providers;
const names = Object.keys(providers) as Name[];
/** The most that a provider documents to add to a prompt with tools: Anthropic's, for Claude 3 Opus. */
const documentedForTools = 530;

const tokensMax = (asked: Prompt, whose: { provider: string; model: string }, base?: TrueCount): number =>
  boundPrompt(asked, whose, base).tokens;

describe.each(names)('the bound of a prompt for %s', (name) => {
  const { models, start, make } = providers[name];
  const [model = ''] = models;
  let provider: ModelProvider;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    const standIn = await start();
    stop = () => standIn.stop();
    provider = make({ apiKey: 'stand-in', baseURL: standIn.url });
  });
  afterAll(() => stop());
  const added = ({ tools }: Prompt): number => (tools.length === 0 ? 0 : documentedForTools);

  const asking = fc
    .constantFrom(...models)
    .chain((of) =>
      promptFor({ provider: name, model: of }).map((asked) => ({ asked, whose: { provider: name, model: of } })),
    );
  /** What a call is billed for. */
  const billed = async (
    asked: Prompt,
    { model: of }: { model: string },
    { maxOutputTokens = answerTokensMax, cacheWriteTtl }: Partial<ModelCallPlan> = {},
  ): Promise<ModelUsage> => {
    const price = priceOfTest(name, of);
    const request = { model: of, price, prompt: asked, maxOutputTokens, cacheWriteTtl };
    const reply = await provider.stream(request, { signal: new AbortController().signal, idleMs: 10_000 });
    if (!reply.usageIsFinal) throw reply.error;
    return provider.usageOf(reply, price);
  };
  const billedTokens = async (...call: Parameters<typeof billed>): Promise<number> =>
    promptTokens(await billed(...call)) + added(call[0]);

  test('is never below what is billed, whatever is in it', async () => {
    await fc.assert(
      fc.asyncProperty(asking, async ({ asked, whose }) => {
        expect(tokensMax(asked, whose)).toBeGreaterThanOrEqual(await billedTokens(asked, whose));
      }),
      { numRuns: 150 },
    );
  });

  test('is never below it when it starts from what any earlier call was billed for', async () => {
    await fc.assert(
      fc.asyncProperty(asking, fc.nat(), async ({ asked, whose }, cut) => {
        const messages = asked.messages.slice(0, 1 + (cut % asked.messages.length));
        const earlier = { ...asked, messages };
        const base = trueCountOf(earlier, whose, await billedTokens(earlier, whose));
        expect(tokensMax(asked, whose, base)).toBeGreaterThanOrEqual(await billedTokens(asked, whose));
        expect(tokensMax(asked, whose, base)).toBeLessThan(Infinity);
      }),
      { numRuns: 100 },
    );
  });

  const planned = fc.record({
    maxOutputTokens: fc.integer({ min: 1, max: answerTokensMax }),
    caching: fc.constantFrom('off' as const, '5m' as const, '1h' as const),
    /** Bounded here where that will do, or counted. */
    bound: fc.constantFrom(undefined, {}),
  });
  test('makes a call reserve no less than it is billed, bounded or counted', async () => {
    await fc.assert(
      fc.asyncProperty(asking, planned, async ({ asked, whose }, call) => {
        const price = priceOfTest(name, whose.model);
        const market = {
          providers: { [name]: provider },
          prices: () => Promise.resolve({ models: [price], sandboxes: [] }),
        };
        const plan = await planCall(market, { ...whose, prompt: asked, ...call });
        const usage = await billed(asked, whose, plan);
        expect(plan.inputTokens).toBeGreaterThanOrEqual(promptTokens(usage));
        expect(parseAmountUsd(plan.amountUsd)).toBeGreaterThanOrEqual(costOfUsage(price, usage).costUsd);
      }),
      { numRuns: 150 },
    );
  });

  test('is close to the count of a long transcript, of which only the last messages are new', async () => {
    const turns = Array.from({ length: 300 }, (_, index): PromptMessage[] => [
      { role: 'assistant', content: [{ type: 'text', text: `${samples[0]} ${index}` }] },
      { role: 'user', content: [{ type: 'text', text: `${samples[8]} ${index}` }] },
    ]).flat();
    const asked: Prompt = { system: 'Help.', tools: toolNames.map((tool) => toolSpec(tool, ['python'])), messages: [opening, ...turns] }; // prettier-ignore
    const earlier = { ...asked, messages: asked.messages.slice(0, -2) };
    const whose = { provider: name, model };
    const count = await provider.countTokens(model, asked);
    const base = trueCountOf(earlier, whose, await provider.countTokens(model, earlier));
    expect(tokensMax(asked, whose, base) / count).toBeLessThan(1.05);
    expect(tokensMax(asked, whose) / count).toBeGreaterThan(2);
  });
});

describe('a true count', () => {
  const whose = { provider: 'anthropic', model: 'claude-haiku-4-5' };
  const said = (...texts: string[]): Prompt => ({
    system: 'Help.',
    tools: [],
    messages: texts.map((one, index) => ({
      role: index % 2 === 0 ? 'user' : 'assistant',
      content: [{ type: 'text', text: one }],
    })),
  });
  const base = trueCountOf(said('hello'), whose, 1_000_000);
  const later = said('hello', 'yes?', 'add these');

  test('is used by the prompt that goes on from it', () => {
    expect(tokensMax(later, whose, base)).toBeGreaterThan(1_000_000);
  });

  test('is none where nothing was billed', () => {
    expect(tokensMax(later, whose, trueCountOf(said('hello'), whose, 0))).toBe(tokensMax(later, whose));
  });

  test.each([
    ['of another model', later, { ...whose, model: 'claude-opus-4-5' }],
    ['with other instructions', { ...later, system: 'Help!' }, whose],
    ['with other tools', { ...later, tools: [toolSpec('read_file', ['python'])] }, whose],
    ['of other messages', said('hullo', 'yes?', 'add these'), whose],
    ['whose first messages were summed up', said('In short: hello', 'yes?'), whose],
    ['that is shorter', { ...later, messages: [] }, whose],
  ])('is none of a prompt %s', (_, asked, ofWhom) => {
    expect(tokensMax(asked, ofWhom, base)).toBeLessThan(10_000);
  });

  test('leaves out what another provider alone understands', () => {
    const thought: Block = { type: 'opaque', provider: 'openai', value: { text: 'x'.repeat(5_000) } };
    const asked: Prompt = { ...later, messages: [...later.messages, { role: 'assistant', content: [thought] }] };
    expect(tokensMax(asked, whose)).toBeLessThan(2_000);
    expect(tokensMax(asked, { provider: 'openai', model: 'gpt-5' })).toBeGreaterThan(5_000);
  });
});
