import { randomUUID } from 'node:crypto';
import type { BindingQuota } from '../../core/budget/commands';
import { tsToMs } from '@temporalio/common/lib/time';
import { addWaiter, listWaiters } from '../../store/money-waiters';
import { readRunEvents } from '../../store/runs';
import type { StartedRun } from '../../api/runs/schemas';
import type { TestApi } from '../support/api';
import { budgetWorkflowId } from '../../contracts/messages';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { resetToBegin } from '../support/reset';
import { type TestStack, until } from '../support/stack';

describe('waiting for money', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const raise = (tenantId: string, limitUsd: string): Promise<unknown> =>
    api.admin.tenants.setQuotas(
      tenantId,
      (['all', 'llm', 'e2b'] as const).map((resourceType) => ({ resourceType, limitUsd })),
    );

  test('a turn says so, holds nothing, and goes on when the limit is raised', async () => {
    const tenantId = await stack.tenant('0.001');
    const talk = await TestConversation.start(api, tenantId, { onDenied: 'wait' });
    const calls = stack.anthropic.calls().billable;
    const turnId = await talk.post('Hello.');
    await until('it waits', async () => (await talk.show()).status === 'waiting_for_money');
    expect(await talk.show()).toMatchObject({ waitingFor: { resource: 'llm', quota: { limitUsd: '0.001' } } });
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0', reservedUsd: '0', openReservations: 0 });
    expect(stack.anthropic.calls().billable).toBe(calls);
    await raise(tenantId, '5');
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await talk.show()).toMatchObject({ status: 'running', waitingFor: { kind: 'message' } });
    await talk.close();
  });

  test('a run waits likewise, and can be cancelled meanwhile', async () => {
    const tenantId = await stack.tenant('0.001');
    const started = await stack.start({ tenantId, onDenied: 'wait' });
    await until('it waits', async () => (await stack.show({ tenantId, ...started })).status === 'waiting_for_money');
    await stack.temporal.workflow.getHandle(started.workflowId).cancel();
    const run = await stack.finish({ tenantId, ...started });
    expect(run).toMatchObject({ status: 'cancelled', costUsd: '0' });
    const { rows } = await stack.admin.query('SELECT FROM copilot_internal.money_waiters WHERE tenant_id = $1', [
      tenantId,
    ]);
    expect(rows).toEqual([]);
  });

  test('a call that was given up, and reaches Postgres after what followed it, begins no wait again', async () => {
    const tenantId = await stack.tenant('0.001');
    const talk = await TestConversation.start(api, tenantId, { onDenied: 'wait' });
    const turnId = await talk.post('Hello.');
    await until('it waits', async () => (await talk.show()).status === 'waiting_for_money');
    const [waiter] = await listWaiters(stack.pool, tenantId);
    if (!waiter) throw new Error('nobody waits');
    const { quota } = (await talk.show()).waitingFor as { quota: BindingQuota };
    const workflow = stack.temporal.workflow.getHandle(waiter.workflowId);
    const { runId: executionId } = await workflow.describe();
    const late = async (one: object = {}): Promise<unknown> => {
      await addWaiter(stack.pool, { ...waiter, executionId, ...one }, { quota });
      return (await stack.admin.query('SELECT FROM copilot_internal.money_waiters WHERE tenant_id = $1', [tenantId]))
        .rows;
    };
    expect(await late()).toHaveLength(1);
    expect(await talk.call('POST', '/interrupt', { turnId })).toMatchObject({ status: 202 });
    expect(await talk.ended(turnId)).toBe('interrupted');
    expect(await late()).toEqual([]);
    expect(await talk.show()).toMatchObject({ status: 'running', waitingFor: { kind: 'message' } });
    // An execution that was reset waits for it once more.
    expect(await late({ executionId: randomUUID() })).toHaveLength(1);
    const another = { waiterId: randomUUID() };
    await talk.close();
    const before = await readRunEvents(stack.pool, { tenantId, runId: talk.id });
    for (const one of [{}, another]) expect(await late(one)).toEqual([]);
    expect(await readRunEvents(stack.pool, { tenantId, runId: talk.id })).toEqual(before);
  });

  test('a run goes on when its period ends', async () => {
    const tenantId = await stack.tenant('5');
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'llm', period: 'day', limitUsd: '0.05' }]);
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET current_spend_usd = 0.05 WHERE tenant_id = $1 AND period = 'day'`,
      [tenantId],
    );
    const started = await stack.start({ tenantId, onDenied: 'wait' });
    await until('it waits', async () => (await stack.show({ tenantId, ...started })).status === 'waiting_for_money');
    // The day ends: what its quota says of its period is moved back by a day, and the authority looks again.
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '1 day', period_end = period_end - interval '1 day'
       WHERE tenant_id = $1 AND period = 'day'`,
      [tenantId],
    );
    await stack.signal(tenantId, [{ type: 'reload' }]);
    expect((await stack.finish({ tenantId, ...started })).status).toBe('completed');
  });

  test('those that wait are woken in order, as far as the money goes', async () => {
    const tenantId = await stack.tenant('0.0001');
    await stack.priceModel('claude-for-those-who-wait', '1000');
    stack.anthropic.knobs.latencyMs = 1_500;
    stack.anthropic.knobs.replies = [{ text: 'one' }, { text: 'two' }, { text: 'three' }];
    const runs = [];
    for (let index = 0; index < 3; index += 1) {
      const started = await stack.start({
        tenantId,
        onDenied: 'wait',
        model: 'claude-for-those-who-wait',
        limits: { maxOutputTokens: 100 },
      });
      await until('it waits', async () => (await stack.show({ tenantId, ...started })).status === 'waiting_for_money');
      runs.push(started);
    }
    // Each may cost $0.10, and costs a few cents at most: there is never room for two at once.
    await raise(tenantId, '0.19');
    for (const started of runs) expect((await stack.finish({ tenantId, ...started })).status).toBe('completed');
    const { rows } = await stack.admin.query<{ run_id: string }>(
      `SELECT run_id FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'committed' ORDER BY decided_at`,
      [tenantId],
    );
    expect(rows.map((row) => row.run_id)).toEqual(runs.map(({ runId }) => runId));
    const books = await stack.books(tenantId);
    expect(Number(books.spentUsd)).toBeLessThanOrEqual(0.19);
    expect(books).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('those that wait for a hold to run out ask in their order, where no authority is there to wake them', async () => {
    const model = 'claude-for-who-asks-in-turn';
    await stack.priceModel(model, '1000');
    stack.anthropic.knobs.usage = { output_tokens: 100 };
    /** How long a run that waits pauses before it asks, beyond the time that it was told, and when it asks. */
    const asks = async (
      tenantId: string,
      { runId, workflowId }: StartedRun,
    ): Promise<{ byMs: number; atMs: number }> => {
      const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
      const { eventTime, timerStartedEventAttributes: timer } =
        events?.findLast(({ timerStartedEventAttributes: started }) => started) ?? {};
      const lastsMs = tsToMs(timer?.startToFireTimeout);
      const { waitingFor } = await stack.show({ tenantId, runId });
      const toldMs = (waitingFor as { retryAfterSeconds?: number } | null)?.retryAfterSeconds ?? NaN;
      return { byMs: lastsMs - toldMs * 1_000, atMs: tsToMs(eventTime) + lastsMs };
    };
    /**
     * A hold, and three runs that wait for it to run out. A machine that is so slow that it runs out before, or that the first asks
     * only with the next, is given longer.
     */
    const waitInLine = async (ttlSeconds: number): Promise<{ tenantId: string; runs: StartedRun[] }> => {
      const tenantId = await stack.tenant('0.12');
      const held = { resource: 'llm', kind: 'llm.call', amountUsd: '0.1', priceVersion: 'test' } as const;
      const operationId = randomUUID();
      await stack.signal(tenantId, [{ type: 'reserve', operationId, ...held, ttlSeconds, onExpiry: 'release' }]);
      await until('it is held', async () => (await stack.books(tenantId)).reservedUsd === '0.1');
      const isHeld = async (): Promise<boolean> => {
        const { rows } = await stack.admin.query(
          `SELECT FROM copilot_internal.reservations WHERE operation_id = $1 AND expires_at > clock_timestamp() + interval '1 second'`,
          [operationId],
        );
        return rows.length > 0;
      };
      const runs: StartedRun[] = [];
      for (let index = 0; index < 3; index += 1) {
        const started = await stack.start({ tenantId, onDenied: 'wait', model, limits: { maxOutputTokens: 100 } });
        runs.push(started);
        const waits = async (): Promise<boolean> =>
          (await stack.show({ tenantId, ...started })).status === 'waiting_for_money';
        await until('it waits', async () => (await waits()) || !(await isHeld()));
        await stack.rests(started.workflowId);
      }
      const pauses = await Promise.all(runs.map((started) => asks(tenantId, started)));
      if (await isHeld()) {
        expect(pauses.map(({ byMs }) => byMs)).toEqual([100, 2_100, 4_100]);
        const [first = NaN, ...others] = pauses.map(({ atMs }) => atMs);
        if (Math.min(...others) - first >= 1_000) return { tenantId, runs };
      }
      await raise(tenantId, '5');
      for (const started of runs) await stack.finish({ tenantId, ...started });
      expect(ttlSeconds).toBeLessThan(120);
      return waitInLine(ttlSeconds * 2);
    };
    const { tenantId, runs } = await waitInLine(10);
    await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).terminate();
    const granted = async (): Promise<string[]> => {
      const { rows } = await stack.admin.query<{ run_id: string }>(
        `SELECT run_id FROM copilot_internal.reservations WHERE tenant_id = $1 AND run_id IS NOT NULL AND granted_usd IS NOT NULL
         ORDER BY decided_at`,
        [tenantId],
      );
      return rows.map((row) => row.run_id);
    };
    await until('one has its money', async () => (await granted()).length > 0);
    await raise(tenantId, '5');
    for (const started of runs) await stack.finish({ tenantId, ...started });
    expect((await granted())[0]).toBe(runs[0]?.runId);
  });

  describe('money that the first in the line does not take goes to the next:', () => {
    const model = 'claude-for-who-is-second';
    const line = 'copilot_internal.money_waiters';
    beforeAll(() => stack.priceModel(model, '1000'));

    /** Two runs that wait for the same ten cents. */
    const two = async (): Promise<{ tenantId: string; first: StartedRun; next: StartedRun }> => {
      const tenantId = await stack.tenant('0.0001');
      stack.anthropic.knobs.latencyMs = 0;
      const begun: StartedRun[] = [];
      for (let index = 0; index < 2; index += 1) {
        const started = await stack.start({ tenantId, onDenied: 'wait', model, limits: { maxOutputTokens: 100 } });
        await until(
          'it waits',
          async () => (await stack.show({ tenantId, ...started })).status === 'waiting_for_money',
        );
        begun.push(started);
      }
      const [first, next] = begun as [StartedRun, StartedRun];
      return { tenantId, first, next };
    };
    /** Woken at this moment, and a second later still on its way to ask, so that the money is kept for it. */
    const isWoken = ({ runId }: Pick<StartedRun, 'runId'>): Promise<unknown> =>
      stack.admin.query(`UPDATE ${line} SET woken_at = clock_timestamp() + interval '1 hour' WHERE run_id = $1`, [
        runId,
      ]);
    const goesOn = async (tenantId: string, started: StartedRun): Promise<void> =>
      expect((await stack.finish({ tenantId, ...started })).status).toBe('completed');

    test('that one was cancelled after it was woken', async () => {
      const { tenantId, first, next } = await two();
      await isWoken(first);
      await raise(tenantId, '0.19');
      expect((await stack.show({ tenantId, ...next })).status).toBe('waiting_for_money');
      await stack.temporal.workflow.getHandle(first.workflowId).cancel();
      await goesOn(tenantId, next);
    });

    test('its turn was interrupted after it was woken', async () => {
      const tenantId = await stack.tenant('0.0001');
      stack.anthropic.knobs.latencyMs = 0;
      const limits = { maxOutputTokens: 100 };
      const talk = await TestConversation.start(api, tenantId, { onDenied: 'wait', model, limits });
      const turnId = await talk.post('Hello.');
      await until('it waits', async () => (await talk.show()).status === 'waiting_for_money');
      const next = await stack.start({ tenantId, onDenied: 'wait', model, limits });
      await until('it waits', async () => (await stack.show({ tenantId, ...next })).status === 'waiting_for_money');
      await isWoken({ runId: talk.id });
      await raise(tenantId, '0.19');
      expect(await talk.call('POST', '/interrupt', { turnId })).toMatchObject({ status: 202 });
      await goesOn(tenantId, next);
      await talk.close();
    });

    test('that one is not there any more', async () => {
      const { tenantId, first, next } = await two();
      await stack.temporal.workflow.getHandle(first.workflowId).terminate();
      await raise(tenantId, '0.19');
      await goesOn(tenantId, next);
    });

    test('but to one whose workflow was reset before it began to wait, which keeps the place that it had', async () => {
      const tenantId = await stack.tenant('0.0001');
      stack.anthropic.knobs.latencyMs = 0;
      stack.anthropic.knobs.usage = { output_tokens: 100 };
      const limits = { maxOutputTokens: 100 };
      const talk = await TestConversation.start(api, tenantId, { onDenied: 'wait', model, limits });
      const turnId = await talk.post('Hello.');
      await until('it waits', async () => (await talk.show()).status === 'waiting_for_money');
      const next = await stack.start({ tenantId, onDenied: 'wait', model, limits });
      await until('it waits', async () => (await stack.show({ tenantId, ...next })).status === 'waiting_for_money');
      const places = async () =>
        (await listWaiters(stack.pool, tenantId)).map(({ waiterId, runId }) => ({ waiterId, runId }));
      const [former] = await places();
      await resetToBegin(stack, talk.workflowId);
      await until('it waits once more', async () => (await places())[0]?.waiterId !== former?.waiterId);
      expect((await places()).map(({ runId }) => runId)).toEqual([talk.id, next.runId]);
      // Enough for one call.
      stack.anthropic.knobs.latencyMs = 20_000;
      await raise(tenantId, '0.12');
      const decided = async (): Promise<string[]> => {
        const { rows } = await stack.admin.query<{ run_id: string }>(
          `SELECT run_id FROM copilot_internal.reservations WHERE tenant_id = $1 AND granted_usd IS NOT NULL ORDER BY decided_at`,
          [tenantId],
        );
        return rows.map((row) => row.run_id);
      };
      await until('the first has its money', async () => (await decided()).length === 1);
      expect(await decided()).toEqual([talk.id]);
      await until('its call is under way', () => stack.anthropic.calls().inFlight > 0);
      stack.anthropic.knobs.latencyMs = 0;
      await raise(tenantId, '0.22');
      await until('the next has its money', async () => (await decided()).length === 2, 15_000);
      await goesOn(tenantId, next);
      expect(await talk.call('POST', '/interrupt', { turnId })).toMatchObject({ status: 202 });
      expect(await talk.ended(turnId)).toBe('interrupted');
      expect(await places()).toEqual([]);
      await talk.close();
    });

    test('upkeep ends what was terminated after it was woken, and tells again who did not hear', async () => {
      const [ended, unheard, unwoken] = await Promise.all([two(), two(), two()]);
      await isWoken(ended.first);
      await raise(ended.tenantId, '0.19');
      await stack.temporal.workflow.getHandle(ended.first.workflowId).terminate();
      await stack.admin.query(
        `UPDATE copilot_internal.runs SET seen_at = seen_at - interval '1 hour' WHERE run_id = $1`,
        [ended.first.runId],
      );
      // There is money, of which a word went to the first that got lost; nothing else is decided for this tenant.
      await stack.admin.query('UPDATE copilot_internal.cost_quotas SET limit_usd = 0.19 WHERE tenant_id = $1', [
        unheard.tenantId,
      ]);
      await stack.admin.query(
        `UPDATE ${line} SET woken_at = clock_timestamp() - interval '1 minute' WHERE run_id = $1`,
        [unheard.first.runId],
      );
      // And here nobody was woken at all.
      await stack.admin.query('UPDATE copilot_internal.cost_quotas SET limit_usd = 0.19 WHERE tenant_id = $1', [
        unwoken.tenantId,
      ]);
      await Promise.all([ended, unheard, unwoken].map(({ tenantId, next }) => goesOn(tenantId, next)));
    });
  });

  /** A newer version of a test model's price, in force from now on. */
  const reprice = (model: string, outputUsdPerMillionTokens: string): Promise<unknown> =>
    stack.admin.query(
      `INSERT INTO copilot_internal.model_prices (price_version, provider, model, effective_from, input_usd_per_mtok,
         output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, cache_write_1h_usd_per_mtok, notes, source, source_date)
       VALUES ($1, 'anthropic', $2, clock_timestamp(), 0, $3, 0, 0, 0, 'for a test', 'test', '2026-01-01')`,
      [`anthropic/${model}@test-2`, model, outputUsdPerMillionTokens],
    );
  const calls = async (tenantId: string): Promise<Record<string, unknown>[]> => {
    const { rows } = await stack.admin.query<Record<string, unknown>>(
      `SELECT price_version AS price, trim_scale(requested_usd)::text AS asked, trim_scale(committed_usd)::text AS cost
       FROM copilot_internal.reservations WHERE tenant_id = $1 AND kind = 'llm.call' AND granted_usd IS NOT NULL ORDER BY decided_at`,
      [tenantId],
    );
    return rows;
  };

  test('a step that waited across a change of its price is held and paid at the new one (XD8)', async () => {
    const model = 'claude-repriced-for-who-waits';
    await stack.priceModel(model, '1000');
    stack.anthropic.knobs.usage = { output_tokens: 100 };
    const tenantId = await stack.tenant('0.0001');
    const started = await stack.start({ tenantId, model, onDenied: 'wait', limits: { maxOutputTokens: 500 } });
    await until('it waits', async () => (await stack.show({ tenantId, ...started })).status === 'waiting_for_money');
    await reprice(model, '3000');
    await raise(tenantId, '5');
    expect(await stack.finish({ tenantId, ...started })).toMatchObject({ status: 'completed', costUsd: '0.3' });
    expect(await calls(tenantId)).toEqual([{ price: `anthropic/${model}@test-2`, asked: '1.5', cost: '0.3' }]);
  });

  test('a step that paused because its provider asked for it, likewise (XD8)', async () => {
    const model = 'claude-repriced-for-who-pauses';
    await stack.priceModel(model, '1000');
    stack.anthropic.knobs.usage = { output_tokens: 100 };
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 429, retryAfterSeconds: 3 }];
    const tenantId = await stack.tenant('5');
    const { refused } = stack.anthropic.calls();
    const started = await stack.start({ tenantId, model, limits: { maxOutputTokens: 500 } });
    await until('it was refused', () => stack.anthropic.calls().refused > refused);
    await reprice(model, '3000');
    expect(await stack.finish({ tenantId, ...started })).toMatchObject({ status: 'completed', costUsd: '0.3' });
    expect(await calls(tenantId)).toEqual([
      { price: `anthropic/${model}@test`, asked: '0.5', cost: null },
      { price: `anthropic/${model}@test-2`, asked: '1.5', cost: '0.3' },
    ]);
  });
});
