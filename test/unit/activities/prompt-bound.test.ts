/**
 * The bound of a prompt's tokens: never below what the stand-ins count, each as its provider documents it, through the SDKs that count
 * in earnest; and not many times above it once there is a true count to start from.
 */
import fc from 'fast-check';
import { anthropicProvider } from '../../../activities/llm/anthropic';
import { googleProvider } from '../../../activities/llm/google';
import { openAiProvider } from '../../../activities/llm/openai';
import type { Block, ModelProvider, Prompt, PromptMessage, ToolSpec } from '../../../activities/llm/model-provider';
import { toolSpec } from '../../../activities/llm/instructions';
import { wellFormed } from '../../../activities/llm/prompt';
import { boundPrompt, trueCountOf, type TrueCount } from '../../../activities/llm/prompt-bound';
import { toolNames } from '../../../core/agent/tools';
import { startAnthropicStandIn, startGoogleStandIn, startOpenAiStandIn } from '../../../scripts/stand-ins';

const providers = {
  anthropic: { model: 'claude-haiku-4-5', start: startAnthropicStandIn, make: anthropicProvider },
  openai: { model: 'gpt-5', start: startOpenAiStandIn, make: openAiProvider },
  google: { model: 'gemini-2.5-flash', start: startGoogleStandIn, make: googleProvider },
};
type Name = keyof typeof providers;
const names = Object.keys(providers) as Name[];
/** The most that a provider documents to add to a prompt with tools: Anthropic's, for Claude 3 Opus. */
const documentedForTools = 530;

const samples = [
  'The invoice of March shows a total that nobody expected.',
  'Счёт за март показывает неожиданную сумму.',
  '三月份的发票总额出乎所有人的意料。',
  'مجموع فاتورة مارس لم يتوقعه أحد. ﷺ ﷽',
  '3월 청구서의 합계는 아무도 예상하지 못했습니다.',
  'मार्च के बिल का कुल योग अप्रत्याशित है।',
  '👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 ✅ 🫠',
  'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢',
  'for (let i = 0; i < n; i += 1) {\n\tif (!a[i]?.b) continue; // "why"\n}\r\n',
  '{"id":1,"rows":[[1,2.5,-3e9],[null,true,""]],"path":"C:\\\\temp"}',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  '  \n\n\t\t      \u00a0\u2003\u200b',
  'a,b;c\n1,2;3\n"4, 5";6\n',
  'YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=+/0123456789',
  '\ud800 half of a pair \udfff, \u0000 and \u001b[31m',
];
const text = fc.oneof(
  fc.constantFrom(...samples),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.tuple(fc.constantFrom(...samples), fc.integer({ min: 1, max: 60 })).map(([said, times]) => said.repeat(times)),
);
const record = fc.dictionary(fc.string({ minLength: 1, maxLength: 20 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 });
const id = fc.integer({ min: 0, max: 8 }).map((number) => `toolu_${number}`);
const toolUse = fc.record({
  type: fc.constant('tool_use' as const),
  id,
  name: fc.constantFrom(...toolNames),
  input: fc.oneof(
    record,
    text.map((code) => ({ code, language: 'python' })),
  ),
});
const toolResult = fc.record({
  type: fc.constant('tool_result' as const),
  tool_use_id: id,
  content: text,
  is_error: fc.boolean(),
});
const textBlock = text.map((said): Block => ({ type: 'text', text: said }));
const message = fc.oneof(
  fc.array(fc.oneof(textBlock, toolResult), { maxLength: 4 }).map((content) => ({ role: 'user' as const, content })),
  fc.array(fc.oneof(textBlock, toolUse), { maxLength: 4 }).map((content) => ({ role: 'assistant' as const, content })),
);
const tool: fc.Arbitrary<ToolSpec> = fc.oneof(
  fc.constantFrom(...toolNames).map((name) => toolSpec(name, ['python', 'javascript'])),
  fc.record({ name: fc.stringMatching(/^[a-z_]{1,40}$/), description: text, inputSchema: record }),
);
const opening: PromptMessage = { role: 'user', content: [{ type: 'text', text: 'Attached file: /home/user/a.csv' }] };
const prompt: fc.Arbitrary<Prompt> = fc.record({
  system: text,
  tools: fc.uniqueArray(tool, { maxLength: 6, selector: ({ name }) => name }),
  messages: fc.array(message, { maxLength: 12, size: 'max' }).map((messages) => wellFormed([opening, ...messages])),
});

const tokensMax = (asked: Prompt, whose: { provider: string; model: string }, base?: TrueCount): number =>
  boundPrompt(asked, whose, base).tokens;

describe.each(names)('the bound of a prompt for %s', (name) => {
  const { model, start, make } = providers[name];
  const whose = { provider: name, model };
  let provider: ModelProvider;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    const standIn = await start();
    stop = () => standIn.stop();
    provider = make({ apiKey: 'stand-in', baseURL: standIn.url });
  });
  afterAll(() => stop());
  const counted = (asked: Prompt): Promise<number> => provider.countTokens(model, asked);
  const added = ({ tools }: Prompt): number => (tools.length === 0 ? 0 : documentedForTools);

  test('is never below what is counted, whatever is in it', async () => {
    await fc.assert(
      fc.asyncProperty(prompt, async (asked) => {
        expect(tokensMax(asked, whose)).toBeGreaterThanOrEqual((await counted(asked)) + added(asked));
      }),
      { numRuns: 150 },
    );
  });

  test('is never below it when it starts from the true count of any earlier call', async () => {
    await fc.assert(
      fc.asyncProperty(prompt, fc.nat(), async (asked, cut) => {
        const messages = asked.messages.slice(0, 1 + (cut % asked.messages.length));
        const earlier = { ...asked, messages };
        const base = trueCountOf(earlier, whose, (await counted(earlier)) + added(asked));
        expect(tokensMax(asked, whose, base)).toBeGreaterThanOrEqual((await counted(asked)) + added(asked));
      }),
      { numRuns: 100 },
    );
  });

  test('is close to the count of a long transcript, of which only the last messages are new', async () => {
    const turns = Array.from({ length: 300 }, (_, index): PromptMessage[] => [
      { role: 'assistant', content: [{ type: 'text', text: `${samples[0]} ${index}` }] },
      { role: 'user', content: [{ type: 'text', text: `${samples[8]} ${index}` }] },
    ]).flat();
    const asked: Prompt = { system: 'Help.', tools: toolNames.map((tool) => toolSpec(tool, ['python'])), messages: [opening, ...turns] }; // prettier-ignore
    const earlier = { ...asked, messages: asked.messages.slice(0, -2) };
    const count = await counted(asked);
    const base = trueCountOf(earlier, whose, await counted(earlier));
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
