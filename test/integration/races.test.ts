import { TestStack } from '../support/stack';

describe.each(['on', 'off'] as const)('ten runs race for the last dollars, with mandates %s', (mandates) => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: mandates });
  });
  afterAll(() => stack.stop());

  test('of ten concurrent $2 operations against $10 exactly five are granted, and exactly $10 is spent', async () => {
    // 1,000 output tokens at $2,000 a million: each call is estimated at, and costs, exactly $2.
    await stack.priceModel('claude-two-dollars', '2000');
    stack.anthropic.knobs.usage = { output_tokens: 1000 };
    const tenantId = await stack.tenant('10');
    const callsBefore = stack.anthropic.calls().billable;
    const started = await Promise.all(
      Array.from({ length: 10 }, () =>
        stack.start({ tenantId, model: 'claude-two-dollars', limits: { maxOutputTokens: 1000 } }),
      ),
    );
    const runs = await Promise.all(started.map((run) => stack.finish({ tenantId, ...run })));

    const statuses = runs.map((run) => run.status);
    expect(statuses.filter((status) => status === 'completed')).toHaveLength(5);
    expect(statuses.filter((status) => status === 'quota_exceeded')).toHaveLength(5);
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: '10',
      spentUsd: '10',
      reservedUsd: '0',
      openReservations: 0,
    });
    // A denied run made no call.
    expect(stack.anthropic.calls().billable - callsBefore).toBe(5);
    for (const run of runs.filter(({ status }) => status === 'quota_exceeded')) {
      expect(run.costUsd).toBe('0');
      expect(run.failure).toMatchObject({ code: 'quota_exceeded', quota: { limitUsd: '10', estimatedUsd: '2' } });
    }
    await stack.authorityKnows(tenantId, { spentUsd: '10', reservedUsd: '0', remainingUsd: '0' });
  });
});
