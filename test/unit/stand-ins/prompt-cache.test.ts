/** The stand-ins' caches do what the providers document: by their real SDKs. */
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import {
  startAnthropicStandIn,
  startGoogleStandIn,
  startOpenAiStandIn,
  type AnthropicStandIn,
} from '../../../scripts/stand-ins';

/** About so many tokens. */
const words = (tokens: number, of = 'word'): string => `${of} `.repeat(Math.ceil((tokens * 4) / (of.length + 1)));

describe('Anthropic', () => {
  let standIn: AnthropicStandIn;
  let client: Anthropic;
  beforeEach(async () => {
    standIn = await startAnthropicStandIn();
    client = new Anthropic({ apiKey: 'stand-in', authToken: null, baseURL: standIn.url, maxRetries: 0 });
  });
  afterEach(() => standIn.stop());

  type Ttl = '5m' | '1h';
  const text = (said: string, ttl?: Ttl): Anthropic.TextBlockParam => ({
    type: 'text',
    text: said,
    ...(ttl ? { cache_control: { type: 'ephemeral', ttl } } : {}),
  });
  const ask = async (
    system: Anthropic.TextBlockParam[],
    said: Anthropic.TextBlockParam[] = [text('Go on.')],
    model = 'claude-sonnet-5',
  ) => {
    const { usage } = await client.messages.create({
      model,
      max_tokens: 500,
      system,
      messages: [{ role: 'user', content: said }],
    });
    const { input_tokens: input, cache_read_input_tokens: read, cache_creation: written } = usage;
    return {
      ...{ input, read, for5m: written?.ephemeral_5m_input_tokens, for1h: written?.ephemeral_1h_input_tokens },
      all: input + Number(read) + Number(usage.cache_creation_input_tokens),
    };
  };

  test('writes up to a mark and reads it again, byte for byte, while it lasts', async () => {
    const system = [text(words(2_000), '5m')];
    const first = await ask(system);
    expect(first).toMatchObject({ read: 0, for1h: 0 });
    expect(first.for5m).toBeGreaterThan(1_990);
    expect(await ask(system)).toMatchObject({ read: first.for5m, for5m: 0, input: first.input });
    expect(await ask([text(` ${words(2_000)}`, '5m')])).toMatchObject({ read: 0 });
    standIn.knobs.clockAheadMs = 299_000;
    expect(await ask(system)).toMatchObject({ read: first.for5m });
    // Being read began its time anew.
    standIn.knobs.clockAheadMs = 590_000;
    expect(await ask(system)).toMatchObject({ read: first.for5m });
    standIn.knobs.clockAheadMs = 900_000;
    expect(await ask(system)).toMatchObject({ read: 0, for5m: first.for5m });
  });

  test('keeps for an hour what is to be kept so long, at a mark of its own', async () => {
    const parts = [text(words(2_000), '1h'), text(words(1_500), '5m')];
    const first = await ask(parts);
    expect(first.for1h).toBeGreaterThan(1_990);
    expect(first.for5m).toBeGreaterThan(1_490);
    standIn.knobs.clockAheadMs = 3_000_000;
    expect(await ask(parts)).toMatchObject({ read: first.for1h, for5m: first.for5m, for1h: 0 });
  });

  test.each([
    ['claude-sonnet-5', 1_024],
    ['claude-haiku-4-5', 4_096],
    ['claude-opus-4-7', 2_048],
    ['claude-opus-5', 512],
  ])('%s caches nothing that is shorter than %i tokens', async (model, minimum) => {
    expect(await ask([text(words(minimum - 100), '5m')], undefined, model)).toMatchObject({ read: 0, for5m: 0 });
    expect((await ask([text(words(minimum + 100), '5m')], undefined, model)).for5m).toBeGreaterThanOrEqual(minimum);
  });

  test('looks back over twenty blocks, and no further', async () => {
    const said = [text(words(2_000), '5m')];
    const { for5m } = await ask([], said);
    const more = (count: number) => [
      text(words(2_000)),
      ...Array.from({ length: count }, (_, at) => text(`and ${at}`)),
    ];
    const marked = (count: number) => [...more(count - 1), text('last', '5m')];
    expect((await ask([], marked(19))).read).toBe(for5m);
    standIn.knobs.clockAheadMs = 400_000;
    await ask([], said);
    expect((await ask([], marked(20))).read).toBe(0);
  });

  test('refuses more than four marks, one on nothing, and a longer time after a shorter one', async () => {
    const refused = (blocks: Anthropic.TextBlockParam[]) => ask([], blocks).catch((error: Error) => error.message);
    expect(await refused(Array.from({ length: 5 }, () => text('a', '5m')))).toMatch(/maximum of 4 blocks.*Found 5/);
    expect(await refused([text('', '5m')])).toMatch(/empty text/);
    expect(await refused([text('a', '5m'), text('b', '1h')])).toMatch(/must not come after/);
  });

  test('counts the same with marks and without', async () => {
    const said = words(700);
    expect((await ask([text(said, '5m')])).all).toBe((await ask([text(said)])).all);
  });
});

test('OpenAI caches by itself from 1,024 tokens on, in pieces of 128, by its key, and later models tell what they wrote', async () => {
  const standIn = await startOpenAiStandIn();
  const client = new OpenAI({ apiKey: 'stand-in', baseURL: standIn.url, maxRetries: 0 });
  const ask = async (model: string, said: string, key = 'a') => {
    const request = { model, input: said, prompt_cache_key: key, max_output_tokens: 200 };
    const { usage } = await client.responses.create(request);
    return usage?.input_tokens_details as unknown as { cached_tokens: number; cache_write_tokens: number };
  };
  await ask('gpt-4o', words(900));
  expect(await ask('gpt-4o', words(900))).toMatchObject({ cached_tokens: 0 });
  const long = words(2_000);
  expect(await ask('gpt-4o', long)).toMatchObject({ cached_tokens: 0, cache_write_tokens: 0 });
  const { cached_tokens: cached } = await ask('gpt-4o', `${long} and then`);
  expect(cached % 128).toBe(0);
  expect(cached).toBeGreaterThan(1_800);
  expect(await ask('gpt-4o', long, 'b')).toMatchObject({ cached_tokens: 0 });
  expect((await ask('gpt-5.6', long)).cache_write_tokens).toBeGreaterThan(1_800);
  expect(await ask('gpt-5.6', long)).toMatchObject({ cached_tokens: cached, cache_write_tokens: 0 });
  standIn.knobs.clockAheadMs = 400_000;
  expect(await ask('gpt-4o', long)).toMatchObject({ cached_tokens: 0 });
  await standIn.stop();
});

test('Gemini caches by itself from 2,048 or 4,096 tokens on, and not before 2.5', async () => {
  const standIn = await startGoogleStandIn();
  const client = new GoogleGenAI({ apiKey: 'stand-in', httpOptions: { baseUrl: standIn.url, fetch } });
  const twice = async (model: string, tokens: number) => {
    const ask = () => client.models.generateContent({ model, contents: words(tokens) });
    await ask();
    return (await ask()).usageMetadata?.cachedContentTokenCount;
  };
  expect(await twice('gemini-2.5-flash', 1_900)).toBeUndefined();
  expect(await twice('gemini-2.5-flash', 2_300)).toBeGreaterThan(2_048);
  expect(await twice('gemini-3.5-flash', 3_900)).toBeUndefined();
  expect(await twice('gemini-3.5-flash', 4_400)).toBeGreaterThan(4_096);
  expect(await twice('gemini-2.0-flash', 5_000)).toBeUndefined();
  await standIn.stop();
});
