/** Money that calls under way hold comes back when they end: an SDK waits for it by itself, and is not sent away until the period's end. */
import OpenAI from 'openai';
import { proxyScene } from '../support/proxy-scene';
import { until } from '../support/stack';

const model = 'gpt-5-mini';
const asked = { model, max_output_tokens: 500, service_tier: 'default' as const, input: 'Hello' };

describe('a call through the wire proxy, beside one that holds what it needs', () => {
  const scene = proxyScene('openai');

  test('is told to come back soon, and the official SDK does', async () => {
    const { stack, api } = scene;
    // For one of them.
    scene.tenantId = await stack.tenant('0.0015');
    scene.key = await api.keyOf(scene.tenantId, 'agent');
    stack.openai.knobs.latencyMs = 1_500;
    const first = scene.send('/v1/responses', asked);
    await until('it is under way', async () => (await stack.books(scene.tenantId)).reservedUsd !== '0');
    const second = await scene.send('/v1/responses', asked);
    expect(second.status).toBe(429);
    expect(second.headers).toMatchObject({ 'retry-after': '10', 'x-should-retry': 'true' });
    expect(JSON.parse(second.body.toString())).toMatchObject({ error: { spendlock: { retryAfter: 10 } } });
    const client = new OpenAI({ baseURL: `${api.url}/proxy/openai/v1`, apiKey: scene.key });
    const { output_text: text } = await client.responses.create(asked);
    expect(text.length).toBeGreaterThan(0);
    expect((await first).status).toBe(200);
  });

  test('is told not to wait where that cannot help', async () => {
    const { stack, api } = scene;
    scene.tenantId = await stack.tenant('0.0005');
    scene.key = await api.keyOf(scene.tenantId, 'agent');
    const { status, headers } = await scene.send('/v1/responses', asked);
    // More than the limit: waiting cannot help.
    expect({ status, ...headers }).toMatchObject({ status: 429, 'retry-after': '3600', 'x-should-retry': 'false' });
  });
});
