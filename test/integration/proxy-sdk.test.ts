/** The wire proxy as agents use it: Anthropic's own SDK with another base URL and a key of Spendlock (requirement O3). */
import Anthropic from '@anthropic-ai/sdk';
import { startTestApi, type TestApi } from '../support/api';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { settledBooks } from '../support/proxy';
import { TestStack, until } from '../support/stack';

const model = 'claude-haiku-4-5';
const said = { role: 'user' as const, content: 'Say something.' };

describe('Anthropic’s SDK through the proxy', () => {
  let stack: TestStack;
  let api: TestApi;
  let tenantId: string;
  let client: Anthropic;
  const clientOf = (apiKey: string, more: object = {}): Anthropic =>
    new Anthropic({ apiKey, authToken: null, baseURL: `${api.url}/proxy/anthropic`, timeout: 60_000, ...more });
  beforeAll(async () => {
    stack = await TestStack.start();
    const accounts = { anthropic: { apiKey: 'the-key-of-the-provider', baseURL: stack.anthropic.url } };
    api = await startTestApi(stack, { proxy: { accounts } });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });
  beforeEach(async () => {
    Object.assign(stack.anthropic.knobs, modelKnobs());
    tenantId = await stack.tenant('10');
    client = clientOf(await api.keyOf(tenantId, 'agent'));
  });

  test('a call is answered, and costs what its answer says', async () => {
    Object.assign(stack.anthropic.knobs, { usage: { input_tokens: 1_000, output_tokens: 200 } });
    const message = await client.messages.create({ model, max_tokens: 1_000, messages: [said] });
    expect(message).toMatchObject({ type: 'message', usage: { input_tokens: 1_000, output_tokens: 200 } });
    // $1 and $5 a million.
    expect(await settledBooks(stack, tenantId)).toMatchObject({
      ledgerUsd: '0.002',
      spentUsd: '0.002',
      reservedUsd: '0',
    });
    const { rows } = await stack.admin.query(
      `SELECT kind, model, price_version LIKE 'anthropic/%' AS priced, settlement FROM copilot_internal.cost_records WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(rows).toEqual([{ kind: 'llm.call', model, priced: true, settlement: 'actual' }]);
  });

  test('a stream is answered event by event, and costs what its last report says', async () => {
    Object.assign(stack.anthropic.knobs, { usage: { input_tokens: 1_000, output_tokens: 200 } });
    const events: string[] = [];
    const stream = client.messages.stream({ model, max_tokens: 1_000, messages: [said] });
    stream.on('streamEvent', ({ type }) => events.push(type));
    await stream.finalMessage();
    expect(events[0]).toBe('message_start');
    expect(events.at(-1)).toBe('message_stop');
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.002', reservedUsd: '0' });
  });

  test('tokens are counted for nothing', async () => {
    const { input_tokens: tokens } = await client.messages.countTokens({ model, messages: [said] });
    expect(tokens).toBeGreaterThan(0);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test('a denial is a RateLimitError that says which quota, and is not tried again while its period lasts', async () => {
    const poor = await stack.tenant('0.000001');
    const before = stack.anthropic.calls().billable;
    const asked = clientOf(await api.keyOf(poor, 'agent')).messages.create({
      model,
      max_tokens: 1_000,
      messages: [said],
    });
    const error = await asked.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Anthropic.RateLimitError);
    const { headers, message, error: body } = error as InstanceType<typeof Anthropic.RateLimitError>;
    expect(message).toContain('quota');
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(60);
    expect(headers.get('x-should-retry')).toBe('false');
    expect(body).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error' },
      spendlock: { error: 'quota_exceeded', quotaDetails: { scope: 'tenant', limitUsd: 0.000001 } },
    });
    expect(stack.anthropic.calls().billable).toBe(before);
  });

  test('each try of a client that tries again is a call of its own', async () => {
    stack.anthropic.knobs.failNext.push(
      { type: 'status', status: 529 },
      { type: 'status', status: 429, retryAfterSeconds: 1 },
    );
    await client.messages.create({ model, max_tokens: 100, messages: [said] });
    await settledBooks(stack, tenantId);
    const { rows } = await stack.admin.query<{ status: string }>(
      'SELECT status FROM copilot_internal.reservations WHERE tenant_id = $1 ORDER BY decided_at',
      [tenantId],
    );
    expect(rows.map(({ status }) => status)).toEqual(['released', 'released', 'committed']);
  });

  test('a client that stops its stream ends the provider’s call, which is charged at its estimate, unverified', async () => {
    Object.assign(stack.anthropic.knobs, { deltaSpacingMs: 200, replies: [{ text: 'word '.repeat(2_000) }] });
    const aborted = stack.anthropic.calls().aborted;
    const stream = client.messages.stream({ model, max_tokens: 5_000, messages: [said] });
    stream.on('abort', () => undefined);
    await new Promise((resolve) => stream.once('text', resolve));
    stream.abort();
    await until('the provider’s call ends', () => stack.anthropic.calls().aborted === aborted + 1);
    const books = await settledBooks(stack, tenantId);
    expect(Number(books.ledgerUsd)).toBeGreaterThan(0.025);
    const { rows } = await stack.admin.query<{ settlement: string }>(
      'SELECT settlement FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    expect(rows).toEqual([{ settlement: 'unverified' }]);
  });

  test('a stream that its provider breaks off ends with an error', async () => {
    stack.anthropic.knobs.failNext.push({ type: 'cut-before-usage' });
    const stream = client.messages.stream({ model, max_tokens: 100, messages: [said] }, { maxRetries: 0 });
    await expect(stream.finalMessage()).rejects.toThrow(/gave no answer|connection to the provider broke/);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('what its provider says in an error event passes, and is not charged before any output', async () => {
    stack.anthropic.knobs.failNext.push({ type: 'error-event', name: 'overloaded_error' });
    const stream = client.messages.stream({ model, max_tokens: 100, messages: [said] });
    await expect(stream.finalMessage()).rejects.toThrow(/overloaded_error|told to fail/);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0', reservedUsd: '0' });
  });

  test('ten at once whose bounds fit five times are granted five times', async () => {
    Object.assign(stack.anthropic.knobs, { latencyMs: 1_500, usage: { input_tokens: 1, output_tokens: 1 } });
    // 100,000 tokens of answer at $5 a million are $0.50.
    const narrow = await stack.tenant('2.6');
    const one = clientOf(await api.keyOf(narrow, 'agent'), { maxRetries: 0 });
    const all = Array.from({ length: 10 }, () =>
      one.messages.create({ model, max_tokens: 100_000, stream: true, messages: [said] }),
    );
    const ended = await Promise.allSettled(
      all.map(async (asked) => {
        for await (const _ of await asked);
      }),
    );
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    expect(await settledBooks(stack, narrow)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });
});
