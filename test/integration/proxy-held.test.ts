/** Money that calls under way hold comes back when they end: an SDK waits for it by itself, and is not sent away until the period's end. */
import { randomUUID } from 'node:crypto';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { proxyScene } from '../support/proxy-scene';
import { until } from '../support/stack';

const model = 'gpt-5-mini';
const asked = { model, max_output_tokens: 500, service_tier: 'default' as const, input: 'Hello' };

/** A run that may cost so much, and the header that names it. */
async function ofRun({ stack, tenantId }: ReturnType<typeof proxyScene>, maxCostUsd: string) {
  const runId = randomUUID();
  await stack.admin.query(
    `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options)
     VALUES ($1, $2, 'w', 'm', 't', jsonb_build_object('limits', jsonb_build_object('maxCostUsd', $3::text)))`,
    [runId, tenantId, maxCostUsd],
  );
  return { 'x-spendlock-run': runId };
}

const isUnderWay = ({ stack, tenantId }: ReturnType<typeof proxyScene>) =>
  until('it is under way', async () => (await stack.books(tenantId)).reservedUsd !== '0');

describe('a call through the wire proxy, beside one that holds what it needs', () => {
  const scene = proxyScene('openai');

  test('is told to come back soon, and the official SDK does', async () => {
    const { stack, api } = scene;
    // For one of them.
    scene.tenantId = await stack.tenant('0.0015');
    scene.key = await api.keyOf(scene.tenantId, 'agent');
    stack.openai.knobs.latencyMs = 1_500;
    const first = scene.send('/v1/responses', asked);
    await isUnderWay(scene);
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

  test("is told the same of its run's limit, by a 409, and the official SDK comes back", async () => {
    const { stack, api } = scene;
    // For one of them.
    const headers = await ofRun(scene, '0.0015');
    stack.openai.knobs.latencyMs = 1_500;
    const first = scene.send('/v1/responses', asked, headers);
    await isUnderWay(scene);
    const second = await scene.send('/v1/responses', asked, headers);
    expect(second.status).toBe(409);
    expect(second.headers).toMatchObject({ 'retry-after': '10', 'x-should-retry': 'true' });
    expect(second.json().error).toMatchObject({
      message: expect.stringContaining('held by calls under way') as string,
      spendlock: { error: 'run_limit_exceeded', retryAfter: 10 },
    });
    const client = new OpenAI({ baseURL: `${api.url}/proxy/openai/v1`, apiKey: scene.key, defaultHeaders: headers });
    const { output_text: text } = await client.responses.create(asked);
    expect(text.length).toBeGreaterThan(0);
    expect((await first).status).toBe(200);
    // More than the limit: waiting cannot help.
    const beyond = await scene.send('/v1/responses', { ...asked, max_output_tokens: 5_000 }, headers);
    expect([beyond.status, beyond.headers['x-should-retry']]).toEqual([409, 'false']);
    expect(beyond.headers).not.toHaveProperty('retry-after');
  });
});

describe('a call of Anthropic’s SDK through the wire proxy', () => {
  const scene = proxyScene('anthropic');

  test("comes back by itself for what others hold of its run's limit", async () => {
    const { stack, api } = scene;
    const headers = await ofRun(scene, '0.008');
    // $5 a million: $0.005 for each answer, and a little for the prompt.
    const said = { model: 'claude-haiku-4-5', max_tokens: 1_000, messages: [{ role: 'user' as const, content: 'Hi' }] };
    stack.anthropic.knobs.latencyMs = 1_500;
    const first = scene.send('/v1/messages', said, headers);
    await isUnderWay(scene);
    const second = await scene.send('/v1/messages', said, headers);
    expect([second.status, second.headers['retry-after'], second.headers['x-should-retry']]).toEqual([
      409,
      '10',
      'true',
    ]);
    expect(second.json()).toMatchObject({ type: 'error', spendlock: { error: 'run_limit_exceeded', retryAfter: 10 } });
    const baseURL = `${api.url}/proxy/anthropic`;
    const client = new Anthropic({ apiKey: scene.key, authToken: null, baseURL, defaultHeaders: headers });
    expect(await client.messages.create(said)).toMatchObject({ type: 'message' });
    expect((await first).status).toBe(200);
  });
});
