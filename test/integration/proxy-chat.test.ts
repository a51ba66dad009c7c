/** The wire proxy for OpenAI's Chat Completions, which most frameworks speak: by its own SDK, and byte for byte (requirement O3). */
import OpenAI from 'openai';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { startTestApi, type TestApi } from '../support/api';
import { sendBytes, settledBooks, settlementsOf, type BytesAnswer } from '../support/proxy';
import { rawProvider, type RawProvider } from '../support/raw-provider';
import { TestStack } from '../support/stack';

const model = 'gpt-4o';
const messages = [{ role: 'user' as const, content: 'Hello' }];
const asked = { model, max_completion_tokens: 1_000, messages };
const streamed = { ...asked, stream: true as const, stream_options: { include_usage: true } };

describe('chat completions through the proxy', () => {
  let stack: TestStack;
  let api: TestApi;
  let tenantId: string;
  let client: OpenAI;
  beforeAll(async () => {
    stack = await TestStack.start();
    const accounts = { openai: { apiKey: 'the-key-of-the-provider', baseURL: stack.openai.url } };
    api = await startTestApi(stack, { proxy: { accounts } });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });
  beforeEach(async () => {
    Object.assign(stack.openai.knobs, modelKnobs());
    tenantId = await stack.tenant('10');
    const apiKey = await api.keyOf(tenantId, 'agent');
    client = new OpenAI({ apiKey, baseURL: `${api.url}/proxy/openai/v1`, timeout: 60_000 });
  });

  test('a call is answered, and costs what its answer says', async () => {
    stack.openai.knobs.usage = {
      prompt_tokens: 1_000,
      completion_tokens: 200,
      prompt_tokens_details: { cached_tokens: 400 },
    };
    const completion = await client.chat.completions.create(asked);
    expect(completion).toMatchObject({ object: 'chat.completion', choices: [{ finish_reason: 'stop' }] });
    // 600 at $2.50, 400 from a cache at $1.25, and 200 at $10 a million.
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.004', reservedUsd: '0' });
  });

  test('a stream is answered piece by piece, with tools, and costs what its last piece says', async () => {
    stack.openai.knobs.usage = { prompt_tokens: 1_000, completion_tokens: 200 };
    stack.openai.knobs.replies.push({ text: 'I look.', tools: [{ name: 'look', input: { where: 'here' } }] });
    const pieces = [];
    for await (const piece of await client.chat.completions.create(streamed)) pieces.push(piece);
    const deltas = pieces.flatMap(({ choices }) => choices.map(({ delta }) => delta));
    expect(deltas.map(({ content }) => content ?? '').join('')).toBe('I look.');
    expect(deltas.flatMap(({ tool_calls: calls = [] }) => calls.map((call) => call.function?.arguments)).join('')).toBe(
      '{"where":"here"}',
    );
    expect(pieces.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 1_000 } });
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.0045', reservedUsd: '0' });
  });

  test('several answers to one prompt are reserved as so many, and cost what they say together', async () => {
    stack.openai.knobs.usage = { prompt_tokens: 1_000, completion_tokens: 600 };
    const { choices } = await client.chat.completions.create({ ...asked, n: 3 });
    expect(choices).toHaveLength(3);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.0085' });
    const { rows } = await stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    expect(rows[0]?.usd).toBeGreaterThan((3 * 1_000 * 10) / 1e6);
  });

  test('an image that comes with it is counted by its provider', async () => {
    const counts = stack.openai.calls().countTokens;
    const image = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AAAA' } };
    await client.chat.completions.create({ ...asked, messages: [{ role: 'user', content: [image] }] });
    expect(stack.openai.calls().countTokens).toBe(counts + 1);
  });

  test('a denial is a RateLimitError of its own code, which is not tried again while its period lasts', async () => {
    const poor = new OpenAI({
      apiKey: await api.keyOf(await stack.tenant('0.000001'), 'agent'),
      baseURL: `${api.url}/proxy/openai/v1`,
    });
    const before = stack.openai.calls().billable;
    const error: unknown = await poor.chat.completions.create(streamed).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(error).toMatchObject({ code: 'insufficient_quota', error: { spendlock: { error: 'quota_exceeded' } } });
    expect(stack.openai.calls().billable).toBe(before);
  });

  test('a stream that would not say what it used is refused, with what to set', async () => {
    const before = stack.openai.calls();
    const refused = client.chat.completions.create({ ...asked, stream: true });
    await expect(refused).rejects.toThrow(/stream_options: .*\{"include_usage": true\}/);
    expect(stack.openai.calls()).toEqual(before);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  const drained = async (): Promise<void> => {
    for await (const _ of await client.chat.completions.create(streamed, { maxRetries: 0 }));
  };

  test.each([
    ['cut-before-usage', 'unverified'],
    ['nonsense', 'unverified'],
  ] as const)('a stream that is broken (%s) ends with an error, %s', async (type, settlement) => {
    stack.openai.knobs.failNext.push({ type });
    await expect(drained()).rejects.toThrow();
    expect(await settlementsOf(stack, tenantId)).toEqual([settlement]);
  });

  test('a stream that is refused before it says anything costs nothing, and one that fails in the middle its estimate', async () => {
    stack.openai.knobs.failNext.push({ type: 'error-event', name: 'rate_limit_exceeded' });
    await expect(drained()).rejects.toThrow(OpenAI.APIError);
    stack.openai.knobs.failNext.push({ type: 'error-event', name: 'server_error', after: 'output' });
    await expect(drained()).rejects.toThrow(OpenAI.APIError);
    expect(await settlementsOf(stack, tenantId)).toEqual(['released', 'unverified']);
  });

  test('a stream that says nothing of what it used, although it was asked, is charged at its estimate', async () => {
    stack.openai.knobs.usage = null;
    await drained();
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
  });
});

describe('chat completions, byte for byte', () => {
  let stack: TestStack;
  let api: TestApi;
  let provider: RawProvider;
  let key: string;
  let tenantId: string;
  const send = (body: string): Promise<BytesAnswer> =>
    sendBytes(`${api.url}/proxy/openai/v1/chat/completions`, { headers: { authorization: `Bearer ${key}` }, body });
  beforeAll(async () => {
    [stack, provider] = await Promise.all([TestStack.start(), rawProvider()]);
    const accounts = { openai: { apiKey: 'the-key-of-the-provider', baseURL: `${provider.url}/v1` } };
    api = await startTestApi(stack, { proxy: { accounts } });
    tenantId = await stack.tenant('10');
    key = await api.keyOf(tenantId, 'agent');
  });
  afterAll(async () => {
    await api.close();
    await provider.close();
    await stack.stop();
  });

  const piece = (choices: string, usage: string): string =>
    `data: {"id":"c","object":"chat.completion.chunk" , "of_tomorrow":{"usage":1},"choices":[${choices}],"usage":${usage}}\n\n`;
  const said = '{"index":0,"delta":{"content":"\\"usage\\": {\\u00e9"}}';
  const usage = '{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}';
  const whole = `: a comment\n\n${piece(said, 'null')}${piece(said, 'null')}${piece('', usage)}data: [DONE]\n\n`;

  test('what is asked and what is answered pass as they are, in whichever pieces they come', async () => {
    provider.answerWith((response) => {
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'openai-organization': 'of-all',
        'x-ratelimit-remaining-tokens': '5',
        'openai-processing-ms': '7',
      });
      const bytes = Buffer.from(whole);
      for (let at = 0; at < bytes.length; at += 7) response.write(bytes.subarray(at, at + 7));
      response.end();
    });
    const body = ` ${JSON.stringify({ ...streamed, user: 'é' }, null, 2)}\n`;
    const answer = await send(body);
    expect(answer.body.toString()).toBe(whole);
    expect(answer.headers).toMatchObject({ 'openai-processing-ms': '7' });
    expect(answer.headers['openai-organization'] ?? answer.headers['x-ratelimit-remaining-tokens']).toBeUndefined();
    const [sent] = provider.asked;
    expect([sent?.path, sent?.body.toString()]).toEqual(['/v1/chat/completions', body]);
    expect(sent?.headers.authorization).toBe('Bearer the-key-of-the-provider');
    // 10 at $2.50 and 2 at $10 a million.
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.000045' });
  });

  test('a stream that breaks off after what it used is priced, and ends with an error in its own shape', async () => {
    const cut = whole.replace('data: [DONE]\n\n', '');
    provider.answerWith((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(cut, () => setTimeout(() => response.destroy(), 20));
    });
    const answer = await send(JSON.stringify(streamed));
    const text = answer.body.toString();
    expect(text.startsWith(cut)).toBe(true);
    const event = /^data: (.*)\n\n$/.exec(text.slice(cut.length));
    expect(JSON.parse(event?.[1] ?? '{}')).toMatchObject({ error: { type: 'server_error' } });
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.00009' });
  });
});
