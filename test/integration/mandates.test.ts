/**
 * Decisions under a mandate: the process that asks takes them itself, exactly as its authority would, for as long as that lets it
 * (B1, docs/decisions/0046).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { budgetWorkflowId } from '../../contracts/messages';
import { rulesOf } from '../../core/budget/rules';
import { decideAndRecord, decideUnderMandate } from '../../store/budget-batch';
import { asTenant } from '../../store/pool';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

describe('under a mandate', () => {
  let stack: TestStack;
  let api: TestApi;
  /** Asks the authority alone. */
  let signalling: TestApi;

  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: 'on' });
    api = await startTestApi(stack, { mandates: true });
    signalling = await startTestApi(stack, { mandates: false });
  });
  afterAll(async () => {
    await api.close();
    await signalling.close();
    await stack.stop();
  });

  const reserve = (
    tenantId: string,
    amountUsd = '0.01',
    { at = api, operationId = randomUUID() }: { at?: TestApi; operationId?: string } = {},
  ): Promise<Answer> =>
    at.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd } });
  const mandateOf = async (tenantId: string): Promise<Record<string, unknown> | undefined> =>
    (
      await stack.admin.query<Record<string, unknown>>(
        `SELECT open_until > clock_timestamp() AS open, granted::integer, denied::integer, trim_scale(granted_usd)::text AS usd,
           left_at IS NOT NULL AS left, needed_at IS NOT NULL AS needed
         FROM copilot_internal.mandates WHERE tenant_id = $1`,
        [tenantId],
      )
    ).rows[0];
  /** A tenant whose authority lets those who ask decide. */
  const mandated = async (limitUsd: string): Promise<string> => {
    const tenantId = await stack.tenant(limitUsd);
    await until('this process decides', async () => {
      await reserve(tenantId, '0.000001');
      return Number((await mandateOf(tenantId))?.granted) > 0;
    });
    return tenantId;
  };
  const signalsOf = async (tenantId: string): Promise<number> => {
    const { events } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).fetchHistory();
    return (events ?? []).filter(({ workflowExecutionSignaledEventAttributes: signalled }) => signalled).length;
  };

  test('who asks often decides without its authority, and the authority’s account has it', async () => {
    const tenantId = await mandated('10');
    const [signalsBefore, before] = [await signalsOf(tenantId), await mandateOf(tenantId)];
    for (let call = 0; call < 20; call += 1) expect((await reserve(tenantId)).status).toBe(201);
    expect(await mandateOf(tenantId)).toMatchObject({ granted: Number(before?.granted) + 20 });
    // It may be told of what runs out earlier than it knew, once.
    expect((await signalsOf(tenantId)) - signalsBefore).toBeLessThanOrEqual(2);
    expect(await stack.books(tenantId)).toMatchObject({ openReservations: expect.any(Number) as number });
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('the account has it', async () => {
      const { mandate } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).query<{
        mandate?: { granted: number };
      }>('budgetState');
      return mandate?.granted === Number(before?.granted) + 20;
    });
    expect(await mandateOf(tenantId)).toMatchObject({ left: false, needed: false });
  });

  test('10 × $2 at $10, some deciding and some signalling: five are granted', async () => {
    const tenantId = await mandated('10');
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, call) => reserve(tenantId, '1.99', { at: call % 2 === 0 ? api : signalling })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
  });

  test('one operation by both ways is one', async () => {
    const tenantId = await mandated('10');
    const operationId = randomUUID();
    const before = await stack.books(tenantId);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, call) =>
        reserve(tenantId, '1', { at: call % 2 === 0 ? api : signalling, operationId }),
      ),
    );
    expect(answers.map(({ status, body }) => [status, body.grantedUsd])).toEqual(Array(8).fill([201, '1']));
    const books = await stack.books(tenantId);
    expect(books.openReservations - before.openReservations).toBe(1);
  });

  test('a caller that goes takes no grant away from another that asks for the same operation', async () => {
    const tenantId = await mandated('10');
    const operationId = randomUUID();
    const gone = new AbortController();
    const locked = await stack.admin.connect();
    try {
      await locked.query('BEGIN');
      await locked.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
      const headers = { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json' };
      const body = JSON.stringify({ operationId, tenantId, resource: 'llm', amountUsd: '1' });
      const asked = { method: 'POST', headers, body, signal: gone.signal };
      const goes = fetch(`${api.url}/v1/reservations`, asked).catch(() => 'gone');
      const stays = reserve(tenantId, '1', { operationId });
      await until('one of them waits for the lock', async () => {
        const { rowCount } = await stack.admin.query(
          // Who waits too long for it goes by signal, and its authority waits.
          `SELECT FROM pg_stat_activity WHERE application_name ~ '^spendlock-(decisions|worker)' AND datname = current_database()
             AND wait_event_type = 'Lock'`,
        );
        return (rowCount ?? 0) > 0;
      });
      gone.abort();
      expect(await goes).toBe('gone');
      await sleep(100);
      await locked.query('COMMIT');
      expect(await stays).toMatchObject({ status: 201, body: { grantedUsd: '1' } });
    } finally {
      locked.release(true);
    }
    // A release would have gone by signal, which takes longer than a decision here.
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await sleep(500);
    const { body } = await api.call('GET', `/v1/reservations/${operationId}?tenantId=${tenantId}`);
    expect(body.status).toBe('granted');
  });

  test('once a recall has returned nothing is decided directly, until it is allowed again', async () => {
    const tenantId = await mandated('1000');
    let asking = true;
    const statuses: number[] = [];
    const askers = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (asking) statuses.push((await reserve(tenantId, '0.0001')).status);
      }),
    );
    await until('they decide', async () => Number((await mandateOf(tenantId))?.granted) > 20);
    const bar = (reason: string | null): Promise<unknown> =>
      stack.admin.query('SELECT copilot_internal.bar_mandate($1, $2)', [tenantId, reason]);
    await bar('a test');
    const atRecall = (await mandateOf(tenantId))?.granted;
    await sleep(1_000);
    expect(await mandateOf(tenantId)).toMatchObject({ open: null, granted: atRecall });
    await bar(null);
    await until('they decide again', async () => Number((await mandateOf(tenantId))?.granted) > Number(atRecall));
    asking = false;
    await askers;
    expect(statuses.filter((status) => status !== 201)).toEqual([]);
  });

  test.each([
    [
      'a freeze',
      (api_: TestApi, tenantId: string) =>
        api_.call('POST', `/v1/tenants/${tenantId}/freeze`, { body: { reason: 'a test' } }),
      403,
    ],
    [
      'a lower limit',
      (api_: TestApi, tenantId: string) =>
        api_.call('PUT', `/v1/tenants/${tenantId}/quotas`, {
          body: {
            quotas: [{ scope: 'tenant', resourceType: 'all', period: 'month', limitUsd: '0.001' }],
            reason: 'a test',
          },
        }),
      429,
    ],
  ])('%s holds at the next decision', async (_what, change, status) => {
    const tenantId = await mandated('10');
    expect((await reserve(tenantId)).status).toBe(201);
    const changed = await change(api, tenantId);
    expect({ changed }).toMatchObject({ changed: { status: expect.any(Number) as number } });
    expect(changed.status).toBeLessThan(300);
    const answer = await reserve(tenantId);
    expect([answer.status === status || JSON.stringify(answer)]).toEqual([true]);
  });

  test('an end frees money for who waits in a workflow, though it was written under the mandate', async () => {
    const tenantId = await mandated('1');
    const operationId = randomUUID();
    expect((await reserve(tenantId, '0.9999', { operationId })).status).toBe(201);
    const waiting = await stack.start({ tenantId, onDenied: 'wait' });
    await until('it waits', async () => {
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.money_waiters WHERE tenant_id = $1', [
        tenantId,
      ]);
      return rows.length === 1;
    });
    expect((await api.call('POST', `/v1/reservations/${operationId}/release`, { body: { tenantId } })).status).toBe(
      200,
    );
    expect(await stack.finish({ tenantId, ...waiting })).toMatchObject({ status: 'completed' });
  });

  test('what is left by a process that was killed after its commit is seen to', async () => {
    const tenantId = await mandated('10');
    await stack.admin.query(
      `UPDATE copilot_internal.mandates SET needed_at = clock_timestamp() - interval '6 seconds' WHERE tenant_id = $1`,
      [tenantId],
    );
    const upkeep = await stack.takeOverSchedules();
    await upkeep('lookAfter');
    await until('it is seen to', async () => (await mandateOf(tenantId))?.needed === false);
  });

  test('a hold that runs out before the authority looks is told, and comes back in time', async () => {
    const tenantId = await mandated('10');
    const before = await stack.books(tenantId);
    const { status } = await api.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '5', ttlSeconds: 3 },
    });
    expect(status).toBe(201);
    await until('it has run out', async () => (await stack.books(tenantId)).reservedUsd === before.reservedUsd, 20_000);
  });

  test('an authority of the version before closes the mandate by what it records', async () => {
    const tenantId = await mandated('10');
    // It says nothing of mandates.
    const decided = await decideAndRecord(stack.pool, {
      ...{ tenantId, commands: [{ type: 'reload' as const }], timeoutMs: 3_000 },
      enforced: { llm: true, e2b: true },
    });
    expect(decided).toBeDefined();
    expect(await mandateOf(tenantId)).toMatchObject({ open: null });
  });

  test('a process of other rules decides nothing, and a recording without a mandate is refused', async () => {
    const tenantId = await mandated('10');
    const commands = [{ type: 'reload' as const }];
    const asked = { tenantId, commands, timeoutMs: 3_000, lockMs: 500 };
    expect(await decideUnderMandate(stack.pool, { ...asked, enforced: { llm: true, e2b: false } })).toBe('closed');
    expect(await decideUnderMandate(stack.pool, { ...asked, enforced: { llm: true, e2b: true } })).not.toBe('closed');
    const record = asTenant(
      stack.pool,
      tenantId,
      async (client) => {
        await client.query(`SELECT copilot_internal.load_budget_batch($1, '{}', '{}', 0)`, [tenantId]);
        await client.query(`UPDATE copilot_internal.mandates SET open_until = NULL WHERE tenant_id = $1`, [tenantId]);
        const nothing = JSON.stringify({ changes: [], reservations: [], ledger: [], alerts: [] });
        await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, nothing]);
      },
      { settings: { 'spendlock.mandate_rules': rulesOf({ llm: true, e2b: true }) } },
    );
    await expect(record).rejects.toThrow(/has no mandate/);
  });

  test('a process that stands still in the middle of its decision holds the tenant up for a second and a half at most', async () => {
    const tenantId = await mandated('10');
    const client = await stack.pool.connect();
    const startedMs = performance.now();
    try {
      const settings = `SELECT set_config('spendlock.mandate_rules', $1, true), set_config('transaction_timeout', '1000', true)`;
      await client.query('BEGIN');
      await client.query(settings, [rulesOf({ llm: true, e2b: true })]);
      await client.query(`SELECT copilot_internal.load_budget_batch($1, '{}', '{}', 0)`, [tenantId]);
      expect((await reserve(tenantId)).status).toBe(201);
      // What a busy machine takes beside.
      expect(performance.now() - startedMs).toBeLessThan(5_000);
    } finally {
      client.release(true);
    }
  });

  test('four processes and an authority that is terminated under them: no cent too much', async () => {
    const tenantId = await mandated('1');
    const others = [await startTestApi(stack, { mandates: true }), await startTestApi(stack, { mandates: false })];
    const askers = [api, signalling, ...others].flatMap((at) => [at, at, at]);
    const answers = Promise.all(
      askers.map(async (at) => {
        const statuses: number[] = [];
        for (let call = 0; call < 10; call += 1) statuses.push((await reserve(tenantId, '0.02', { at })).status);
        return statuses;
      }),
    );
    await stack.temporal.workflow
      .getHandle(budgetWorkflowId(tenantId))
      .terminate('by a test')
      .catch(() => undefined);
    const granted = (await answers).flat().filter((status) => status === 201);
    expect(granted).toHaveLength(49);
    const { reservedUsd } = await stack.books(tenantId);
    expect(Number(reservedUsd)).toBeLessThanOrEqual(1);
    expect(Number(reservedUsd)).toBeGreaterThanOrEqual(0.98);
    await Promise.all(others.map((other) => other.close()));
  });
});
