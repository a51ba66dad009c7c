/** The wire proxy for OpenAI's Embeddings: by its own SDK, which asks for base64 by itself, and byte for byte (requirement O3). */
import OpenAI from 'openai';
import { settledBooks, settlementsOf } from '../support/proxy';
import { proxyScene, rawProxyScene } from '../support/proxy-scene';

const model = 'text-embedding-3-large';
const path = '/v1/embeddings';

describe('embeddings through the proxy', () => {
  const scene = proxyScene('openai');
  let client: OpenAI;
  beforeEach(() => {
    client = new OpenAI({ apiKey: scene.key, baseURL: `${scene.api.url}/proxy/openai/v1`, timeout: 60_000 });
  });

  test('are answered, and cost what the tokens of their texts do', async () => {
    scene.stack.openai.knobs.usage = { prompt_tokens: 1_000, total_tokens: 1_000 };
    const { data, usage } = await client.embeddings.create({
      model,
      input: ['one', 'another', 'one'],
      dimensions: 256,
    });
    expect(scene.stack.openai.lastRequest()).toMatchObject({ encoding_format: 'base64' });
    expect(data.map(({ embedding }) => embedding.length)).toEqual([256, 256, 256]);
    expect(data[2]?.embedding).toEqual(data[0]?.embedding);
    expect(data[1]?.embedding).not.toEqual(data[0]?.embedding);
    expect(usage.prompt_tokens).toBe(1_000);
    // $0.13 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.00013', reservedUsd: '0' });
    const { rows } = await scene.stack.admin.query(
      'SELECT kind, model, settlement FROM copilot_internal.cost_records WHERE tenant_id = $1',
      [scene.tenantId],
    );
    expect(rows).toEqual([{ kind: 'llm.call', model, settlement: 'actual' }]);
  });

  test.each([
    ['text-embedding-3-small', '0.00002'],
    ['text-embedding-3-large', '0.00013'],
    ['text-embedding-ada-002', '0.0001'],
  ])('%s costs $%s for a thousand tokens', async (name, usd) => {
    scene.stack.openai.knobs.usage = { prompt_tokens: 1_000, total_tokens: 1_000 };
    await client.embeddings.create({ model: name, input: 'Hello' });
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: usd });
  });

  test('are bounded without being counted: by the bytes of texts, and by how many tokens there are', async () => {
    const before = scene.stack.openai.calls().countTokens;
    await client.embeddings.create({ model, input: 'é'.repeat(10_000) });
    await client.embeddings.create({ model, input: [Array<number>(500).fill(7), Array<number>(700).fill(8)] });
    expect(scene.stack.openai.calls().countTokens).toBe(before);
    await settledBooks(scene.stack, scene.tenantId);
    const { rows } = await scene.stack.admin.query<{ tokens: number }>(
      `SELECT (requested_usd / 0.13 * 1e6)::float8 AS tokens FROM copilot_internal.reservations
       WHERE tenant_id = $1 ORDER BY decided_at`,
      [scene.tenantId],
    );
    expect(rows[0]?.tokens).toBeGreaterThanOrEqual(20_000);
    expect(rows[1]?.tokens).toBeGreaterThanOrEqual(1_200);
    expect(rows[1]?.tokens).toBeLessThan(1_400);
  });

  test('a denial is a RateLimitError, and nothing is asked', async () => {
    const poor = new OpenAI({
      apiKey: await scene.api.keyOf(await scene.stack.tenant('0.0000001'), 'agent'),
      baseURL: `${scene.api.url}/proxy/openai/v1`,
    });
    const before = scene.stack.openai.calls().billable;
    await expect(poor.embeddings.create({ model, input: 'Hello' })).rejects.toMatchObject({
      status: 429,
      code: 'insufficient_quota',
    });
    expect(scene.stack.openai.calls().billable).toBe(before);
  });

  test.each<[string, object, number, string]>([
    ['no text', { input: undefined }, 400, 'input'],
    ['nothing to embed', { input: [] }, 400, 'input'],
    ['texts and tokens in one list', { input: ['a', [1]] }, 400, 'input'],
    ['tokens that are none', { input: [1.5] }, 400, 'input'],
    ['more texts than its provider takes', { input: Array<string>(2_049).fill('a') }, 400, '2048'],
    ['more numbers than can be kept', { input: Array<string>(2_000).fill('a') }, 400, 'base64'],
    ['a field that is not known', { of_tomorrow: 1 }, 400, 'of_tomorrow'],
    ['a model without a price', { model: 'text-embedding-of-tomorrow' }, 422, 'text-embedding-of-tomorrow'],
  ])('%s is refused by its name', async (_what, more, status, names) => {
    const before = scene.stack.openai.calls();
    const answer = await scene.send(path, { model, input: 'Hello', ...more });
    expect([answer.status, answer.json().error.message]).toEqual([status, expect.stringContaining(names)]);
    expect(scene.stack.openai.calls()).toEqual(before);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test('an answer that says nothing of what it used is charged at its estimate', async () => {
    scene.stack.openai.knobs.usage = null;
    await client.embeddings.create({ model, input: 'Hello' });
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });
});

describe('embeddings, byte for byte', () => {
  const scene = rawProxyScene('openai');
  const asked = { model, input: 'Hello', encoding_format: 'base64' };
  const usage = '{"prompt_tokens":10 ,"total_tokens":10}';
  const list = `{ "object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAEA="}],"model":"m","of_tomorrow":1,"usage":${usage}}\n`;

  test('what is asked and what is answered pass as they are', async () => {
    scene.provider.answerWith((response) =>
      response.writeHead(200, { 'content-type': 'application/json', 'x-ratelimit-remaining-tokens': '5' }).end(list),
    );
    const body = ` ${JSON.stringify(asked, null, 2)}\n`;
    const answer = await scene.send(path, body);
    expect(answer.body.toString()).toBe(list);
    expect(answer.headers['x-ratelimit-remaining-tokens']).toBeUndefined();
    expect(scene.provider.asked.map((sent) => [sent.path, sent.body.toString()])).toEqual([[path, body]]);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0000013' });
  });

  test('a stream in its place passes, and is charged at its estimate', async () => {
    const events = `data: ${list}\n`;
    scene.provider.answerWith((response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(events),
    );
    const answer = await scene.send(path, asked);
    expect([answer.body.toString(), answer.isCut]).toEqual([events, true]);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });
});
