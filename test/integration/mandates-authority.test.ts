/**
 * What an authority makes of what others decided under its mandate: each alert once, and an account that has all of it, whatever became
 * of the authority meanwhile (B1, docs/decisions/0046).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { budgetStateQuery, budgetWorkflowId, type TenantBudgetInput } from '../../contracts/messages';
import { decideUnderMandate } from '../../store/budget-batch';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { decidedDirectly, mandated, mandatedWith, type promptAnyhow } from '../support/mandates';
import { recordingServer, type RecordingServer } from '../support/recording-server';
import { TestStack, until } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

describe('the authority of a mandate', () => {
  let stack: TestStack;
  let receiver: RecordingServer;
  /** Two that decide. */
  let api: TestApi;
  let other: TestApi;

  beforeAll(async () => {
    receiver = await recordingServer();
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({
      SPENDLOCK_MANDATES: 'on',
      SPENDLOCK_ALERT_WEBHOOK_URL: `${receiver.url}/alerts`,
      SPENDLOCK_ALERT_WEBHOOK_SECRET: 'of-this-test-only',
    });
    api = await startTestApi(stack, { mandates: true });
    other = await startTestApi(stack, { mandates: true });
  });
  afterAll(async () => {
    await Promise.all([api.close(), other.close()]);
    await stack.stop();
    await receiver.close();
  });

  const byBoth = <T>(count: number, one: (at: TestApi, index: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: count }, (_, index) => one(index % 2 === 0 ? api : other, index)));
  const reserve = (tenantId: string, amountUsd: string, at = api): Promise<Answer> =>
    at.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ttlSeconds: 600 },
    });
  const authorityOf = (tenantId: string) => stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId));
  const isEnded = async (tenantId: string): Promise<boolean> =>
    (await authorityOf(tenantId).describe()).status.name !== 'RUNNING';
  /** How many were decided directly, as it knows. */
  const account = async (tenantId: string): Promise<number> => {
    const { granted = 0, denied = 0 } = (await authorityOf(tenantId).query(budgetStateQuery)).mandate ?? {};
    return granted + denied;
  };

  test('raises each alert once, and sends it once, of what two processes decide', async () => {
    const tenantId = await mandatedWith(stack, api, '1');
    const before = await decidedDirectly(stack, tenantId);
    const grants = await byBoth(10, (at) => reserve(tenantId, '0.09', at));
    expect(new Set(grants.map(({ status }) => status))).toEqual(new Set([201]));
    const refusals = await byBoth(10, (at) => reserve(tenantId, '0.5', at));
    expect(new Set(refusals.map(({ status }) => status))).toEqual(new Set([429]));
    await byBoth(10, (at, index) =>
      at.call('POST', `/v1/reservations/${String(grants[index]?.body.operationId)}/commit`, {
        body: { tenantId, costUsd: '0.085' },
      }),
    );
    await until('all is folded', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await decidedDirectly(stack, tenantId)) - before).toBeGreaterThanOrEqual(10);
    const rows = async (): Promise<{ id: string; kind: string; isSent: boolean }[]> =>
      (
        await stack.admin.query<{ id: string; kind: string; isSent: boolean }>(
          `SELECT alert_id::text AS id, kind, sent_at IS NOT NULL AS "isSent"
           FROM copilot_internal.quota_alerts WHERE tenant_id = $1 ORDER BY kind`,
          [tenantId],
        )
      ).rows;
    await until('all are sent', async () => (await rows()).length >= 3 && (await rows()).every(({ isSent }) => isSent));
    // One that is sent twice comes within moments.
    await sleep(1_000);
    const raised = await rows();
    // Both the quota of all and that of models pass 80 %.
    expect(raised.map(({ kind }) => kind)).toEqual(['quota_exceeded', 'quota_warning', 'quota_warning']);
    const sent = receiver.asked.map(({ body }) => body as { tenantId: string; alertId: string });
    const ids = sent.filter((alert) => alert.tenantId === tenantId).map(({ alertId }) => alertId);
    expect(ids.sort()).toEqual(raised.map(({ id }) => id).sort());
  });

  test('is brought back by upkeep where there is none, and its account has what was decided meanwhile', async () => {
    const tenantId = await mandated(stack, api, '10');
    const upkeep = await stack.takeOverSchedules();
    // What the decisions so far left for it is told within moments, which would begin it anew.
    await until('it is gone for good', async () => {
      await authorityOf(tenantId)
        .terminate('by a test')
        .catch(() => undefined);
      await sleep(1_000);
      return isEnded(tenantId);
    });
    const before = await decidedDirectly(stack, tenantId);
    const step = { type: 'reserve', resource: 'llm', amountUsd: '0.01', ttlSeconds: 30 } as const;
    for (let call = 0; call < 5; call += 1) {
      // It says nothing to anybody.
      const decided = await decideUnderMandate(stack.pool, {
        ...{ tenantId, timeoutMs: 3_000, lockMs: 500, enforced: { llm: true, e2b: true } },
        commands: [{ ...step, operationId: randomUUID(), priceVersion: 'caller', kind: 'external.call' }],
      });
      expect(decided).toMatchObject({ decision: { answers: [{ decision: 'granted' }] } });
    }
    expect(await decidedDirectly(stack, tenantId)).toBe(before + 5);
    expect(await isEnded(tenantId)).toBe(true);
    await stack.admin.query(
      `UPDATE copilot_internal.mandates SET left_at = left_at - interval '70 seconds', needed_at = needed_at - interval '6 seconds'
       WHERE tenant_id = $1`,
      [tenantId],
    );
    await upkeep('lookAfter');
    await until(
      'its account has them',
      async () => !(await isEnded(tenantId)) && (await account(tenantId)) === before + 5,
    );
  });

  test('hands its account over as it continues as new, while others decide', async () => {
    const tenantId = await mandated(stack, api, '10');
    const { runId } = await authorityOf(tenantId).describe();
    let isOver = false;
    const deciding = byBoth(2, async (at) => {
      while (!isOver) expect((await reserve(tenantId, '0.0001', at)).status).toBe(201);
    });
    const decided = await decidedDirectly(stack, tenantId);
    await until('they decide', async () => (await decidedDirectly(stack, tenantId)) > decided + 5);
    await until('it continued as new', async () => {
      await Promise.all(Array.from({ length: 20 }, () => stack.signal(tenantId, [{ type: 'reload' }])));
      return (await authorityOf(tenantId).describe()).runId !== runId;
    });
    isOver = true;
    await deciding;
    const begun = (await authorityOf(tenantId).fetchHistory()).events?.[0]?.workflowExecutionStartedEventAttributes;
    const input = JSON.parse(Buffer.from(begun?.input?.payloads?.[0]?.data ?? []).toString()) as TenantBudgetInput;
    expect(input.last?.mandate?.granted).toBeGreaterThan(decided);
    await stack.signal(tenantId, [{ type: 'reload' }]);
    const all = await decidedDirectly(stack, tenantId);
    await until('its account has all of it', async () => (await account(tenantId)) === all);
  });
});
