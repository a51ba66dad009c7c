import { startTestApi, type TestApi } from '../support/api';
import { decidedDirectly, mandatedWith, type promptAnyhow } from '../support/mandates';
import { TestStack } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

/** The worker is a process of its own, and signals while its machine is busy: then they race again. */
const racesMax = 10;

describe.each(['on', 'off'] as const)('ten runs race for the last dollars, with mandates %s', (mandates) => {
  let stack: TestStack;
  let api: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: mandates });
    api = await startTestApi(stack, { mandates: mandates === 'on' });
    // 1,000 output tokens at $2,000 a million: each call is estimated at, and costs, exactly $2.
    await stack.priceModel('claude-two-dollars', '2000');
    stack.anthropic.knobs.usage = { output_tokens: 1000 };
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  /** Answers how many were decided directly. */
  const race = async (tenantId: string): Promise<number> => {
    const before = await decidedDirectly(stack, tenantId);
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
    const decided = (await decidedDirectly(stack, tenantId)) - before;
    // What others decided it is told of by its next look.
    if (decided > 0) await stack.signal(tenantId, [{ type: 'reload' }]);
    await stack.authorityKnows(tenantId, { spentUsd: '10', reservedUsd: '0', remainingUsd: '0' });
    return decided;
  };

  test('of ten concurrent $2 operations against $10 exactly five are granted, and exactly $10 is spent', async () => {
    const isOn = mandates === 'on';
    let decided = 0;
    for (let turn = 0; turn < (isOn ? racesMax : 1) && decided === 0; turn += 1)
      decided = await race(isOn ? await mandatedWith(stack, api, '10') : await stack.tenant('10'));
    expect(decided > 0).toBe(isOn);
  });
});
