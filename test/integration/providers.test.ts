/** Three providers behind one interface: the same conversation with each, each with its own usage semantics. */
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';
import { costOfUsage } from '../../core/prices/pricing';
import { formatUsd } from '../../core/money';
import { findModelPrice } from '../../core/prices/prices';
import type { ModelUsage } from '../../core/prices/usage';
import { readPrices } from '../../store/prices';

describe('a model of each provider', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { environment: { SPENDLOCK_STREAM_IDLE_SECONDS: '3' } });

  const models = { anthropic: 'claude-haiku-4-5', openai: 'gpt-4o', google: 'gemini-2.5-flash' } as const;
  type Provider = keyof typeof models;
  const each = Object.keys(models) as Provider[];

  interface Record1 {
    kind: string;
    model: string;
    amountUsd: string;
    settlement: string;
    priceVersion: string;
    usage: ModelUsage;
  }
  const records = async (talk: TestConversation, resource = 'llm'): Promise<Record1[]> =>
    (await api.call('GET', `/v1/cost-records?conversationId=${talk.id}&resource=${resource}`, { key: talk.key })).body
      .records as Record1[];

  test.each(each)('%s: answers, calls a tool, is told its result, and is billed exactly', async (provider) => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { model: models[provider] });
    const standIn = stack[provider];
    standIn.knobs.replies = [{ text: 'Let me see.', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
    const events = await talk.say('What is six times seven?');
    const text = events.filter(({ event }) => event === 'delta').map(({ data }) => data.text);
    expect(text.join('')).toBe('Let me see.It is 42.');
    expect(events.at(-1)).toMatchObject({ event: 'done', data: { status: 'completed' } });
    // The result went back in the provider's own form.
    expect(JSON.stringify(standIn.lastRequest())).toContain(String.raw`42\n`);
    const { models: prices } = await readPrices(stack.pool);
    const billed = await records(talk);
    expect(billed).toHaveLength(2);
    for (const { model, amountUsd, usage, settlement, priceVersion } of billed) {
      const price = findModelPrice(prices, { model: models[provider], at: Date.now() });
      expect({ model, settlement, priceVersion }).toEqual({
        model: models[provider],
        settlement: 'actual',
        priceVersion: price.priceVersion,
      });
      expect(amountUsd).toBe(formatUsd(costOfUsage(price, usage).costUsd));
    }
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('OpenAI’s cached tokens are part of its input, Gemini’s too, and its thinking is output', async () => {
    const usageBy = async (
      provider: 'openai' | 'google',
      usage: Record<string, unknown>,
    ): Promise<ModelUsage | undefined> => {
      const talk = await TestConversation.start(api, await stack.tenant('5'), { model: models[provider] });
      Object.assign(stack[provider].knobs, { replies: [{ text: 'one' }], usage });
      await talk.say('Hello.');
      await talk.close();
      return (await records(talk))[0]?.usage;
    };
    expect(
      await usageBy('openai', {
        input_tokens: 1_000,
        input_tokens_details: { cached_tokens: 400 },
        output_tokens: 50,
        output_tokens_details: { reasoning_tokens: 30 },
      }),
    ).toMatchObject({ inputTokens: 600, cacheReadTokens: 400, outputTokens: 50 });
    expect(
      await usageBy('google', {
        promptTokenCount: 1_000,
        cachedContentTokenCount: 400,
        candidatesTokenCount: 20,
        thoughtsTokenCount: 30,
      }),
    ).toMatchObject({ inputTokens: 600, cacheReadTokens: 400, outputTokens: 50 });
  });

  test.each(each)(
    '%s: refused before output is free, cut off before usage is charged as unverified',
    async (provider) => {
      const talk = await TestConversation.start(api, await stack.tenant('5'), { model: models[provider] });
      stack[provider].knobs.failNext = [{ type: 'status', status: 429 }, { type: 'cut-before-usage' }];
      stack[provider].knobs.replies = [{ text: 'lost' }, { text: 'one' }];
      expect((await talk.say('Hello.')).at(-1)?.data).toMatchObject({ status: 'completed' });
      expect((await records(talk)).map(({ settlement }) => settlement)).toEqual(['unverified', 'actual']);
      await talk.close();
    },
  );

  test.each(each)('%s: a refusal fails its turn, runs no tool, and is no end of the conversation', async (provider) => {
    const talk = await TestConversation.start(api, await stack.tenant('5'), { model: models[provider] });
    const { knobs } = stack[provider];
    knobs.replies = [{ text: 'I cannot', code: 'console.log(1)', isRefusal: true }];
    await talk.say('Do it.');
    expect(await talk.turns()).toMatchObject([{ status: 'failed', failure: { code: 'model_refused' } }]);
    knobs.replies = [{ text: 'one' }];
    expect((await talk.say('Something else.')).at(-1)?.data).toMatchObject({ status: 'completed' });
    expect((await records(talk)).map(({ settlement }) => settlement)).toEqual(['actual', 'actual']);
    expect(await records(talk, 'e2b')).toEqual([]);
    await talk.close();
  });

  test('a run whose model refuses before it writes anything fails, and costs what Anthropic bills of it', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ isRefusal: true }];
    const run = await stack.run({ tenantId, task: 'Do it.' });
    expect(await stack.show(run)).toMatchObject({ status: 'failed', failure: { code: 'model_refused' } });
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0', reservedUsd: '0', openReservations: 0 });
  });

  test.each(each)('%s: a stream that hangs is ended, and settled as unknown (F24)', async (provider) => {
    const talk = await TestConversation.start(api, await stack.tenant('5'), { model: models[provider] });
    stack[provider].knobs.failNext = [{ type: 'hang' }];
    stack[provider].knobs.replies = [{ text: 'lost' }, { text: 'one' }];
    // The worker of this test gives a silent stream three seconds.
    expect((await talk.say('Hello.')).at(-1)?.data).toMatchObject({ status: 'completed' });
    expect((await records(talk)).map(({ settlement }) => settlement)).toEqual(['unverified', 'actual']);
    await talk.close();
  });

  test('a fallback model is reserved and billed at its own price', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'), {
      model: models.anthropic,
      fallbackModels: [models.openai],
    });
    stack.anthropic.knobs.failNext = [
      { type: 'status', status: 529 },
      { type: 'status', status: 529 },
    ];
    stack.openai.knobs.replies = [{ text: 'from the other' }];
    expect((await talk.say('Hello.')).find(({ event }) => event === 'model.replied')?.data).toMatchObject({
      model: models.openai,
      text: 'from the other',
    });
    expect(await records(talk)).toMatchObject([{ model: models.openai, priceVersion: 'openai/gpt-4o@2026-01-04' }]);
    await talk.close();
  });

  test('a provider that asks for an hour is not waited for when there is a fallback, and durably otherwise (F23)', async () => {
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 429, retryAfterSeconds: 3_600 }];
    stack.openai.knobs.replies = [{ text: 'at once' }];
    const talk = await TestConversation.start(api, await stack.tenant('5'), {
      model: models.anthropic,
      fallbackModels: [models.openai],
    });
    expect((await talk.say('Hello.')).at(-1)?.data).toMatchObject({ status: 'completed' });
    await talk.close();
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 429, retryAfterSeconds: 3_600 }];
    const patient = await TestConversation.start(api, await stack.tenant('5'));
    await patient.post('Hello.');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const { raw } = await stack.temporal.workflow.getHandle(patient.workflowId).describe();
    expect(raw.pendingActivities ?? []).toEqual([]);
    expect((await patient.turns())[0]?.status).toBe('running');
    await patient.close();
  });
});
