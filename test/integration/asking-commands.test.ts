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

  const asked = (tenantId: string, ...before: string[]): Promise<MoneyRequestView> =>
    until('people are asked', async () => {
      const { requests } = await api.admin.moneyRequests.list({ tenantId });
      return requests.find(({ requestId }) => !before.includes(requestId));
    });
  const budget = (...args: string[]) => spendlock(api, 'budget', ...args);
  const nothingIsHeld = async (tenantId: string): Promise<void> =>
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });

  test('shows what is asked, tells a grant that is too small, and how each was answered', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await stack.start({ tenantId, onDenied: 'ask' });
    const first = await asked(tenantId);
    expect(first.mayAnswer).toEqual(['administration', 'operator']);
    const listed = await budget('requests', tenantId);
    expect(listed.out).toContain(first.requestId);
    expect(listed.out).toContain('llm.call');
    const small = await budget('grant', tenantId, first.requestId, '--amount', '0.0001');
    expect(small).toMatchObject({ status: 0 });
    expect(small.out).toMatch(/is granted \$0\.0001:[^]*That is less than the \$0\.\d+ that it lacked/);
    expect(await budget('grant', tenantId, first.requestId)).toMatchObject({ status: 1 });
    const second = await asked(tenantId, first.requestId);
    const enough = await budget('grant', tenantId, second.requestId, '--reason', 'a launch');
    expect(enough.out).toMatch(/topped up by/);
    expect(enough.out).not.toContain('That is less');
    expect((await stack.finish({ tenantId, ...run })).status).toBe('completed');
    const all = await budget('requests', tenantId, '--run', run.runId, '--json');
    expect((JSON.parse(all.out) as { requests: MoneyRequestView[] }).requests).toMatchObject([
      { requestId: first.requestId, status: 'granted', grantedUsd: '0.0001' },
      { requestId: second.requestId, status: 'granted', reason: 'a launch' },
    ]);
  });

  test('takes a refusal, which ends what asks; a second one, or a grant after it, is told what stands', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await stack.start({ tenantId, onDenied: 'ask' });
    const { requestId } = await asked(tenantId);
    const refused = await budget('refuse', tenantId, requestId, '--reason', 'not worth it', '--json');
    expect(refused.status).toBe(0);
    expect(JSON.parse(refused.out)).toMatchObject({ requestId, status: 'refused', reason: 'not worth it' });
    expect(await stack.finish({ tenantId, ...run })).toMatchObject({
      status: 'quota_exceeded',
      failure: { message: expect.stringContaining('refused: not worth it.') as string },
    });
    const granted = await budget('grant', tenantId, requestId, '--amount', '5');
    expect(granted).toMatchObject({ status: 1, out: '' });
    expect(granted.err).toMatch(/refused: not worth it\. That stands; nothing was changed\./);
    // Who did not hear the answer asks the same once more.
    expect((await budget('refuse', tenantId, requestId)).out).toMatch(/ is refused\. What asked ends as a denial does/);
    await nothingIsHeld(tenantId);
  });

  test('has of two people who answer at once one taken, and tells the other what stands', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await stack.start({ tenantId, onDenied: 'ask' });
    const { requestId, askedUsd } = await asked(tenantId);
    const answers = await Promise.all(['grant', 'refuse'].map((verb) => budget(verb, tenantId, requestId)));
    expect(answers.map(({ status }) => status).sort()).toEqual([0, 1]);
    const taken = answers[0]?.status === 0 ? 'granted' : 'refused';
    expect(answers.find(({ status }) => status === 1)?.err).toMatch(
      // Whose grant comes once the refusal has ended the workflow is told that.
      new RegExp(`${taken}( \\$[0-9.]+)?\\. That stands; nothing was changed\\.|^.*Nothing was granted\\.`),
    );
    const { status } = await stack.finish({ tenantId, ...run });
    expect(status).toBe(taken === 'granted' ? 'completed' : 'quota_exceeded');
    const { quotas } = await api.admin.tenants.quotas(tenantId);
    expect(quotas.find(({ resourceType }) => resourceType === 'llm')?.topupUsd).toBe(
      taken === 'granted' ? askedUsd : '0',
    );
    await nothingIsHeld(tenantId);
  });

  test('tells who grants after the run was cancelled, or refuses then, that nobody waits, and that nothing was granted', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await stack.start({ tenantId, onDenied: 'ask' });
    const { requestId } = await asked(tenantId);
    await api.admin.runs.cancel(run.runId, tenantId);
    const early = await budget('grant', tenantId, requestId);
    expect(await stack.finish({ tenantId, ...run })).toMatchObject({ status: 'cancelled' });
    const late = await budget('grant', tenantId, requestId);
    for (const { status, err } of [early, late]) {
      expect(status).toBe(1);
      expect(err).toMatch(/Nothing was granted\.|Nobody waits for an answer any more: .*nothing was changed\./);
    }
    const refusal = await budget('refuse', tenantId, requestId);
    expect(refusal).toMatchObject({ status: 1, err: expect.stringContaining('Nobody waits for an answer') as string });
    const { quotas } = await api.admin.tenants.quotas(tenantId);
    expect(quotas.map(({ topupUsd }) => topupUsd)).toEqual(quotas.map(() => '0'));
    await nothingIsHeld(tenantId);
  });
});
