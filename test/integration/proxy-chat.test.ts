/** The wire proxy for OpenAI's Chat Completions, which most frameworks speak: by its own SDK, and byte for byte (requirement O3). */
import OpenAI from 'openai';
import { settledBooks, settlementsOf, type BytesAnswer } from '../support/proxy';
import { providerKey, proxyScene, rawProxyScene } from '../support/proxy-scene';

const model = 'gpt-4o';
const messages = [{ role: 'user' as const, content: 'Hello' }];
const asked = { model, max_completion_tokens: 1_000, messages };
const streamed = { ...asked, stream: true as const, stream_options: { include_usage: true } };

describe('chat completions through the proxy', () => {
  const scene = proxyScene('openai');
  let client: OpenAI;
  const clientOf = (apiKey: string): OpenAI =>
    new OpenAI({ apiKey, baseURL: `${scene.api.url}/proxy/openai/v1`, timeout: 60_000 });
  beforeEach(() => void (client = clientOf(scene.key)));

  test('a call is answered, and costs what its answer says', async () => {
    scene.stack.openai.knobs.usage = {
      prompt_tokens: 1_000,
      completion_tokens: 200,
      prompt_tokens_details: { cached_tokens: 400 },
    };
    const completion = await client.chat.completions.create(asked);
    expect(completion).toMatchObject({ object: 'chat.completion', choices: [{ finish_reason: 'stop' }] });
    // 600 at $2.50, 400 from a cache at $1.25, and 200 at $10 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.004', reservedUsd: '0' });
  });

  test('a stream is answered piece by piece, with tools, and costs what its last piece says', async () => {
    scene.stack.openai.knobs.usage = { prompt_tokens: 1_000, completion_tokens: 200 };
    scene.stack.openai.knobs.replies.push({ text: 'I look.', tools: [{ name: 'look', input: { where: 'here' } }] });
    const pieces = [];
    for await (const piece of await client.chat.completions.create(streamed)) pieces.push(piece);
    const deltas = pieces.flatMap(({ choices }) => choices.map(({ delta }) => delta));
    expect(deltas.map(({ content }) => content ?? '').join('')).toBe('I look.');
    expect(deltas.flatMap(({ tool_calls: calls = [] }) => calls.map((call) => call.function?.arguments)).join('')).toBe(
      '{"where":"here"}',
    );
    expect(pieces.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 1_000 } });
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0045', reservedUsd: '0' });
  });

  test('several answers to one prompt are reserved as so many, and cost what they say together', async () => {
    scene.stack.openai.knobs.usage = { prompt_tokens: 1_000, completion_tokens: 600 };
    const { choices } = await client.chat.completions.create({ ...asked, n: 3 });
    expect(choices).toHaveLength(3);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0085' });
    const { rows } = await scene.stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1',
      [scene.tenantId],
    );
    expect(rows[0]?.usd).toBeGreaterThan((3 * 1_000 * 10) / 1e6);
  });

  test('an image that comes with it is counted by its provider', async () => {
    const counts = scene.stack.openai.calls().countTokens;
    const image = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AAAA' } };
    await client.chat.completions.create({ ...asked, messages: [{ role: 'user', content: [image] }] });
    expect(scene.stack.openai.calls().countTokens).toBe(counts + 1);
  });

  test('a denial is a RateLimitError of its own code, which is not tried again while its period lasts', async () => {
    const poor = clientOf(await scene.api.keyOf(await scene.stack.tenant('0.000001'), 'agent'));
    const before = scene.stack.openai.calls().billable;
    const error: unknown = await poor.chat.completions.create(streamed).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(error).toMatchObject({ code: 'insufficient_quota', error: { spendlock: { error: 'quota_exceeded' } } });
    expect(scene.stack.openai.calls().billable).toBe(before);
  });

  test('a stream that would not say what it used is refused, with what to set', async () => {
    const before = scene.stack.openai.calls();
    const refused = client.chat.completions.create({ ...asked, stream: true });
    await expect(refused).rejects.toThrow(/stream_options: .*\{"include_usage": true\}/);
    expect(scene.stack.openai.calls()).toEqual(before);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  const drained = async (): Promise<void> => {
    for await (const _ of await client.chat.completions.create(streamed, { maxRetries: 0 }));
  };

  test('a stream whose connection breaks before anything came is an error that says so, charged at its estimate', async () => {
    scene.stack.openai.knobs.failNext.push({ type: 'cut-before-usage' });
    await expect(drained()).rejects.toThrow(/The connection to the provider broke/);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('a stream that is refused before it says anything costs nothing, and one that fails in the middle its estimate', async () => {
    scene.stack.openai.knobs.failNext.push({ type: 'error-event', name: 'rate_limit_exceeded' });
    await expect(drained()).rejects.toThrow(OpenAI.APIError);
    scene.stack.openai.knobs.failNext.push({ type: 'error-event', name: 'server_error', after: 'output' });
    await expect(drained()).rejects.toThrow(OpenAI.APIError);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['released', 'unverified']);
  });

  test('a stream that says nothing of what it used, although it was asked, is charged at its estimate', async () => {
    scene.stack.openai.knobs.usage = null;
    await drained();
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });
});

describe('chat completions, byte for byte', () => {
  const scene = rawProxyScene('openai');
  const send = (body: string): Promise<BytesAnswer> => scene.send('/v1/chat/completions', body);

  const piece = (choices: string, usage: string): string =>
    `data: {"id":"c","object":"chat.completion.chunk" , "of_tomorrow":{"usage":1},"choices":[${choices}],"usage":${usage}}\n\n`;
  const said = '{"index":0,"delta":{"content":"\\"usage\\": {\\u00e9"}}';
  const usage = '{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}';
  const whole = `: a comment\n\n${piece(said, 'null')}${piece(said, 'null')}${piece('', usage)}data: [DONE]\n\n`;

  test('what is asked and what is answered pass as they are, in whichever pieces they come', async () => {
    scene.provider.answerWith((response) => {
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
    const [sent] = scene.provider.asked;
    expect([sent?.path, sent?.body.toString()]).toEqual(['/v1/chat/completions', body]);
    expect(sent?.headers.authorization).toBe(`Bearer ${providerKey}`);
    // 10 at $2.50 and 2 at $10 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.000045' });
  });

  test('a stream that breaks off before what it used ends with an error in its own shape', async () => {
    const cut = piece(said, 'null');
    scene.provider.answerWith((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(cut, () => setTimeout(() => response.destroy(), 20));
    });
    const answer = await send(JSON.stringify(streamed));
    const text = answer.body.toString();
    expect(text.startsWith(cut)).toBe(true);
    const event = /^data: (.*)\n\n$/.exec(text.slice(cut.length));
    expect(JSON.parse(event?.[1] ?? '{}')).toMatchObject({ error: { type: 'server_error' } });
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });
});
