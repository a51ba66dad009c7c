/**
 * What changes while whoever asks decides takes effect at the next decision, without a word to them; and what their authority goes
 * through, or a process that is killed, leaves nothing behind (B1, docs/decisions/0046).
 */
import { randomUUID } from 'node:crypto';
import { budgetWorkflowId } from '../../contracts/messages';
import { lookAtBooks } from '../../store/books';
import { decideUnderMandate, type RecordedBatch } from '../../store/budget-batch';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { decidedDirectly, mandated as mandatedTenant, releaseAll, type promptAnyhow } from '../support/mandates';
import { resetToBegin } from '../support/reset';
import { TestStack, until } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

describe('under a mandate, a change', () => {
  let stack: TestStack;
  let api: TestApi;

  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: 'on' });
    api = await startTestApi(stack, { mandates: true });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const mandated = (limitUsd: string): Promise<string> => mandatedTenant(stack, api, limitUsd);
  const reserve = (
    tenantId: string,
    amountUsd = '0.01',
    { at = api, operationId = randomUUID(), ...more }: { at?: TestApi; operationId?: string; ttlSeconds?: number } = {},
  ): Promise<Answer> =>
    at.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd, ...more } });

  test.each<[string, (tenantId: string) => Promise<Answer>, number, { isDecided: boolean }]>([
    [
      'a freeze',
      (tenantId) => api.call('POST', `/v1/tenants/${tenantId}/freeze`, { body: { reason: 'a test' } }),
      403,
      { isDecided: true },
    ],
    [
      'a lower limit',
      (tenantId) =>
        api.call('PUT', `/v1/tenants/${tenantId}/quotas`, {
          body: {
            quotas: [{ scope: 'tenant', resourceType: 'all', period: 'month', limitUsd: '0.001' }],
            reason: 'a test',
          },
        }),
      429,
      { isDecided: true },
    ],
    [
      'a deletion',
      async (tenantId) => {
        await releaseAll(stack, api, tenantId);
        return api.call('POST', `/v1/tenants/${tenantId}/delete`, { body: { confirm: tenantId, reason: 'a test' } });
      },
      404,
      // There is nobody to decide for, and no mandate.
      { isDecided: false },
    ],
  ])('%s holds at the next decision, which nobody else takes', async (_what, change, status, { isDecided }) => {
    const tenantId = await mandated('10');
    expect((await reserve(tenantId)).status).toBe(201);
    const changed = await change(tenantId);
    expect({ changed }).toMatchObject({ changed: { status: 200 } });
    await stack.rests(budgetWorkflowId(tenantId));
    // Its authority has seen all that was decided so far.
    await stack.admin.query('UPDATE copilot_internal.mandates SET left_at = NULL WHERE tenant_id = $1', [tenantId]);
    const before = await decidedDirectly(stack, tenantId);
    const answer = await reserve(tenantId);
    // A denial raises an alert, so that its authority looks at once; what is refused otherwise counts for nothing.
    const direct = `SELECT FROM copilot_internal.mandates WHERE tenant_id = $1 AND (left_at IS NOT NULL OR granted + denied > $2)`;
    expect((await stack.admin.query(direct, [tenantId, before])).rowCount).toBe(isDecided ? 1 : 0);
    expect([answer.status === status || JSON.stringify(answer)]).toEqual([true]);
    const { rowCount } = await stack.admin.query(
      `SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2 AND granted_usd IS NOT NULL`,
      [tenantId, answer.body.operationId],
    );
    expect(rowCount).toBe(0);
  });

  test('a period that ends begins anew with the next decision, which nobody else takes', async () => {
    const tenantId = await mandated('10');
    await stack.admin.query(
      'UPDATE copilot_internal.cost_quotas SET current_spend_usd = 10 - reserved_usd WHERE tenant_id = $1',
      [tenantId],
    );
    /** Whether it was decided here, and how. */
    const directly = async (): Promise<number> => {
      let status = NaN;
      await until('it is decided directly', async () => {
        const before = await decidedDirectly(stack, tenantId);
        ({ status } = await reserve(tenantId, '4'));
        return (await decidedDirectly(stack, tenantId)) > before;
      });
      return status;
    };
    expect(await directly()).toBe(429);
    await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).query('budgetState');
    await stack.rests(budgetWorkflowId(tenantId));
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '1 month', period_end = clock_timestamp()
       WHERE tenant_id = $1`,
      [tenantId],
    );
    const before = await decidedDirectly(stack, tenantId);
    expect((await reserve(tenantId, '4')).status).toBe(201);
    expect(await decidedDirectly(stack, tenantId)).toBe(before + 1);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0' });
  });

  test('an authority that is reset under load, by all ways of asking, leaves the books exact', async () => {
    const signalling = await startTestApi(stack, { mandates: false });
    const others = [await startTestApi(stack, { mandates: true }), signalling];
    const tenantId = await mandated('1');
    // Some of what it took came by signal, and comes again when it is reset.
    for (let call = 0; call < 5; call += 1)
      expect((await reserve(tenantId, '0.001', { at: signalling })).status).toBe(201);
    const { openReservations, reservedUsd } = await stack.books(tenantId);
    const held: string[] = [];
    const askers = [api, ...others, ...others].flatMap((at) => [at, at]);
    const asking = askers.map(async (at) => {
      for (let call = 0; call < 10; call += 1) {
        const operationId = randomUUID();
        const { status } = await reserve(tenantId, '0.015', { at, operationId });
        if (status === 201) held.push(operationId);
      }
    });
    // What it has heard since its first task is heard again.
    const reset = (): Promise<void> => resetToBegin(stack, budgetWorkflowId(tenantId));
    await until('they are in the middle', () => held.length >= 10);
    await reset();
    await until('they go on', () => held.length >= 25);
    await reset();
    await Promise.all(asking);
    // $0.005 and a little is held beside them: 66 of $0.015 would fit into $0.99, and 67 into nothing.
    expect(held).toHaveLength(66);
    expect(await stack.books(tenantId)).toMatchObject({ openReservations: openReservations + 66, ledgerUsd: '0' });
    const settling = held.map((operationId, index) =>
      (askers[index % askers.length] as TestApi).call('POST', `/v1/reservations/${operationId}/commit`, {
        body: { tenantId, costUsd: '0.011' },
      }),
    );
    await reset();
    expect(new Set((await Promise.all(settling)).map(({ status }) => status))).toEqual(new Set([200]));
    await until('all is folded', async () => (await stack.books(tenantId)).openReservations === openReservations);
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: '0.726',
      spentUsd: '0.726',
      reservedUsd,
      openReservations,
    });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
    await Promise.all(others.map((other) => other.close()));
  });

  test('who waits for money is woken though the process that freed it was killed right after its commit', async () => {
    const tenantId = await mandated('1');
    const { reservedUsd } = await stack.books(tenantId);
    const operationId = randomUUID();
    const all = (1 - Number(reservedUsd)).toFixed(6);
    expect((await reserve(tenantId, all, { operationId, ttlSeconds: 600 })).status).toBe(201);
    const waiting = await stack.start({ tenantId, onDenied: 'wait' });
    await until('it waits', async () => (await stack.show({ tenantId, ...waiting })).status === 'waiting_for_money');
    const upkeep = await stack.takeOverSchedules();
    const authorityRests = async (): Promise<void> => {
      await stack.signal(tenantId, [{ type: 'reload' }]);
      await stack.rests(budgetWorkflowId(tenantId));
      await until('all that was left to it is done', async () => !(await isNeeded()));
    };
    const isNeeded = async (): Promise<boolean> => {
      const { rows } = await stack.admin.query<{ needed: boolean }>(
        'SELECT needed_at IS NOT NULL AS needed FROM copilot_internal.mandates WHERE tenant_id = $1',
        [tenantId],
      );
      return rows[0]?.needed ?? false;
    };
    /** Decides like a process that says nothing to anybody any more. */
    const decideAndDie = async (command: { type: 'reload' } | { type: 'release'; operationId: string }) => {
      const decided = await decideUnderMandate(stack.pool, {
        ...{ tenantId, timeoutMs: 3_000, lockMs: 3_000, enforced: { llm: true, e2b: true } },
        commands: [command],
      });
      expect(decided).not.toBe('closed');
      return decided as RecordedBatch;
    };
    await authorityRests();
    // Nothing came free, but somebody waits: a period may have ended, or somebody before them have gone.
    expect((await decideAndDie({ type: 'reload' })).leaves).toBe('soon');
    expect(await isNeeded()).toBe(true);
    await authorityRests();
    // Those that wait are looked at once more within this process, some seconds after each look of their authority.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect((await decideAndDie({ type: 'release', operationId })).leaves).toBe('now');
    expect(await isNeeded()).toBe(true);
    expect((await stack.show({ tenantId, ...waiting })).status).toBe('waiting_for_money');
    await stack.admin.query(
      `UPDATE copilot_internal.mandates SET needed_at = needed_at - interval '6 seconds' WHERE tenant_id = $1`,
      [tenantId],
    );
    // As one that began to wait just now: upkeep looks by itself for those that have waited for long, and it is not what is tried here.
    await stack.admin.query(
      'UPDATE copilot_internal.money_waiters SET waiting_since = clock_timestamp(), woken_at = NULL WHERE tenant_id = $1',
      [tenantId],
    );
    await upkeep('lookAfter');
    expect(await stack.finish({ tenantId, ...waiting })).toMatchObject({ status: 'completed' });
  });
});
