import { randomUUID } from 'node:crypto';
import { DEMO_TASK } from '../../scripts/stand-ins';
import { budgetWorkflowId } from '../../contracts/messages';
import { ordersCsv, TestStack } from '../support/stack';

describe('a run', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start();
  });
  afterAll(() => stack.stop());
  beforeEach(() => {
    Object.assign(stack.anthropic.knobs, {
      failNext: [],
      replies: [],
      usage: undefined,
      latencyMs: 0,
      deltaSpacingMs: 0,
    });
  });

  const task = 'Profile this file.';
  const file = { name: 'data.csv', content: 'name,amount\na,1\nb,2\n' };

  test('answers from its file, pays for each step exactly, and leaves nothing reserved', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, task, file });
    expect(run.status).toBe('completed');
    expect(run.answer).toContain('The file has 2 rows and 2 columns.');
    expect(run.answer).toContain('amount: number, 1 to 2, mean 1.5');
    expect(run.steps.map(({ kind, settlement }) => [kind, settlement])).toEqual([
      ['llm.call', 'actual'],
      ['sandbox.create', 'actual'],
      ['llm.call', 'actual'],
    ]);
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({
      ledgerUsd: run.costUsd,
      spentUsd: run.costUsd,
      reservedUsd: '0',
      openReservations: 0,
    });
    expect(stack.e2b.calls().alive).toEqual([]);
  });

  test('with money enough asks no provider to count, reserves no less than is billed, and its later calls start from what was', async () => {
    const before = stack.anthropic.calls();
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'It is 1.' }];
    const run = await stack.run({ tenantId: await stack.tenant('5'), task, file });
    expect(run.status).toBe('completed');
    expect(stack.anthropic.calls()).toMatchObject({ countTokens: before.countTokens, billable: before.billable + 2 });
    const calls = run.steps.filter(({ kind }) => kind === 'llm.call');
    for (const { requestedUsd, committedUsd } of calls)
      expect(Number(requestedUsd)).toBeGreaterThanOrEqual(Number(committedUsd));
    // The second prompt is longer than the first, of which the provider has said by then how long it is.
    const [first, second] = calls.map(({ requestedUsd }) => Number(requestedUsd));
    expect(second).toBeLessThan(first ?? 0);
  });

  test('goes behind the decisions of its tenant where tasks wait for a worker, and shares the workers with other tenants', async () => {
    const tenantId = await stack.tenant('5');
    const started = await stack.start({ tenantId });
    const priorityOf = async (workflowId: string): Promise<unknown> => {
      const { raw } = await stack.temporal.workflow.getHandle(workflowId).describe();
      const { priorityKey, fairnessKey } = raw.workflowExecutionInfo?.priority ?? {};
      return { priorityKey, fairnessKey };
    };
    expect((await stack.finish({ tenantId, ...started })).status).toBe('completed');
    expect(await priorityOf(started.workflowId)).toEqual({ priorityKey: 3, fairnessKey: tenantId });
    expect(await priorityOf(budgetWorkflowId(tenantId))).toEqual({ priorityKey: 1, fairnessKey: tenantId });
  });

  test('a changed cell of its file changes its answer', async () => {
    const tenantId = await stack.tenant('5');
    const [before, after] = await Promise.all([
      stack.run({ tenantId, task, file }),
      stack.run({ tenantId, task, file: { ...file, content: file.content.replace('a,1', 'a,7') } }),
    ]);
    expect(before.answer).toContain('1 to 2');
    expect(after.answer).toContain('2 to 7');
  });

  test('puts no key, prompt or file content into its history or a log line', async () => {
    const secretTask = `Find the word of the day, it is ${randomUUID()}.`;
    const secretCell = `cell-${randomUUID()}`;
    const worker = await stack.startHosted();
    const tenantId = await stack.tenant('5');
    const started = await stack.start({
      tenantId,
      task: secretTask,
      file: { name: 'x.csv', content: `a,b\n${secretCell},2\n` },
    });
    const run = await stack.finish({ tenantId, ...started });
    expect(run.status).toBe('completed');
    expect(run.answer).toContain(secretCell);
    const history = JSON.stringify(
      await stack.temporal.workflow.getHandle(started.workflowId).fetchHistory(),
      (_key, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString() : value),
    );
    expect(history).toContain(started.runId);
    await worker.stop();
    for (const text of [history, worker.logged()]) {
      for (const secret of [secretTask, secretCell, 'run_code tool', 'stand-in for a model', 'Bearer']) {
        expect(text).not.toContain(secret);
      }
    }
  });

  test('costs nothing when the provider reports usage of zero (F7)', async () => {
    stack.anthropic.knobs.usage = { input_tokens: 0, output_tokens: 0 };
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    expect(run).toMatchObject({ status: 'completed', costUsd: '0' });
    expect(run.steps).toMatchObject([{ committedUsd: '0', settlement: 'actual' }]);
  });

  test('bills cache writes once, each at the rate of its lifetime (F8, F19)', async () => {
    // claude-haiku-4-5: output 5, five minutes 1.25, an hour 2, all USD per million tokens.
    stack.anthropic.knobs.usage = {
      input_tokens: 0,
      output_tokens: 100,
      cache_creation_input_tokens: 3000,
      cache_creation: { ephemeral_5m_input_tokens: 1000, ephemeral_1h_input_tokens: 2000 },
    };
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, model: 'claude-haiku-4-5' });
    // 100 × 5 + 1,000 × 1.25 + 2,000 × 2 = 5,750 millionths
    expect(run.costUsd).toBe('0.00575');
  });

  test('takes the last of the usage that a stream reports, not the sum (F20)', async () => {
    // The first event reports 1 output token, the last 40 in all.
    stack.anthropic.knobs.usage = { input_tokens: 1000, output_tokens: 40 };
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, model: 'claude-haiku-4-5' });
    // 1,000 × 1 + 40 × 5 = 1,200 millionths
    expect(run.costUsd).toBe('0.0012');
  });

  test('with negative usage is charged its estimate, unverified, and never a credit (F9)', async () => {
    stack.anthropic.knobs.usage = { input_tokens: -5_000_000 };
    const tenantId = await stack.tenant('0.03');
    const run = await stack.run({ tenantId });
    // What was paid for is used.
    expect(run.status).toBe('completed');
    expect(run.steps[0]).toMatchObject({ settlement: 'unverified', committedUsd: run.steps[0]?.reservedUsd });
    expect(Number(run.costUsd)).toBeGreaterThan(0);
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({ ledgerUsd: run.costUsd, reservedUsd: '0' });
    expect(Number(books.spentUsd)).toBeLessThanOrEqual(0.03);
  });

  test('of a model without a price is refused before the call, by name and with how to price it (F10)', async () => {
    const tenantId = await stack.tenant('5');
    const before = stack.anthropic.calls();
    await expect(stack.run({ tenantId, model: 'claude-haiku-4-5-nonesuch' })).rejects.toMatchObject({
      code: 'unpriced_model',
      message: expect.stringMatching(/claude-haiku-4-5-nonesuch.*docs\/prices\.md/s) as string,
    });
    expect(stack.anthropic.calls()).toEqual(before);
  });

  test('is denied by the tightest of three quotas, which the failure names (F12), and ends instead of retrying (F14)', async () => {
    const tenantId = await stack.tenant('5', { userLimitUsd: '0.0005' });
    const before = stack.anthropic.calls();
    const run = await stack.run({ tenantId, userId: 'ada' });
    expect(run.status).toBe('quota_exceeded');
    expect(run.failure).toMatchObject({
      code: 'quota_exceeded',
      quota: {
        scope: 'user',
        scopeId: 'ada',
        resourceType: 'all',
        period: 'day',
        limitUsd: '0.0005',
        spentUsd: '0',
        remainingUsd: '0.0005',
      },
    });
    const quota = run.failure?.quota as { resetsAt: string };
    expect(new Date(quota.resetsAt).getUTCHours()).toBe(0);
    // The call was counted, which is free, and never made; no cost was written.
    expect(stack.anthropic.calls()).toEqual({ ...before, countTokens: before.countTokens + 1 });
    expect(run.costUsd).toBe('0');
    // Another user of the tenant is not held up.
    expect((await stack.run({ tenantId, userId: 'bob' })).status).toBe('completed');
  });

  test('shrinks its answer to a partial grant, so that the last cents are usable and never overspent', async () => {
    await stack.priceModel('claude-partial', '1000');
    const tenantId = await stack.tenant('0.5');
    // 4,096 tokens would be $4.096; 500 fit.
    stack.anthropic.knobs.replies = [{ text: 'word '.repeat(3_000) }];
    const run = await stack.run({ tenantId, model: 'claude-partial' });
    expect(run.status).toBe('quota_exceeded');
    expect(run.failure).toMatchObject({
      code: 'quota_exceeded',
      message: expect.stringMatching(/\$4\.096 .*\$0\.5/) as string,
    });
    expect(run.steps).toMatchObject([
      { requestedUsd: '4.096', reservedUsd: '0.5', committedUsd: '0.5', settlement: 'actual' },
    ]);
  });

  test('is told by the provider that it was not billed: the reservation is released and the step tried again', async () => {
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 529 }];
    const tenantId = await stack.tenant('5');
    const before = stack.anthropic.calls();
    const run = await stack.run({ tenantId });
    expect(run.status).toBe('completed');
    expect(run.steps.map(({ attempt, settlement, committedUsd }) => [attempt, settlement, committedUsd])).toEqual([
      [1, 'released', null],
      [2, 'actual', run.costUsd],
    ]);
    // What is asked for once more is asked for by the provider's count, which is less.
    expect(stack.anthropic.calls().countTokens).toBe(before.countTokens + 1);
    const [first, second] = run.steps.map(({ requestedUsd }) => Number(requestedUsd));
    expect(second).toBeLessThan(first ?? 0);
  });

  test('whose stream breaks before its usage is known is charged the estimate, unverified, and goes on', async () => {
    stack.anthropic.knobs.failNext = [{ type: 'cut-before-usage' }];
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    expect(run.status).toBe('completed');
    expect(run.steps[0]).toMatchObject({ settlement: 'unverified', committedUsd: run.steps[0]?.reservedUsd });
    expect(run.steps[1]).toMatchObject({ settlement: 'actual' });
    expect(await stack.books(tenantId)).toMatchObject({
      ledgerUsd: run.costUsd,
      reservedUsd: '0',
      openReservations: 0,
    });
  });

  test('whose stream breaks after its usage was seen is charged the actual cost and keeps the answer', async () => {
    stack.anthropic.knobs.failNext = [{ type: 'cut-after-usage' }];
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    expect(run.status).toBe('completed');
    expect(run.steps).toMatchObject([{ settlement: 'actual', attempt: 1 }]);
  });

  test('is refused for good when the provider does not take its key, and says so', async () => {
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 401 }];
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    expect(run).toMatchObject({ status: 'failed', costUsd: '0', failure: { code: 'provider_credentials' } });
    expect(run.steps).toMatchObject([{ settlement: 'released' }]);
  });

  test('finds the sandbox whose creation was not acknowledged, ends it, and pays for its seconds only (F18)', async () => {
    stack.e2b.knobs.loseCreateReplies = 1;
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, task, file });
    expect(run.status).toBe('completed');
    const sandboxes = run.steps.filter(({ resource }) => resource === 'e2b');
    expect(sandboxes).toMatchObject([
      { attempt: 1, settlement: 'actual' },
      { attempt: 2, settlement: 'actual' },
    ]);
    expect(stack.e2b.calls().alive).toEqual([]);
  });

  test('does not use a sandbox of a shape that has no price, and ends it', async () => {
    Object.assign(stack.e2b.knobs, { cpuCount: 3 });
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, task, file });
    Object.assign(stack.e2b.knobs, { cpuCount: 4 });
    expect(run).toMatchObject({ status: 'failed', failure: { code: 'unpriced_sandbox' } });
    expect(stack.e2b.calls().alive).toEqual([]);
    expect(await stack.books(tenantId)).toMatchObject({
      reservedUsd: '0',
      openReservations: 0,
      ledgerUsd: run.costUsd,
    });
  });

  test('spends the last of a budget on a shorter answer, and says so in its events', async () => {
    const tenantId = await stack.tenant('0.012');
    const run = await stack.run({ tenantId, task, file });
    const { rows } = await stack.admin.query<{ data: Record<string, unknown> }>(
      `SELECT data FROM copilot_internal.run_events WHERE run_id = $1 AND type = 'model.replied' ORDER BY sequence LIMIT 1`,
      [run.runId],
    );
    expect(rows[0]?.data).toMatchObject({ grantedUsd: '0.012', plannedOutputTokens: 4096 });
    expect(rows[0]?.data.maxOutputTokens).toBeLessThan(4096);
    expect((await stack.books(tenantId)).reservedUsd).toBe('0');
  });

  test('ends before the step that could lift its cost above its own limit, its sandbox included', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, task, file, limits: { maxCostUsd: '0.03' } });
    expect(run).toMatchObject({ status: 'failed', failure: { code: 'run_limit_exceeded' } });
    expect(run.steps.map(({ kind, status }) => [kind, status])).toEqual([
      ['llm.call', 'committed'],
      ['sandbox.create', 'rejected'],
    ]);
    expect(Number(run.costUsd)).toBeLessThan(0.03);
  });

  test('answers the example question from the file that ships with the repository', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, task: DEMO_TASK, file: { name: 'orders.csv', content: ordersCsv() } });
    expect(run.answer).toContain('West earned the most: $273363.61 net.');
  });
});
