/** How people are asked for money and answer by the command line, and how long one may wait for them. */
import type { MoneyRequestView } from '../../client';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('asking people by the command line', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test.each([0, -1, 30.5, '3', null])('for %p days is refused, and nothing begins', async (askDays) => {
    const tenantId = await stack.tenant('1');
    const body = { tenantId, task: 'Say a word.', onDenied: 'ask', askDays };
    expect(await api.call('POST', '/v1/runs', { body })).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', message: expect.stringContaining('askDays') as string },
    });
    expect((await api.admin.runs.list({ tenantId })).runs).toEqual([]);
  });

  test('is refused where a run does not ask', async () => {
    const body = { tenantId: await stack.tenant('1'), task: 'Say a word.', onDenied: 'wait', askDays: 2 };
    expect(await api.call('POST', '/v1/runs', { body })).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
    const { status, err } = await spendlock(
      api,
      'runs',
      'start',
      body.tenantId,
      'A word.',
      '--on-denied',
      'ask',
      '--ask-days',
      '31',
    );
    expect(status).toBe(2);
    expect(err).toContain('30');
  });

  test('shows what is asked, tells a grant that is too small, and how each was answered', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await stack.start({ tenantId, onDenied: 'ask' });
    const asked = (...before: string[]): Promise<MoneyRequestView> =>
      until('people are asked', async () => {
        const { requests } = await api.admin.moneyRequests.list({ tenantId });
        return requests.find(({ requestId }) => !before.includes(requestId));
      });
    const first = await asked();
    expect(first.mayAnswer).toEqual(['administration', 'operator']);
    const listed = await spendlock(api, 'budget', 'requests', tenantId);
    expect(listed.out).toContain(first.requestId);
    expect(listed.out).toContain('llm.call');
    const small = await spendlock(api, 'budget', 'grant', tenantId, first.requestId, '--amount', '0.0001');
    expect(small).toMatchObject({ status: 0 });
    expect(small.out).toMatch(/is granted \$0\.0001:[^]*That is less than the \$0\.\d+ that it lacked/);
    expect(await spendlock(api, 'budget', 'grant', tenantId, first.requestId)).toMatchObject({ status: 1 });
    const second = await asked(first.requestId);
    const enough = await spendlock(api, 'budget', 'grant', tenantId, second.requestId, '--reason', 'a launch');
    expect(enough.out).toMatch(/topped up by/);
    expect(enough.out).not.toContain('That is less');
    expect((await stack.finish({ tenantId, ...run })).status).toBe('completed');
    const all = await spendlock(api, 'budget', 'requests', tenantId, '--run', run.runId, '--json');
    expect((JSON.parse(all.out) as { requests: MoneyRequestView[] }).requests).toMatchObject([
      { requestId: first.requestId, status: 'granted', grantedUsd: '0.0001' },
      { requestId: second.requestId, status: 'granted', reason: 'a launch' },
    ]);
  });
});
