/** A run that knows its money ends with an answer made of what it found, within its limit. */
import { parseUsd } from '../../core/money';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { beginRun } from '../support/http-runs';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('a run whose budget is too small for its task', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const models = ['claude-haiku-4-5', 'gpt-4o', 'gemini-2.5-flash', 'claude-sonnet-5'];
  const begin = async (body: object) => {
    const { ended, ...begun } = await beginRun({ stack, api }, body);
    return { ...begun, ended: () => ended(240_000) };
  };
  const factsIn = async (key: string, runId: string): Promise<string[]> => {
    const { body } = await api.call('GET', `/v1/runs/${runId}/messages?limit=500`, { key });
    const blocks = (body.messages as { content: { type: string; content?: string }[] }[]).flatMap(
      ({ content }) => content,
    );
    return blocks.flatMap(({ type, content }) =>
      type === 'tool_result' ? (String(content).match(/fact \d+ is \d+/g) ?? []) : [],
    );
  };

  /** What a run's model was told of its money, in its order. */
  const toldOf = async (runId: string): Promise<unknown[]> => {
    const { rows } = await stack.admin.query<{ level: unknown }>(
      `SELECT data -> 'level' AS level FROM copilot_internal.run_events WHERE run_id = $1 AND type = 'budget.told' ORDER BY sequence`,
      [runId],
    );
    return rows.map(({ level }) => level);
  };

  // Ten kinds: how much there is to find, what it may cost, and who is asked.
  const kinds = Array.from({ length: 10 }, (_, kind) => ({
    task: `Find ${30 + kind * 2} facts about ${['rivers', 'bridges', 'bees', 'salt', 'kites'][kind % 5]}.`,
    model: models[kind % models.length],
    limits: {
      maxSteps: 60,
      maxCostUsd: ['0.06', '0.1', '0.045', '0.1'][kind % 4] as string,
      maxOutputTokens: 300 + 100 * (kind % 4),
      lastCall: true,
    },
  }));

  test('ends nine times of ten with an answer made of what was found', async () => {
    const runs = await Promise.all(kinds.map(begin));
    const found: string[] = [];
    const told: unknown[][] = [];
    for (const [kind, { key, runId, tenantId, ended }] of runs.entries()) {
      const run = await ended();
      const facts = await factsIn(key, runId);
      const { maxCostUsd } = (kinds[kind] as (typeof kinds)[number]).limits;
      expect(parseUsd(run.costUsd)).toBeLessThanOrEqual(parseUsd(maxCostUsd));
      const isFull = facts.length > 0 && facts.every((fact) => run.answer?.includes(fact));
      found.push(
        run.status === 'completed' && run.stoppedBy === 'budget' && isFull
          ? 'made of what was found'
          : JSON.stringify([run.status, run.stoppedBy, run.failure, facts.length, run.costUsd]),
      );
      expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
      told.push(await toldOf(runId));
    }
    // Each level once; one that was passed between two steps is not told any more.
    for (const levels of told) expect(levels).toEqual([0, 50, 80, 'last'].filter((level) => levels.includes(level)));
    expect(told.filter((levels) => levels.includes(50)).length).toBeGreaterThan(4);
    expect(told.filter((levels) => levels.length === 4).length).toBeGreaterThan(0);
    console.log(found.join('\n'));
    expect(found.filter((one) => one === 'made of what was found').length).toBeGreaterThanOrEqual(9);
  }, 300_000);

  test('gives back what was held where it comes to its own end, and tells its model what is left without breaking its caches', async () => {
    const { key, runId, tenantId, ended } = await begin({
      task: 'Find 3 facts about tea.',
      model: 'claude-sonnet-5',
      instructions: 'rule '.repeat(3_000),
      limits: { maxCostUsd: '2', lastCall: true },
    });
    const run = await ended();
    expect(run).toMatchObject({ status: 'completed', stoppedBy: null });
    const released = run.steps.filter(({ status }) => status === 'released');
    expect(released).toMatchObject([{ kind: 'llm.call' }]);
    // Twice of a last call's at most, and no share of what the run may cost.
    expect(parseUsd(String(released[0]?.reservedUsd))).toBeLessThan(parseUsd('0.25'));
    const { body } = await api.call('GET', `/v1/cost-records?runId=${runId}&kind=llm.call&limit=50`, { key });
    const usages = (body.records as { usage: { cacheReadTokens: number } }[]).map(({ usage }) => usage.cacheReadTokens);
    expect(usages.map((read) => read > 3_000)).toEqual([false, true, true, true]);
    expect(JSON.stringify(stack.anthropic.lastRequest().messages)).toContain('[Budget: $2.00 for this.');
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('of a conversation, each turn: a turn ends so, and the next begins with a limit of its own', async () => {
    const tenantId = await stack.tenant('50');
    const talk = await TestConversation.start(api, tenantId, {
      model: 'claude-haiku-4-5',
      limits: { maxCostUsd: '0.07', maxOutputTokens: 300, lastCall: true, maxSteps: 60 },
    });
    stack.anthropic.knobs.replies = Array.from({ length: 40 }, (_, at) => ({
      text: `Looked ${at} times.`,
      code: `console.log('x'.repeat(900), ${at})`,
    }));
    expect(await talk.ended(await talk.post('Go on for long.'))).toBe('completed');
    expect((await talk.turns()).at(-1)).toMatchObject({ status: 'completed', stoppedBy: 'budget' });
    expect(JSON.stringify((await talk.messages()).at(-1)?.content)).toMatch(/Looked \d+ times/);
    stack.anthropic.knobs.replies = [{ text: 'Thanks.' }];
    expect(await talk.ended(await talk.post('Thank you.'))).toBe('completed');
    expect((await talk.turns()).at(-1)).toMatchObject({ status: 'completed', stoppedBy: null });
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  const search = { task: 'Find 60 facts about fog.', model: 'claude-haiku-4-5' };
  const small = { maxSteps: 60, maxCostUsd: '0.07', maxOutputTokens: 300, lastCall: true };

  test('that has found nothing yet is denied as any other: there is nothing to make an answer of', async () => {
    const { tenantId, ended } = await begin({ ...search, limits: { ...small, maxCostUsd: '0.003' } });
    expect(await ended()).toMatchObject({ status: 'failed', failure: { code: 'run_limit_exceeded' }, stoppedBy: null });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test.each([
    ['refuses', { text: '', isRefusal: true as const }, 'model_refused'],
    ['says nothing', { text: ' ' }, 'run_limit_exceeded'],
  ])('whose model %s at its last call is not completed', async (_, reply, code) => {
    stack.anthropic.knobs.lastReply = reply;
    const { ended, tenantId } = await begin({ ...search, limits: small });
    expect(await ended()).toMatchObject({ status: 'failed', failure: { code }, stoppedBy: null });
    stack.anthropic.knobs.lastReply = undefined;
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('holds no more than twice of what a last call may cost, so that others of its tenant go on', async () => {
    const tenantId = await stack.tenant('1');
    const key = await api.keyOf(tenantId);
    const body = { ...search, task: 'Find 2 facts about rain.', limits: { maxCostUsd: '5', lastCall: true } };
    const started = await Promise.all(Array.from({ length: 5 }, () => api.call('POST', '/v1/runs', { key, body })));
    for (const { body: answer } of started) {
      const run = await until('the run is over', async () => {
        const { body: view } = await api.call('GET', `/v1/runs/${String(answer.runId)}`, { key });
        return view.status === 'running' ? undefined : view;
      });
      expect(run).toMatchObject({ status: 'completed', stoppedBy: null });
    }
  });

  test('whose first model cannot be reached goes on with the next', async () => {
    stack.anthropic.knobs.failNext = Array.from({ length: 8 }, () => ({ type: 'status', status: 401 }));
    const limits = { ...small, maxCostUsd: '0.12' };
    const { ended } = await begin({ ...search, fallbackModels: ['gpt-4o'], limits });
    const run = await ended();
    stack.anthropic.knobs.failNext = [];
    expect([run.status, run.failure]).toEqual(['completed', null]);
  });

  test('whose last step made it due answers after it, whatever its limit of steps', async () => {
    const { ended } = await begin({ ...search, limits: { ...small, maxSteps: 1, maxCostUsd: '0.03' } });
    const run = await ended();
    expect([run.status, run.stoppedBy, run.failure]).toEqual(['completed', 'budget', null]);
  });

  test('cancelled, it gives back what is held', async () => {
    stack.anthropic.knobs.latencyMs = 3_000;
    const { key, runId, tenantId, ended } = await begin({
      task: 'Find 3 facts about ice.',
      model: 'claude-haiku-4-5',
      limits: { maxCostUsd: '1', lastCall: true },
    });
    await until('it is called', () => stack.anthropic.calls().inFlight > 0);
    expect((await stack.books(tenantId)).openReservations).toBe(2);
    await api.call('POST', `/v1/runs/${runId}/cancel`, { key, body: {} });
    expect(await ended()).toMatchObject({ status: 'cancelled', stoppedBy: null });
    stack.anthropic.knobs.latencyMs = 0;
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('wants a limit, and is not for what waits for money', async () => {
    const key = await api.keyOf(await stack.tenant('5'));
    const refused = async (body: Record<string, unknown>) =>
      (await api.call('POST', '/v1/runs', { key, body: { task: 'Go.', ...body } })).body;
    expect(await refused({ limits: { lastCall: true } })).toMatchObject({ error: 'invalid_request' });
    expect(await refused({ limits: { lastCall: true, maxCostUsd: '1' }, onDenied: 'wait' })).toMatchObject({
      error: 'invalid_request',
    });
  });
});
