/** The wire proxy for OpenAI's Responses API: its own SDK with another base URL and a key of Spendlock (requirement O3). */
import OpenAI from 'openai';
import { settledBooks, settlementsOf, type BytesAnswer } from '../support/proxy';
import { proxyScene } from '../support/proxy-scene';

const model = 'gpt-4o';

describe('OpenAI’s SDK through the proxy', () => {
  const scene = proxyScene('openai');
  let client: OpenAI;
  const clientOf = (apiKey: string): OpenAI =>
    new OpenAI({
      apiKey,
      baseURL: `${scene.api.url}/proxy/openai/v1`,
      timeout: 60_000,
      organization: 'org-of-a-client',
    });
  const send = (body: object, path = '/v1/responses'): Promise<BytesAnswer> => scene.send(path, body);
  beforeEach(() => void (client = clientOf(scene.key)));

  test('a call is answered, and costs what its answer says', async () => {
    scene.stack.openai.knobs.usage = {
      input_tokens: 1_000,
      output_tokens: 200,
      input_tokens_details: { cached_tokens: 400 },
    };
    const response = await client.responses.create({ model, max_output_tokens: 1_000, input: 'Hello' });
    expect(response).toMatchObject({ object: 'response', usage: { input_tokens: 1_000 } });
    // 600 at $2.50, 400 from a cache at $1.25, and 200 at $10 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.004', reservedUsd: '0' });
  });

  test('a stream is answered event by event, and costs what its end says', async () => {
    scene.stack.openai.knobs.usage = { input_tokens: 1_000, output_tokens: 200 };
    const types: string[] = [];
    const events = await client.responses.create({ model, max_output_tokens: 1_000, input: 'Hello', stream: true });
    for await (const { type } of events) types.push(type);
    expect(types[0]).toBe('response.created');
    expect(types.at(-1)).toBe('response.completed');
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0045', reservedUsd: '0' });
  });

  test('tokens are counted for nothing', async () => {
    const { input_tokens: tokens } = await client.responses.inputTokens.count({
      model,
      input: [{ role: 'user', content: 'Hello' }],
    });
    expect(tokens).toBeGreaterThan(0);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test('a denial is a RateLimitError of its own code, which is not tried again while its period lasts', async () => {
    const poor = await scene.stack.tenant('0.000001');
    const before = scene.stack.openai.calls().billable;
    const asked = clientOf(await scene.api.keyOf(poor, 'agent')).responses.create({
      model,
      max_output_tokens: 1_000,
      input: 'Hello',
    });
    const error = await asked.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(error).toMatchObject({
      status: 429,
      code: 'insufficient_quota',
      error: { spendlock: { error: 'quota_exceeded' } },
    });
    expect(scene.stack.openai.calls().billable).toBe(before);
  });

  test('an answer that its provider ends as failed is charged where it says what it used', async () => {
    scene.stack.openai.knobs.usage = { input_tokens: 1_000, output_tokens: 200 };
    scene.stack.openai.knobs.failNext.push({ type: 'failed', name: 'server_error' });
    const events = await client.responses.create({ model, max_output_tokens: 1_000, input: 'Hello', stream: true });
    const types: string[] = [];
    for await (const { type } of events) types.push(type);
    expect(types.at(-1)).toBe('response.failed');
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0045' });
  });

  test('a stream whose connection breaks before anything came is an error that says so, charged at its estimate', async () => {
    scene.stack.openai.knobs.failNext.push({ type: 'cut-before-usage' });
    const ended = client.responses
      .create({ model, max_output_tokens: 100, input: 'Hello', stream: true }, { maxRetries: 0 })
      .then(async (events) => {
        for await (const _ of events);
      });
    await expect(ended).rejects.toThrow(/The connection to the provider broke/);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test.each<[string, object, number, string]>([
    ['no bound of the answer', { model: 'gpt-6-sol', max_output_tokens: undefined }, 400, 'max_output_tokens'],
    ['a limit that is none', { max_output_tokens: 0 }, 400, 'max_output_tokens'],
    ['a response in the background', { background: true }, 400, 'background'],
    ['what was stored before', { previous_response_id: 'resp_1' }, 400, 'previous_response_id'],
    ['a conversation that is stored', { conversation: 'conv_1' }, 400, 'conversation'],
    ['a prompt that is stored', { prompt: { id: 'p' } }, 400, 'prompt'],
    ['an item that is stored', { input: [{ type: 'item_reference', id: 'i' }] }, 400, 'item_reference'],
    ['web searches', { tools: [{ type: 'web_search' }] }, 400, 'web_search'],
    ['an MCP server', { tools: [{ type: 'mcp', server_url: 'https://example.com' }] }, 400, 'mcp'],
    ['a tier without a price', { service_tier: 'of_tomorrow' }, 422, 'of_tomorrow'],
    ['a model without a price', { model: 'gpt-of-tomorrow' }, 422, 'gpt-of-tomorrow'],
    ['a model of another provider', { model: 'claude-haiku-4-5' }, 422, 'anthropic'],
  ])('%s is refused by its name', async (_what, more, status, names) => {
    const before = scene.stack.openai.calls();
    const answer = await send({ model, max_output_tokens: 100, input: 'Hello', ...more });
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({
      error: { type: 'invalid_request_error', param: null, message: expect.stringContaining(names) as string },
    });
    expect(scene.stack.openai.calls()).toEqual(before);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test('without a limit an answer is reserved at the longest that its model makes, and a denial says what to set', async () => {
    expect((await send({ model, input: 'Hello' })).status).toBe(200);
    await settledBooks(scene.stack, scene.tenantId);
    const { rows } = await scene.stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1',
      [scene.tenantId],
    );
    expect(rows[0]?.usd).toBeGreaterThan((16_384 * 10) / 1e6);
    const poor = clientOf(await scene.api.keyOf(await scene.stack.tenant('0.1'), 'agent'));
    const denied = poor.responses.create({ model, input: 'Hello' });
    await expect(denied).rejects.toThrow(/no max_output_tokens, so 16384 tokens would be reserved/);
    const less = await poor.responses.create({ model, input: 'Hello', max_output_tokens: 100 });
    expect(less.object).toBe('response');
  });

  test('what its provider keeps, or fetches from elsewhere, is not counted either', async () => {
    const content = [{ type: 'input_image', image_url: 'https://a.example/b.png' }];
    const answer = await send({ model, input: [{ role: 'user', content }] }, '/v1/responses/input_tokens');
    expect([answer.status, answer.json().error.message]).toEqual([400, expect.stringContaining('image_url')]);
    const stored = await send({ model, previous_response_id: 'resp_1' }, '/v1/responses/input_tokens');
    expect(stored.json().error.message).toContain('previous_response_id');
  });

  test('a call that its provider may have billed is charged once: its SDK is told not to try again', async () => {
    const before = scene.stack.openai.calls().refused;
    scene.stack.openai.knobs.failNext.push({ type: 'status', status: 500 });
    const asked = client.responses.create({ model, max_output_tokens: 100, input: 'Hello' });
    await expect(asked).rejects.toThrow(OpenAI.InternalServerError);
    expect(scene.stack.openai.calls().refused).toBe(before + 1);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('a prompt is bounded by no less than its bytes, and its image is counted', async () => {
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AAAA' };
    const counts = scene.stack.openai.calls().countTokens;
    expect((await send({ model, max_output_tokens: 16, input: [{ role: 'user', content: [image] }] })).status).toBe(
      200,
    );
    expect(scene.stack.openai.calls().countTokens).toBe(counts + 1);
    expect(
      (await send({ model, max_output_tokens: 16, instructions: 'x'.repeat(1_000), input: 'y'.repeat(1_000) })).status,
    ).toBe(200);
    await settledBooks(scene.stack, scene.tenantId);
    const { rows } = await scene.stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1 ORDER BY decided_at',
      [scene.tenantId],
    );
    expect(rows[1]?.usd).toBeGreaterThan((2_000 * 2.5 + 16 * 10) / 1e6);
  });

  test('what is not passed on is said in its own shape', async () => {
    const answer = await send({}, '/v1/completions');
    expect([answer.status, answer.json().error.type]).toEqual([404, 'invalid_request_error']);
    expect(answer.json().error.message).toContain('/v1/responses');
    const wrong = await scene.send('/v1/responses', {}, { authorization: 'Bearer sk-proj-x' });
    expect([wrong.status, wrong.json().error]).toMatchObject([401, { code: 'invalid_api_key' }]);
  });
});
