/** What a call cost, by what its provider reports of it: real SDKs, the real wire format, and the ledger at the end. */
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';
import type { ModelKnobs } from '../../scripts/stand-ins';

describe('what a provider reports of a call', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const models = { anthropic: 'claude-haiku-4-5', openai: 'gpt-5', google: 'gemini-2.5-flash' } as const;
  type Provider = keyof typeof models;

  /** `cost settlement` of every model call of a conversation, in order. */
  const billed = async (talk: TestConversation): Promise<string[]> => {
    const path = `/v1/cost-records?conversationId=${talk.id}&resource=llm`;
    const { body } = await api.call('GET', path, { key: talk.key });
    // What was said is no part of what is kept with a cost.
    expect(JSON.stringify(body.records)).not.toMatch(/"one"|"two"/);
    return (body.records as { amountUsd: string; settlement: string }[]).map(
      ({ amountUsd, settlement }) => `${amountUsd} ${settlement}`,
    );
  };

  /** One message of a conversation, answered under these knobs; what it cost, and how it ended. */
  async function ask(
    provider: Provider,
    knobs: Partial<ModelKnobs>,
    model: string = models[provider],
  ): Promise<{ billed: string[]; status: unknown; text: string }> {
    const talk = await TestConversation.start(api, await stack.tenant('50'), { model });
    Object.assign(stack[provider].knobs, { replies: [{ text: 'one' }, { text: 'two' }], ...knobs });
    const events = await talk.say('Hello.');
    const text = events.find(({ event }) => event === 'model.replied')?.data.text;
    await talk.close();
    expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    return { billed: await billed(talk), status: events.at(-1)?.data.status, text: String(text) };
  }

  const openAiUsage = { input_tokens: 14_804, output_tokens: 2_514 };

  test.each<[string, Provider, Partial<ModelKnobs>, string]>([
    [
      'input',
      'anthropic',
      { usageAtStart: { input_tokens: 12_000 }, usage: { input_tokens: 0, output_tokens: 500 } },
      '0.0145 actual',
    ],
    [
      'cache writes and reads',
      'anthropic',
      {
        usageAtStart: {
          input_tokens: 10,
          cache_creation_input_tokens: 3_000,
          cache_read_input_tokens: 20_000,
          cache_creation: { ephemeral_5m_input_tokens: 1_000, ephemeral_1h_input_tokens: 2_000 },
          server_tool_use: { web_search_requests: 1 },
        },
        usage: {
          input_tokens: 0,
          output_tokens: 100,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 0,
          server_tool_use: { web_search_requests: 0 },
        },
      },
      // 10 × 1 + 1,000 × 1.25 + 2,000 × 2 + 20,000 × 0.1 + 100 × 5 in micro-dollars, and a search at a cent.
      '0.01776 actual',
    ],
    [
      'prompt, cache and thinking',
      'google',
      {
        usageAtStart: { promptTokenCount: 12_000, cachedContentTokenCount: 2_000, thoughtsTokenCount: 300 },
        usage: { promptTokenCount: 0, cachedContentTokenCount: 0, thoughtsTokenCount: 0, candidatesTokenCount: 200 },
      },
      // 10,000 × 0.3 + 2,000 × 0.03 + 500 × 2.5 in micro-dollars.
      '0.00431 actual',
    ],
  ])('XD1: a later zero does not erase what was counted (%s of %s)', async (_kind, provider, knobs, expected) => {
    expect(await ask(provider, knobs)).toEqual({ billed: [expected], status: 'completed', text: 'one' });
  });

  test('XD2: a response that fails with usage is billed at its cost, and the step fails and is tried again', async () => {
    const failed = await ask('openai', { usage: openAiUsage, failNext: [{ type: 'failed', name: 'server_error' }] });
    expect(failed.billed).toEqual(['0.043645 actual', '0.043645 actual']);
    expect(failed).toMatchObject({ status: 'completed', text: 'two' });
  });

  test('XD3: what is known of a failed response’s cost is booked at least, unverified, and so is an answer’s', async () => {
    // More tokens than were granted, and a tool without a price.
    const usage = { input_tokens: 1_000_000, output_tokens: 100 };
    const items = [{ type: 'file_search_call', id: 'fs', status: 'completed', queries: ['x'] }];
    const failNext = [{ type: 'failed' as const, name: 'server_error' }];
    const failed = await ask('openai', { usage, extra: { items }, failNext });
    expect(failed.billed).toEqual(['1.251 unverified', '1.251 unverified']);
    expect(failed).toMatchObject({ status: 'completed', text: 'two' });
  });

  test('XD2: an answer whose usage came is whole and billed, although its connection then breaks (google)', async () => {
    const usage = { promptTokenCount: 1_000, candidatesTokenCount: 200 };
    const cut = await ask('google', { usage, failNext: [{ type: 'cut-after-usage' }] });
    expect(cut).toEqual({ billed: ['0.0008 actual'], status: 'completed', text: 'one' });
  });

  test.each<[string, Partial<ModelKnobs>, string[], string]>([
    [
      'a filtered answer',
      { extra: { candidate: { finishReason: 'PROHIBITED_CONTENT', content: {} } } },
      ['0.0008 actual'],
      'failed',
    ],
    [
      'a call that went wrong, and the answer after it,',
      { replies: [{ endedAs: 'MALFORMED_FUNCTION_CALL' }, { text: 'two' }] },
      ['0.0008 actual', '0.0008 actual'],
      'completed',
    ],
  ])('XD2: %s of Google is billed at its cost', async (_what, knobs, lines, status) => {
    const usage = { promptTokenCount: 1_000, candidatesTokenCount: 200 };
    expect(await ask('google', { ...knobs, usage })).toMatchObject({ billed: lines, status });
  });

  /** An answer that is paid for and kept, at a cost that nobody can tell: once, at the estimate. */
  const unverified = { billed: [expect.stringMatching(/^0[.]\d+ unverified$/)], status: 'completed', text: 'one' };

  test.each<[string, Provider, Partial<ModelKnobs>]>([
    ['a last event without usage', 'anthropic', { usage: null }],
    ['a first event without usage', 'anthropic', { usageAtStart: null }],
    ['a second message', 'anthropic', { failNext: [{ type: 'second-message' }] }],
    ['a negative count', 'anthropic', { usage: { output_tokens: -5 } }],
    ['a count as text', 'anthropic', { usage: { input_tokens: '12' } }],
    ['a huge count', 'anthropic', { usage: { cache_read_input_tokens: 1e15 } }],
    ['a count that is an object', 'anthropic', { usage: { server_tool_use: { web_search_requests: { all: 1 } } } }],
    ['another tier', 'anthropic', { usage: { service_tier: 'priority' } }],
    [
      'requests that add up to more',
      'anthropic',
      { usage: { iterations: [{ type: 'message', input_tokens: 9e6, output_tokens: 1 }] } },
    ],
    ['no usage', 'openai', { usage: null }],
    ['a total that is no sum', 'openai', { usage: { input_tokens: 100, output_tokens: 50, total_tokens: 200 } }],
    ['another tier', 'openai', { extra: { serviceTier: 'priority' } }],
    ['no usage', 'google', { usage: null, usageAtStart: null }],
    ['usage before its end only', 'google', { usage: null }],
    [
      'thinking that no field has',
      'google',
      { usage: { promptTokenCount: 41, candidatesTokenCount: 5, totalTokenCount: 389 } },
    ],
    ['a fraction', 'google', { usage: { candidatesTokenCount: 0.5 } }],
  ])('XD3: an answer is kept, and unverified once, with %s (%s)', async (_what, provider, knobs) => {
    expect(await ask(provider, knobs)).toEqual(unverified);
  });

  test.each<[string, Provider, Partial<ModelKnobs>]>([
    [
      'a search',
      'openai',
      {
        extra: {
          items: [{ type: 'web_search_call', id: 'ws', status: 'completed', action: { type: 'search', query: 'x' } }],
        },
      },
    ],
    [
      'a search in files',
      'openai',
      { extra: { items: [{ type: 'file_search_call', id: 'fs', status: 'completed', queries: ['x'] }] } },
    ],
    ['a search', 'google', { extra: { candidate: { groundingMetadata: { webSearchQueries: ['x'] } } } }],
  ])('XF10: %s without a price in an answer of %s is no cost of zero', async (_what, provider, knobs) => {
    expect(await ask(provider, knobs)).toEqual(unverified);
  });

  test.each<[Provider, Partial<ModelKnobs>, string]>([
    [
      'openai',
      {
        usage: { input_tokens: 1_000, output_tokens: 100 },
        extra: {
          items: [{ type: 'web_search_call', id: 'ws', status: 'completed', action: { type: 'search', query: 'x' } }],
        },
      },
      // 1,000 × 1.25 + 100 × 10 in micro-dollars, and a cent.
      '0.01225 actual',
    ],
    [
      'google',
      {
        usage: { promptTokenCount: 1_000, candidatesTokenCount: 200 },
        extra: { candidate: { groundingMetadata: { webSearchQueries: ['x', 'y'] } } },
      },
      // As without, and one answer that was grounded.
      '0.0108 actual',
    ],
  ])('XF10: a search of %s is billed where the price has a rate', async (provider, knobs, expected) => {
    const model = `${models[provider]}-searched`;
    await stack.admin.query(
      `INSERT INTO copilot_internal.model_prices (price_version, provider, model, effective_from, input_usd_per_mtok,
         output_usd_per_mtok, cache_read_usd_per_mtok, web_search_usd_per_thousand, notes, source, source_date)
       SELECT provider || '/' || $2 || '@2026-01-04', provider, $2, effective_from, input_usd_per_mtok,
         output_usd_per_mtok, cache_read_usd_per_mtok, 10, '', 'a test', '2026-01-04'
       FROM copilot_internal.model_prices WHERE model = $1`,
      [models[provider], model],
    );
    expect(await ask(provider, knobs, model)).toEqual({ billed: [expected], status: 'completed', text: 'one' });
  });

  const iterations = [
    {
      type: 'message',
      model: 'claude-fable-5',
      input_tokens: 2,
      output_tokens: 578,
      cache_creation_input_tokens: 10_421,
      cache_read_input_tokens: 72_769,
    },
    {
      type: 'fallback_message',
      model: 'claude-opus-4-8',
      input_tokens: 2,
      output_tokens: 13_658,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 79_214,
    },
  ];

  test('XD3: what another model served is billed at that model’s price', async () => {
    const usage = { input_tokens: 2, output_tokens: 13_658, cache_read_input_tokens: 79_214, iterations };
    expect(await ask('anthropic', { usage }, 'claude-fable-5')).toEqual({
      billed: ['0.6130185 actual'],
      status: 'completed',
      text: 'one',
    });
  });

  test.each<[Provider, string]>([
    ['anthropic', 'rate_limit_error'],
    ['anthropic', 'overloaded_error'],
    ['openai', 'rate_limit_exceeded'],
    ['google', 'RESOURCE_EXHAUSTED'],
    ['google', 'UNAVAILABLE'],
  ])(
    'XF6: a limit that %s tells in an accepted stream before any output is not billed (%s)',
    async (provider, name) => {
      const { billed: lines, status } = await ask(provider, { failNext: [{ type: 'error-event', name }] });
      expect(lines).toEqual([expect.stringMatching(/ actual$/)]);
      expect(status).toBe('completed');
    },
  );

  test.each<[Provider, string]>([
    ['anthropic', 'overloaded_error'],
    ['openai', 'rate_limit_exceeded'],
    ['google', 'UNAVAILABLE'],
  ])('XF6: the same from %s after output began is charged as unverified', async (provider, name) => {
    const { billed: lines } = await ask(provider, { failNext: [{ type: 'error-event', name, after: 'output' }] });
    expect(lines).toEqual([expect.stringMatching(/ unverified$/), expect.stringMatching(/ actual$/)]);
  });

  test.each<[Provider, string]>([
    ['openai', 'rate_limit_exceeded'],
    ['google', 'RESOURCE_EXHAUSTED'],
  ])('XF6: %s is left alone for as long as it asks within the stream', async (provider, name) => {
    const talk = await TestConversation.start(api, await stack.tenant('5'), { model: models[provider] });
    stack[provider].knobs.failNext = [{ type: 'error-event', name, retryAfterSeconds: 3_600 }];
    const refusedBefore = stack[provider].calls().refused;
    await talk.post('Hello.');
    await until('the refusal', () => stack[provider].calls().refused === refusedBefore + 1);
    await until('the release', async () => (await stack.books(talk.tenantId)).reservedUsd === '0');
    const { raw } = await stack.temporal.workflow.getHandle(talk.workflowId).describe();
    expect(raw.pendingActivities ?? []).toEqual([]);
    expect(await billed(talk)).toEqual([]);
    expect((await talk.turns())[0]?.status).toBe('running');
    await talk.close();
  });

  test('XF9: requests say at which tier, and where it matters in which region, they want to be served', async () => {
    await ask('anthropic', {});
    expect(stack.anthropic.lastRequest()).toMatchObject({ service_tier: 'standard_only' });
    expect(stack.anthropic.lastRequest()).not.toHaveProperty('inference_geo');
    await ask('anthropic', {}, 'claude-opus-4-8');
    expect(stack.anthropic.lastRequest()).toMatchObject({ service_tier: 'standard_only', inference_geo: 'global' });
    await ask('openai', {});
    expect(stack.openai.lastRequest()).toMatchObject({ service_tier: 'default' });
  });
});
