/** A run that asks people for money: what they are told, and what each answer comes to, once. */
import { randomUUID } from 'node:crypto';
import type { StartedRun } from '../../api/runs/schemas';
import type { MoneyRequestView } from '../../client';
import { answerMoneySignal } from '../../contracts/messages';
import { requestsPerDayMax } from '../../core/budget/money-requests';
import { answerMoneyRequest } from '../../store/money-answers';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { resetToBegin } from '../support/reset';
import { startLimitedWorker } from '../support/limited-worker';
import { until, type StartTestRun, type TestStack } from '../support/stack';

type Run = { tenantId: string } & StartedRun;

describe('asking people for money', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const pending = async (tenantId: string): Promise<MoneyRequestView[]> =>
    (await api.admin.moneyRequests.list({ tenantId })).requests;
  const all = async ({ tenantId, runId }: Run): Promise<MoneyRequestView[]> =>
    (await api.admin.moneyRequests.list({ tenantId, runId })).requests;
  /** What is asked of a tenant's people, besides what was asked before. */
  const asked = (tenantId: string, ...before: MoneyRequestView[]): Promise<MoneyRequestView> =>
    until('people are asked', async () =>
      (await pending(tenantId)).find(({ requestId }) => before.every((one) => one.requestId !== requestId)),
    );
  const start = async (tenantId: string, more: Partial<StartTestRun> = {}): Promise<Run> => ({
    tenantId,
    ...(await stack.start({ tenantId, onDenied: 'ask', ...more })),
  });
  const grant = (tenantId: string, { requestId }: MoneyRequestView, more: object = {}) =>
    api.admin.moneyRequests.grant(requestId, { tenantId, author: 'Jo', ...more });
  const toppedUp = async (tenantId: string, more: { userId?: string } = {}): Promise<string[]> =>
    (await api.admin.tenants.quotas(tenantId, more)).quotas
      .filter(({ topupUsd }) => topupUsd !== '0')
      .map(({ scope, resourceType, topupUsd }) => `${scope} ${resourceType} ${topupUsd}`);
  const refusedWith = (code: string, message: RegExp): unknown =>
    expect.objectContaining({ code, message: expect.stringMatching(message) as string });

  test('a run says how much it wants, for what and what it did; one grant lifts all that stands in its way and wakes it', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const request = await asked(tenantId);
    expect(request).toMatchObject({
      ...{ runId: run.runId, kind: 'llm.call', resource: 'llm', steps: 0, costUsd: '0', status: 'pending' },
      ...{ quota: { scope: 'tenant', limitUsd: '0.001' }, lastAnswer: null },
    });
    // Room for the step and one like it, beside the tenth of a cent that is left.
    expect(Number(request.askedUsd)).toBeGreaterThan(2 * Number(request.lacksUsd) - 0.01);
    expect(await stack.show(run)).toMatchObject({
      status: 'waiting_for_money',
      waitingFor: { asks: { requestId: request.requestId, askedUsd: request.askedUsd } },
    });
    const { alerts } = await until('the alert is sent', async () => {
      const found = await api.admin.alerts.list({ tenantId });
      return found.alerts.some(({ kind, sentAt }) => kind === 'money_request' && sentAt !== null) && found;
    });
    expect(alerts.filter(({ kind }) => kind === 'money_request')).toMatchObject([
      { details: { requestId: request.requestId, askedUsd: request.askedUsd, runId: run.runId } },
    ]);
    const answer = await grant(tenantId, request, { reason: 'launch week' });
    expect(answer).toMatchObject({
      ...{ status: 'granted', grantedUsd: request.askedUsd, decidedBy: 'Jo', decidedByRole: 'administration' },
      lifted: [{ resourceType: 'all' }, { resourceType: 'llm' }],
    });
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    expect(await toppedUp(tenantId)).toEqual([`tenant all ${request.askedUsd}`, `tenant llm ${request.askedUsd}`]);
    const { entries } = await api.admin.audit.list({ tenantId });
    expect(entries.filter(({ action }) => action === 'grant_money')).toMatchObject([
      { author: 'Jo', details: { requestId: request.requestId, reason: 'launch week' } },
    ]);
    expect(await all(run)).toHaveLength(1);
  });

  test('nobody is asked for what others only hold, for half a minute: the run goes on as that comes back', async () => {
    const tenantId = await stack.tenant('1');
    const operationId = randomUUID();
    const held = await api.call('POST', '/v1/reservations', {
      body: { operationId, tenantId, resource: 'llm', amountUsd: '1', ttlSeconds: 600 },
    });
    expect(held.status).toBe(201);
    const run = await start(tenantId);
    await until('it waits', async () => (await stack.show(run)).status === 'waiting_for_money');
    expect(await all(run)).toEqual([]);
    expect((await api.call('POST', `/v1/reservations/${operationId}/release`, { body: { tenantId } })).status).toBe(
      200,
    );
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    expect(await all(run)).toEqual([]);
  });

  test('a refusal ends the run as a denial does, with what it found', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const request = await asked(tenantId);
    await api.admin.moneyRequests.refuse(request.requestId, { tenantId, author: 'Jo', reason: 'not worth it' });
    expect(await stack.finish(run)).toMatchObject({
      status: 'quota_exceeded',
      failure: { code: 'quota_exceeded', message: expect.stringContaining('Jo refused: not worth it.') as string },
    });
    expect(await toppedUp(tenantId)).toEqual([]);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    await expect(grant(tenantId, request)).rejects.toEqual(refusedWith('money_request_decided', /Jo refused/));
  });

  test('of two people who answer at once one is taken, and the other is told so', async () => {
    for (const decision of ['grant', 'refuse'] as const) {
      const tenantId = await stack.tenant('0.001');
      const run = await start(tenantId);
      const { requestId, askedUsd } = await asked(tenantId);
      const answers = await Promise.allSettled([
        api.admin.moneyRequests.grant(requestId, { tenantId, author: 'Jo' }),
        api.admin.moneyRequests[decision](requestId, { tenantId, author: 'Kim' }),
      ]);
      expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({
        reason: { code: 'money_request_decided' },
      });
      await stack.finish(run);
      const [request] = await all(run);
      const once = request?.status === 'granted' ? [`tenant all ${askedUsd}`, `tenant llm ${askedUsd}`] : [];
      expect(await toppedUp(tenantId)).toEqual(once);
    }
  });

  test('an answer that is sent twice is carried out once, under a key or by the same person', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const request = await asked(tenantId);
    const key = { idempotencyKey: randomUUID(), amountUsd: '2' };
    const answers = await Promise.all([1, 2, 3].map(() => grant(tenantId, request, key)));
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    expect(await grant(tenantId, request, { amountUsd: '2' })).toEqual(answers[0]);
    await expect(grant(tenantId, request, { amountUsd: '3' })).rejects.toEqual(
      refusedWith('money_request_decided', /Jo granted \$2\./),
    );
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    expect(await toppedUp(tenantId)).toEqual(['tenant all 2', 'tenant llm 2']);
  });

  test('what a cancelled run asked for cannot be granted, nor what it got otherwise', async () => {
    const tenantId = await stack.tenant('0.001');
    const cancelled = await start(tenantId);
    const ofCancelled = await asked(tenantId);
    await stack.temporal.workflow.getHandle(cancelled.workflowId).cancel();
    expect(await stack.finish(cancelled)).toMatchObject({ status: 'cancelled' });
    await expect(grant(tenantId, ofCancelled)).rejects.toEqual(
      refusedWith('money_request_decided', /has ended, and waits for no answer|Nobody waits/),
    );
    // Nor is anything granted once it was asked to stop.
    const stopping = await start(tenantId);
    const ofStopping = await asked(tenantId);
    await stack.temporal.workflow.getHandle(stopping.workflowId).cancel();
    await expect(grant(tenantId, ofStopping)).rejects.toEqual(
      refusedWith('money_request_decided', /is being cancelled|has ended|Nobody waits/),
    );
    expect(await stack.finish(stopping)).toMatchObject({ status: 'cancelled' });
    expect(await toppedUp(tenantId)).toEqual([]);
    const raised = await start(tenantId);
    const ofRaised = await asked(tenantId);
    await api.admin.tenants.setQuotas(
      tenantId,
      (['all', 'llm'] as const).map((resourceType) => ({ resourceType, limitUsd: '5' })),
    );
    expect(await stack.finish(raised)).toMatchObject({ status: 'completed' });
    expect(await all(raised)).toMatchObject([{ status: 'withdrawn' }]);
    await expect(grant(tenantId, ofRaised)).rejects.toEqual(refusedWith('money_request_decided', /./));
    expect(await toppedUp(tenantId)).toEqual([]);
  });

  test('a run that is reset asks once: what it asked before is withdrawn, and one grant is enough', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const before = await asked(tenantId);
    await resetToBegin(stack, run.workflowId);
    const request = await asked(tenantId, before);
    expect(await pending(tenantId)).toMatchObject([{ requestId: request.requestId }]);
    await expect(grant(tenantId, before)).rejects.toEqual(refusedWith('money_request_decided', /Nobody waits/));
    await grant(tenantId, request, { amountUsd: '2' });
    const handle = stack.temporal.workflow.getHandle(run.workflowId);
    expect(await handle.result()).toMatchObject({ status: 'completed' });
    expect(await toppedUp(tenantId)).toEqual(['tenant all 2', 'tenant llm 2']);
    expect(await all(run)).toMatchObject([{ status: 'withdrawn' }, { status: 'granted' }]);
  });

  test('a run that is reset and goes on without waiting asks nobody any more: what it asked before is withdrawn as it does', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const before = await asked(tenantId);
    // There is money now, of which nobody tells those that wait.
    await stack.admin.query('UPDATE copilot_internal.cost_quotas SET limit_usd = 5 WHERE tenant_id = $1', [tenantId]);
    stack.anthropic.knobs.latencyMs = 5_000;
    await resetToBegin(stack, run.workflowId);
    await until('nobody is asked', async () => (await pending(tenantId)).length === 0);
    expect(await stack.show(run)).toMatchObject({ status: 'running', waitingFor: null });
    await expect(grant(tenantId, before)).rejects.toEqual(refusedWith('money_request_decided', /Nobody waits/));
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    expect(await all(run)).toMatchObject([{ status: 'withdrawn' }]);
    expect(await toppedUp(tenantId)).toEqual([]);
  });

  test('a workflow that was terminated from outside is granted nothing, before anybody noted its end', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const request = await asked(tenantId);
    await stack.temporal.workflow.getHandle(run.workflowId).terminate();
    await expect(grant(tenantId, request)).rejects.toEqual(refusedWith('money_request_decided', /has ended/));
    expect(await toppedUp(tenantId)).toEqual([]);
  });

  test('one that nobody answers ends when its wait does', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId, { askDays: 3 / 86_400 });
    const request = await asked(tenantId);
    expect(await stack.finish(run)).toMatchObject({
      status: 'quota_exceeded',
      failure: { message: expect.stringContaining('Nobody answered in time.') as string },
    });
    expect(await all(run)).toMatchObject([{ status: 'expired' }]);
    await expect(grant(tenantId, request)).rejects.toEqual(refusedWith('money_request_decided', /./));
  });

  test('who is granted too little asks again, names what came before, and at last no more', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const first = await asked(tenantId);
    expect(Number((await grant(tenantId, first, { amountUsd: '0.0001' })).lacksUsd)).toBeGreaterThan(0.0001);
    const second = await asked(tenantId, first);
    expect(second.lastAnswer).toEqual({ status: 'granted', grantedUsd: '0.0001', decidedBy: 'Jo', reason: null });
    expect(await all(run)).toHaveLength(2);
    await stack.admin.query(
      `INSERT INTO copilot_internal.money_requests (request_id, tenant_id, waiter_id, workflow_id, kind, resource, quota, lacks_usd, asked_usd,
         status, waits_until, decided_at)
       SELECT gen_random_uuid(), $1, gen_random_uuid(), $2, 'llm.call', 'llm', '{}', 1, 1, 'expired', now(), now() FROM generate_series(1, $3)`,
      [tenantId, run.workflowId, requestsPerDayMax - 2],
    );
    await grant(tenantId, second, { amountUsd: '0.0001' });
    expect(await stack.finish(run)).toMatchObject({
      status: 'quota_exceeded',
      failure: { message: expect.stringContaining(`asked ${requestsPerDayMax} times within a day`) as string },
    });
  });

  test('a grant that would cut its answer buys nothing: the run asks again for what is lacking', async () => {
    const tenantId = await stack.tenant('0.001');
    stack.anthropic.knobs.replies = [{ text: 'word '.repeat(3_240) }];
    const run = await start(tenantId);
    const first = await asked(tenantId);
    const lessUsd = String(Number(first.lacksUsd) - 0.001);
    await grant(tenantId, first, { amountUsd: lessUsd });
    const second = await asked(tenantId, first);
    expect(second).toMatchObject({ steps: 0, costUsd: '0', lastAnswer: { grantedUsd: lessUsd } });
    // Planned again its prompt is counted otherwise, by a little.
    expect(Number(second.lacksUsd)).toBeCloseTo(0.001, 3);
    await grant(tenantId, second, { amountUsd: second.lacksUsd });
    stack.anthropic.knobs.replies = [];
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
  });

  test('where nobody is asked, an answer that a limit cut off ends its run by that limit, with what it was granted', async () => {
    const tenantId = await stack.tenant('0.001');
    const probe = await start(tenantId);
    const { lacksUsd } = await asked(tenantId);
    await api.admin.moneyRequests.refuse((await asked(tenantId)).requestId, { tenantId, author: 'Jo' });
    await stack.finish(probe);
    const leftUsd = (Number(lacksUsd) + 0.001 - 0.005).toFixed(6).replace(/0+$/, '');
    await api.admin.tenants.setQuotas(tenantId, [
      { resourceType: 'llm', limitUsd: leftUsd },
      { resourceType: 'all', limitUsd: '5' },
    ]);
    stack.anthropic.knobs.replies = [{ text: 'word '.repeat(3_240) }];
    const run = { tenantId, ...(await stack.start({ tenantId })) };
    const { failure } = await stack.finish(run);
    expect(failure).toMatchObject({
      code: 'quota_exceeded',
      quota: { resourceType: 'llm', scope: 'tenant', limitUsd: leftUsd },
    });
    expect(failure?.message).toContain(
      `granted $${leftUsd}, which is what the llm quota of tenant ${tenantId} per month had left.`,
    );
    stack.anthropic.knobs.replies = [];
  });

  test('one grant for one of several that ask wakes them one after the other, as far as it goes', async () => {
    const tenantId = await stack.tenant('0.0001');
    const model = 'claude-for-those-who-ask';
    await stack.priceModel(model, '1000');
    stack.anthropic.knobs.latencyMs = 1_000;
    stack.anthropic.knobs.replies = [{ text: 'one' }, { text: 'two' }, { text: 'three' }];
    const runs: Run[] = [];
    const requests: MoneyRequestView[] = [];
    for (let index = 0; index < 3; index += 1) {
      runs.push(await start(tenantId, { model, limits: { maxOutputTokens: 100 } }));
      requests.push(await asked(tenantId, ...requests));
    }
    // Each may cost $0.10, and costs a few cents at most: there is never room for two at once.
    await grant(tenantId, requests[2] as MoneyRequestView, { amountUsd: '0.19' });
    for (const run of runs) expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    const { rows } = await stack.admin.query<{ run_id: string }>(
      `SELECT run_id FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'committed' ORDER BY decided_at`,
      [tenantId],
    );
    const [one, two, three] = runs.map(({ runId }) => runId);
    const order = rows.map((row) => row.run_id);
    expect(order.filter((runId) => runId !== three)).toEqual([one, two]);
    const ends = await Promise.all(runs.map(async (run) => (await all(run))[0]?.status));
    expect(ends).toEqual(['withdrawn', 'withdrawn', 'granted']);
    expect(await toppedUp(tenantId)).toEqual(['tenant all 0.19', 'tenant llm 0.19']);
    stack.anthropic.knobs.latencyMs = 0;
  });

  test('the limit of a user is lifted where that stands in the way, and nothing is granted while its payer is frozen', async () => {
    const tenantId = await stack.tenant('5', { userLimitUsd: '0.001' });
    const run = await start(tenantId, { userId: 'ada' });
    const request = await asked(tenantId);
    expect(request).toMatchObject({ userId: 'ada', quota: { scope: 'user', scopeId: 'ada' } });
    await api.admin.budget.freeze(tenantId, { userId: 'ada', reason: 'suspected leak' });
    await expect(grant(tenantId, request)).rejects.toEqual(
      refusedWith('budget_frozen', /suspected leak\. Nothing was granted\./),
    );
    await api.admin.budget.unfreeze(tenantId, { userId: 'ada' });
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    await grant(tenantId, request, { expiresAt });
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    expect((await toppedUp(tenantId, { userId: 'ada' })).every((one) => one.startsWith('user'))).toBe(true);
    const { quotas } = await api.admin.tenants.quotas(tenantId, { userId: 'ada' });
    expect(quotas.flatMap(({ expiringTopups }) => expiringTopups)).toContainEqual(
      expect.objectContaining({ expiresAt }),
    );
  });

  test('the limit of a label is lifted, and a run that its own limit stops asks nobody', async () => {
    const tenantId = await stack.tenant('5');
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'label', scopeId: 'team:search', resourceType: 'all', limitUsd: '0.001' },
    ]);
    const run = await start(tenantId, { labels: { team: 'search' } });
    const request = await asked(tenantId);
    expect(await grant(tenantId, request)).toMatchObject({ lifted: [{ scope: 'label', scopeId: 'team:search' }] });
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    const limited = await start(tenantId, { limits: { maxCostUsd: '0.001' } });
    expect(await stack.finish(limited)).toMatchObject({ failure: { code: 'run_limit_exceeded' } });
    expect(await all(limited)).toEqual([]);
  });

  test('what the platform lacks nobody is asked for, and it is waited for as long as for an answer', async () => {
    const tenantId = await stack.tenant('5');
    await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'llm', limitUsd: '0.0001' }] });
    try {
      const run = await start(tenantId, { askDays: 3 / 86_400 });
      expect(await stack.finish(run)).toMatchObject({
        status: 'quota_exceeded',
        failure: { message: expect.stringContaining('Nobody of the tenant can grant') as string },
      });
      expect(await all(run)).toEqual([]);
    } finally {
      await api.admin.platform.removeQuota({ resourceType: 'llm', period: 'month', reason: 'the test is over' });
    }
  });

  test('an answer whose signal was lost is told by upkeep, once', async () => {
    const startNow = await stack.takeOverSchedules();
    const told: string[] = [];
    for (const decision of ['grant', 'refuse'] as const) {
      const tenantId = await stack.tenant('0.001');
      const run = await start(tenantId);
      const { requestId, askedUsd } = await asked(tenantId);
      await answerMoneyRequest(stack.pool, { tenantId, requestId }, { decision, by: { author: 'Jo' } });
      // What was granted is kept for who asked, from those before it in the line too.
      const { rows } = await stack.admin.query(
        `SELECT kept_usd = coalesce(wanted_usd, needed_usd) AND kept_usd <= ${askedUsd} AS kept FROM copilot_internal.money_waiters WHERE tenant_id = $1 AND kept_until > clock_timestamp() AND woken_at IS NOT NULL`,
        [tenantId],
      );
      expect(rows).toEqual(decision === 'grant' ? [{ kept: true }] : []);
      await stack.admin.query(
        `UPDATE copilot_internal.money_requests SET decided_at = decided_at - interval '1 minute' WHERE request_id = $1`,
        [requestId],
      );
      expect((await stack.show(run)).status).toBe('waiting_for_money');
      expect((await startNow<{ told: number }>('lookAfter')).told).toBeGreaterThan(0);
      told.push((await stack.finish(run)).status);
    }
    expect(told).toEqual(['completed', 'quota_exceeded']);
    expect((await startNow<{ told: number }>('lookAfter')).told).toBe(0);
  });

  test('a request that nothing waits for is a difference of the books, and is not granted', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await start(tenantId);
    const request = await asked(tenantId);
    expect((await api.admin.budget.books(tenantId)).differences).toEqual([]);
    await stack.admin.query('ALTER TABLE copilot_internal.money_waiters DISABLE TRIGGER withdraw_money_requests');
    await stack.admin.query('DELETE FROM copilot_internal.money_waiters WHERE tenant_id = $1', [tenantId]);
    await stack.admin.query('ALTER TABLE copilot_internal.money_waiters ENABLE TRIGGER withdraw_money_requests');
    expect((await api.admin.budget.books(tenantId)).differences).toMatchObject([
      { check: 'request', name: request.requestId },
    ]);
    await expect(grant(tenantId, request)).rejects.toEqual(refusedWith('money_request_decided', /Nobody waits/));
    expect(await toppedUp(tenantId)).toEqual([]);
    await stack.temporal.workflow.getHandle(run.workflowId).cancel();
    await stack.finish(run);
  });

  test('a turn of a conversation asks, and ends by a refusal alone', async () => {
    const tenantId = await stack.tenant('0.001');
    const talk = await TestConversation.start(api, tenantId, { onDenied: 'ask' });
    const refused = await talk.post('Hello.');
    const request = await asked(tenantId);
    await api.admin.moneyRequests.refuse(request.requestId, { tenantId, author: 'Jo' });
    expect(await talk.ended(refused)).toBe('quota_exceeded');
    const granted = await talk.post('Hello again.');
    const next = await asked(tenantId, request);
    expect(next.lastAnswer).toMatchObject({ status: 'refused', decidedBy: 'Jo' });
    await grant(tenantId, next);
    expect(await talk.ended(granted)).toBe('completed');
    await talk.close();
  });

  test('a turn that is interrupted while it asks takes its request back, holds nothing, and the next turn works', async () => {
    const tenantId = await stack.tenant('0.001');
    const talk = await TestConversation.start(api, tenantId, { onDenied: 'ask' });
    const turnId = await talk.post('Hello.');
    const request = await asked(tenantId);
    expect((await talk.call('POST', '/interrupt', {})).status).toBe(202);
    expect(await talk.ended(turnId)).toBe('interrupted');
    expect(await pending(tenantId)).toEqual([]);
    expect((await api.admin.moneyRequests.list({ tenantId, runId: talk.id })).requests).toMatchObject([
      { requestId: request.requestId, status: 'withdrawn' },
    ]);
    await expect(grant(tenantId, request)).rejects.toEqual(refusedWith('money_request_decided', /Nobody waits/));
    const { rowCount } = await stack.admin.query('SELECT FROM copilot_internal.money_waiters WHERE tenant_id = $1', [
      tenantId,
    ]);
    expect([rowCount, await toppedUp(tenantId)]).toEqual([0, []]);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    const next = await talk.post('Hello again.');
    const ofNext = await asked(tenantId);
    expect(ofNext.lastAnswer).toMatchObject({ status: 'withdrawn' });
    await grant(tenantId, ofNext);
    expect(await talk.ended(next)).toBe('completed');
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('people who answer have a key of another role than who runs', async () => {
    const tenantId = await stack.tenant('0.001');
    const talk = await TestConversation.start(api, tenantId, { onDenied: 'ask' }, 'agent');
    const turnId = await talk.post('Hello.');
    const { requestId } = await asked(tenantId);
    const path = `/v1/money-requests/${requestId}`;
    const answer = (key: string) => api.call('POST', path, { key, body: { decision: 'grant', author: 'Jo' } });
    expect(await answer(talk.key)).toMatchObject({ status: 403, body: { error: 'forbidden' } });
    expect(await answer(await api.keyOf(tenantId, 'reader'))).toMatchObject({ status: 403 });
    const other = await api.keyOf(await stack.tenant('1'), 'operator');
    expect(await answer(other)).toMatchObject({ status: 404 });
    expect(await answer(await api.keyOf(tenantId, 'operator'))).toMatchObject({
      ...{ status: 200, body: { status: 'granted', decidedByRole: 'operator' } },
    });
    expect(await talk.ended(turnId)).toBe('completed');
    await talk.close();
  });

  test('a database that was not migrated refuses it by name, and waits as ever', async () => {
    const tenantId = await stack.tenant('0.001');
    const signature = 'copilot_internal.untold_money_answers(interval, integer)';
    await stack.admin.query(`ALTER FUNCTION ${signature} RENAME TO untold_money_answers_later`);
    try {
      await expect(start(tenantId)).rejects.toEqual(refusedWith('invalid_request', /onDenied: "ask" wants a database/));
      const waits = await start(tenantId, { onDenied: 'wait' });
      await until('it waits', async () => (await stack.show(waits)).status === 'waiting_for_money');
      expect(await pending(tenantId)).toEqual([]);
      await stack.temporal.workflow.getHandle(waits.workflowId).cancel();
      expect(await stack.finish(waits)).toMatchObject({ status: 'cancelled' });
    } finally {
      await stack.admin.query(
        'ALTER FUNCTION copilot_internal.untold_money_answers_later(interval, integer) RENAME TO untold_money_answers',
      );
    }
  });

  test('a workflow of one’s own asks too, and is answered by signal', async () => {
    const worker = await startLimitedWorker(stack);
    try {
      const tenantId = await stack.tenant('1');
      const begin = () => worker.start('limitedStep', { tenantId, onDenied: 'wait', askDays: 1 }, '3');
      const handle = await begin();
      const request = await asked(tenantId);
      expect(request).toMatchObject({
        runId: null,
        steps: null,
        askedUsd: '5',
        lacksUsd: '2',
        workflowId: handle.workflowId,
      });
      const { requestId } = request;
      await handle.signal('answerMoney', { requestId, decision: 'perhaps' });
      await handle.signal(answerMoneySignal, { requestId: randomUUID(), decision: 'grant' });
      await handle.signal(answerMoneySignal, { requestId, decision: 'grant', expiresAt: '2001-01-01T00:00Z' });
      const other = await begin();
      const ofOther = await asked(tenantId, request);
      // It was not asked by that workflow.
      await other.signal(answerMoneySignal, { requestId, decision: 'refuse' });
      await handle.signal(answerMoneySignal, { requestId, decision: 'grant', amountUsd: '2', decidedBy: 'Kim' });
      expect(await handle.result()).toBe('paid');
      expect(await toppedUp(tenantId)).toEqual(['tenant all 2', 'tenant llm 2']);
      await other.signal(answerMoneySignal, { requestId: ofOther.requestId, decision: 'refuse', decidedBy: 'Kim' });
      expect(await other.result()).toBe('quota_exceeded');
    } finally {
      await worker.stop();
    }
  });
});
