/** How models are to answer: told to each provider as it takes it, refused where one does not, and thoughts paid as what they are. */
import { parseUsd } from '../../core/money';
import type { ModelUsage } from '../../core/prices/usage';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { endedRun } from '../support/http-runs';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

type Provider = 'anthropic' | 'openai' | 'google';

describe('a run with settings of its own', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const begin = async (body: object, tenantId?: string) => {
    const { run, runId, key } = await endedRun({ stack, api }, body, tenantId);
    const { body: costs } = await api.call('GET', `/v1/cost-records?runId=${runId}&resource=llm&limit=50`, { key });
    const records = costs.records as { amountUsd: string; estimatedUsd: string; usage: ModelUsage; model: string }[];
    for (const { amountUsd, estimatedUsd } of records)
      expect(parseUsd(amountUsd)).toBeLessThanOrEqual(parseUsd(estimatedUsd));
    return { run, records };
  };
  const looks = [{ text: 'Let me see.', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
  const task = 'What is six times seven?';

  // What is sent of a setting, and that the thought of the first call is part of the second.
  const cases: [model: string, provider: Provider, settings: object, sent: object, sentBack: RegExp][] = [
    [
      'claude-haiku-4-5',
      'anthropic',
      { thinkingBudgetTokens: 2_000 },
      { thinking: { type: 'enabled', budget_tokens: 2_000 } },
      /"type":"thinking","thinking":"I think about it, in 100 tokens.","signature":"sig_/,
    ],
    [
      'claude-sonnet-5',
      'anthropic',
      { effort: 'high' },
      { thinking: { type: 'adaptive' }, output_config: { effort: 'high' } },
      /"signature":"sig_/,
    ],
    ['gpt-5.1', 'openai', { effort: 'low' }, { reasoning: { effort: 'low' } }, /"encrypted_content":"enc_/],
    [
      'gemini-2.5-flash',
      'google',
      { thinkingBudgetTokens: 2_000, temperature: 0.3 },
      { generationConfig: { thinkingConfig: { thinkingBudget: 2_000 }, temperature: 0.3 } },
      /"thoughtSignature":"sig_/,
    ],
    [
      'gemini-3.5-flash',
      'google',
      { effort: 'minimal' },
      { generationConfig: { thinkingConfig: { thinkingLevel: 'MINIMAL' } } },
      /"thoughtSignature":"sig_/,
    ],
  ];
  test.each(cases)(
    '%s of %s thinks as %j says, its thoughts go back with what tools said, and are paid as output',
    async (model, provider, settings, sent, sentBack) => {
      stack[provider].knobs.replies = [...looks];
      const { run, records } = await begin({ task, model, settings });
      expect(run).toMatchObject({ status: 'completed', answer: 'It is 42.' });
      const last = stack[provider].lastRequest();
      expect(last).toMatchObject(sent);
      expect(JSON.stringify(last)).toMatch(sentBack);
      // A hundred of them are thoughts.
      expect(records.map(({ usage }) => usage.outputTokens > 100)).toEqual([true, true]);
    },
  );

  test('thinks in all calls of a turn that began with a thought, however many tools it uses', async () => {
    const sent: unknown[] = [];
    stack.anthropic.knobs.onBilled = (request) => void sent.push((request as { thinking?: unknown }).thinking);
    stack.anthropic.knobs.replies = [looks[0], looks[0], looks[1]].map((reply) => ({ text: '', ...reply }));
    const settings = { thinkingBudgetTokens: 2_000 };
    const { run } = await begin({ task, model: 'claude-haiku-4-5', settings });
    stack.anthropic.knobs.onBilled = undefined as never;
    expect(run).toMatchObject({ status: 'completed', answer: 'It is 42.' });
    const thinking = { type: 'enabled', budget_tokens: 2_000 };
    expect(sent).toEqual([thinking, thinking, thinking]);
  });

  test('of a model without thoughts asks for none of them', async () => {
    stack.openai.knobs.replies = [...looks];
    const { run } = await begin({ task, model: 'gpt-4o' });
    expect(run).toMatchObject({ status: 'completed', answer: 'It is 42.' });
    expect(stack.openai.lastRequest()).not.toHaveProperty('include');
  });

  test.each([
    ['claude-haiku-4-5', 'anthropic', 0],
    ['claude-haiku-4-5', 'anthropic', 0.7],
    ['gpt-4o', 'openai', 0],
    ['gpt-4o', 'openai', 1.4],
  ] as const)(
    'of %s words its answers as freely as it is told, in each call: %s, %d',
    async (model, provider, temperature) => {
      const sent: unknown[] = [];
      const { knobs } = stack[provider];
      knobs.onBilled = (request) => void sent.push((request as { temperature?: unknown }).temperature);
      knobs.replies = [...looks];
      const { run } = await begin({ task, model, settings: { temperature } });
      knobs.onBilled = undefined as never;
      expect(run).toMatchObject({ status: 'completed', answer: 'It is 42.' });
      expect(sent).toEqual([temperature, temperature]);
    },
  );

  test('goes on with Gemini 3, which wants calls of tools signed, where another model has used some', async () => {
    const failing = { type: 'status', status: 503 } as const;
    stack.anthropic.knobs.replies = [looks[0] as { text: string }];
    stack.anthropic.knobs.onBilled = () => void (stack.anthropic.knobs.failNext = [failing, failing]);
    stack.google.knobs.replies = [{ text: 'It is 42.' }];
    const { run } = await begin({
      task,
      model: 'claude-sonnet-4-6',
      fallbackModels: ['gemini-3.5-flash'],
      settings: { effort: 'low' },
    });
    stack.anthropic.knobs.onBilled = undefined as never;
    stack.anthropic.knobs.failNext = [];
    expect(run).toMatchObject({ status: 'completed', answer: 'It is 42.' });
    expect(JSON.stringify(stack.google.lastRequest())).toContain(
      '"thoughtSignature":"skip_thought_signature_validator"',
    );
  });

  test('of gpt-5.1 without a thought words its answer as it is told', async () => {
    stack.openai.knobs.replies = [{ text: 'Nothing.' }];
    const { run, records } = await begin({ task, model: 'gpt-5.1', settings: { effort: 'none', temperature: 0.2 } });
    expect(run).toMatchObject({ status: 'completed' });
    expect(stack.openai.lastRequest()).toMatchObject({ reasoning: { effort: 'none' }, temperature: 0.2 });
    expect(records[0]?.usage.outputTokens).toBeLessThan(100);
  });

  test.each([
    ['claude-haiku-4-5', 'anthropic'],
    ['gemini-2.5-flash', 'google'],
  ] as const)('of %s ends its answer before a text that it was told', async (model, provider) => {
    stack[provider].knobs.replies = [{ text: 'One, two, END three.' }];
    const { run } = await begin({ task, model, settings: { stopSequences: ['STOP', 'END'], temperature: 0 } });
    expect(run).toMatchObject({ status: 'completed', answer: 'One, two, ' });
  });

  test('is refused by name before anything is stored, for its model and for each that may take its place', async () => {
    const key = await api.keyOf(await stack.tenant('5'));
    const ask = async (body: Record<string, unknown>, path = '/v1/runs'): Promise<[number, unknown]> => {
      const { status, body: answer } = await api.call('POST', path, { key, body });
      return [status, answer.message];
    };
    const claude = { task, model: 'claude-sonnet-5' };
    expect(await ask({ ...claude, settings: { temperature: 0.5 } })).toEqual([
      400,
      'settings.temperature: claude-sonnet-5 takes none. It takes effort (low, medium, high, xhigh, max), stopSequences (at most 5). Nothing was stored.',
    ]);
    for (const [model, settings, taken] of [
      ['o3', { temperature: 0.5 }, 'takes none. It takes effort (low, medium, high).'],
      ['claude-haiku-4-5', { temperature: 0.5, thinkingBudgetTokens: 2_000 }, 'takes none while it thinks. It takes'],
      ['claude-haiku-4-5', { temperature: 1.1 }, 'takes none above 1. It takes'],
    ] as const)
      expect(await ask({ task, model, settings })).toEqual([
        400,
        expect.stringContaining(`settings.temperature: ${model} ${taken}`),
      ]);
    const [status, message] = await ask({ ...claude, fallbackModels: ['gpt-4o'], settings: { effort: 'high' } });
    expect([status, message]).toEqual([
      400,
      expect.stringContaining('settings.effort: gpt-4o takes none. It takes temperature (0 to 2).'),
    ]);
    expect(await ask({ model: 'gpt-4o', settings: { stopSequences: ['END'] } }, '/v1/conversations')).toEqual([
      400,
      expect.stringContaining('settings.stopSequences: gpt-4o takes none.'),
    ]);
    for (const settings of [
      { effort: 'high', thinkingBudgetTokens: 2_000 },
      { effort: 'highest' },
      { stopSequences: [' \n'] },
      { stopSequences: [] },
      { temperature: -1 },
      { thinkingBudgetTokens: 1.5 },
      { topK: 3 },
    ])
      expect((await ask({ ...claude, settings }))[0]).toBe(400);
    expect((await api.call('GET', '/v1/runs', { key })).body.runs).toEqual([]);
    expect(stack.anthropic.calls().billable).toBe(stack.anthropic.calls().answered);
  });

  test('that is granted less thinks less, and leaves its answer room', async () => {
    // The prompt and some 1,500 tokens of an answer, of the 8,000 that were asked for.
    stack.anthropic.knobs.replies = [{ text: 'Short.' }];
    const settings = { thinkingBudgetTokens: 4_000 };
    const limits = { maxOutputTokens: 8_000, maxCostUsd: '0.0095' };
    const { run } = await begin({ task, model: 'claude-haiku-4-5', tools: [], settings, limits });
    expect(run).toMatchObject({ status: 'completed', answer: 'Short.' });
    const { max_tokens: most = 0, thinking } = stack.anthropic.lastRequest() as {
      max_tokens?: number;
      thinking?: { budget_tokens: number };
    };
    expect(most).toBeLessThan(4_000);
    expect(thinking?.budget_tokens).toBe(most - 256);
    stack.anthropic.knobs.replies = [{ text: 'Shorter.' }];
    const least = await begin({
      task,
      model: 'claude-haiku-4-5',
      tools: [],
      settings,
      limits: { ...limits, maxCostUsd: '0.005' },
    });
    expect(least.run).toMatchObject({ status: 'completed', answer: 'Shorter.' });
    expect(stack.anthropic.lastRequest()).not.toHaveProperty('thinking');
  });

  test('goes on with another model that thinks by a budget, which has had no thought of its own yet', async () => {
    stack.google.knobs.replies = [looks[0] as { text: string }];
    stack.anthropic.knobs.replies = [{ text: 'It is 42.' }];
    const failing = { type: 'status', status: 503 } as const;
    const talk = await TestConversation.start(api, await stack.tenant('5'), {
      model: 'gemini-2.5-flash',
      fallbackModels: ['claude-haiku-4-5'],
      settings: { thinkingBudgetTokens: 2_000 },
    });
    // It answers once, and then no more.
    const began = stack.google.calls().billable;
    stack.google.knobs.onBilled = () => void (stack.google.knobs.failNext = [failing, failing]);
    expect(await talk.ended(await talk.post(task))).toBe('completed');
    expect(stack.google.calls().billable).toBe(began + 1);
    expect(stack.anthropic.lastRequest()).not.toHaveProperty('thinking');
    // Its next turn begins with a thought again.
    stack.google.knobs.onBilled = undefined as never;
    stack.google.knobs.failNext = [failing, failing];
    stack.anthropic.knobs.replies = [{ text: 'Yes.' }];
    expect(await talk.ended(await talk.post('Are you sure?'))).toBe('completed');
    expect(stack.anthropic.lastRequest()).toHaveProperty('thinking');
    await talk.close();
  });

  test('whose money is used up thinks as little as it can at its last call', async () => {
    const { run } = await begin({
      task: 'Find 60 facts about fog.',
      model: 'claude-haiku-4-5',
      settings: { thinkingBudgetTokens: 1_100 },
      limits: { maxSteps: 60, maxCostUsd: '0.12', maxOutputTokens: 1_400, lastCall: true },
    });
    expect(run).toMatchObject({ status: 'completed', stoppedBy: 'budget' });
    expect(stack.anthropic.lastRequest()).toMatchObject({ tool_choice: { type: 'none' } });
    expect(stack.anthropic.lastRequest()).not.toHaveProperty('thinking');
  });

  test('sums its context up without them', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('50'), {
      model: 'claude-sonnet-5-5',
      settings: { effort: 'low', stopSequences: ['summary'] },
      compaction: { contextTokens: 6_500, atShare: 0.8 },
    });
    const requests: Record<string, unknown>[] = [];
    stack.anthropic.knobs.onBilled = (request) => void requests.push(request as Record<string, unknown>);
    stack.anthropic.knobs.replies = Array.from({ length: 8 }, () => ({ text: 'Well.' }));
    const long = 'word '.repeat(1_200);
    for (let turn = 1; turn <= 4; turn += 1) expect(await talk.ended(await talk.post(long))).toBe('completed');
    const summing = requests.find(({ system }) => String(system).startsWith('You sum up'));
    expect(summing).toBeDefined();
    expect(summing).not.toHaveProperty('stop_sequences');
    expect(summing).not.toHaveProperty('output_config');
    // What came before them is told otherwise now, so that thoughts of before are refused.
    expect(JSON.stringify(requests[1])).toContain('"type":"thinking"');
    expect(JSON.stringify(requests.at(-1))).not.toContain('"type":"thinking"');
    expect(requests.at(-1)).toMatchObject({ output_config: { effort: 'low' } });
    await talk.close();
  });
});
