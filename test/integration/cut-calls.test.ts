/**
 * A paid call that is under way as the execution that asked for it is reset or terminated: nobody of it is left to say what became of the
 * call, and it is settled all the same, within seconds and once.
 */
import { Context } from '@temporalio/activity';
import { moneyFreedSignal } from '../../contracts/messages';
import type { TestApi } from '../support/api';
import { longWords, TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { startLimitedWorker } from '../support/limited-worker';
import { resetToTask } from '../support/reset';
import { type TestStack, until } from '../support/stack';

describe('a paid call whose execution ends while it is under way', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** The operation of the call that is under way: granted and claimed. */
  const underWay = (tenantId: string, kind: string): Promise<string> =>
    until('the call is under way', async () => {
      const { rows } = await stack.admin.query<{ id: string }>(
        `SELECT operation_id AS id FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND kind = $2 AND status = 'granted' AND claimed_at IS NOT NULL`,
        [tenantId, kind],
      );
      return rows[0]?.id;
    });
  /** A worker hears within five seconds that an execution is gone; a hold alone would last for a quarter of an hour. */
  const settled = (tenantId: string, operationId: string): Promise<unknown> =>
    until(
      'it is settled',
      async () => {
        const { rows } = await stack.admin.query(
          `SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2 AND status <> 'granted'`,
          [tenantId, operationId],
        );
        return rows.length > 0;
      },
      30_000,
    );
  const ledger = async (tenantId: string) => {
    const { rows } = await stack.admin.query<{ operationId: string; says: string; isGrant: boolean }>(
      `SELECT c.operation_id AS "operationId", c.entry || ' ' || c.settlement AS says, c.amount_usd = r.granted_usd AS "isGrant"
       FROM copilot_internal.cost_records c JOIN copilot_internal.reservations r USING (tenant_id, operation_id)
       WHERE c.tenant_id = $1 ORDER BY c.settlement DESC`,
      [tenantId],
    );
    return rows;
  };
  const nothingIsHeld = async (tenantId: string): Promise<void> =>
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  /** A workflow task that ended while the call was under way: a reset to it has the very call made again. */
  const passOneTask = async (workflowId: string): Promise<void> => {
    const handle = stack.temporal.workflow.getHandle(workflowId);
    await handle.signal(moneyFreedSignal);
    await until('it took the signal', async () => {
      const events = (await handle.fetchHistory()).events ?? [];
      const signalled = events.findIndex(({ workflowExecutionSignaledEventAttributes: signal }) => signal);
      return events.slice(signalled).some(({ workflowTaskCompletedEventAttributes: done }) => done);
    });
  };

  test.each([
    ['its beginning', 0, 15_000],
    ['its beginning, with the next answer there at once,', 0, 0],
    ['after it was asked for, so that the very same is asked for again,', Infinity, 15_000],
  ])(
    'by a reset to %s is charged once as unverified before its run ends, and made anew',
    async (_, task, latencyMs) => {
      const tenantId = await stack.tenant('5');
      const before = stack.anthropic.calls().billable;
      stack.anthropic.knobs.failNext = [{ type: 'hang' }];
      const started = await stack.start({ tenantId });
      const cut = await underWay(tenantId, 'llm.call');
      await until('it has begun to answer', () => stack.anthropic.calls().inFlight > 0);
      stack.anthropic.knobs.latencyMs = latencyMs;
      if (task > 0) await passOneTask(started.workflowId);
      await resetToTask(stack, started.workflowId, task);
      if (latencyMs > 0) {
        await settled(tenantId, cut);
        // The new execution still waits for its answer.
        expect(stack.anthropic.calls().inFlight).toBe(1);
      }
      const run = await stack.finish({ tenantId, ...started });
      expect(run.status).toBe('completed');
      await nothingIsHeld(tenantId);
      const made = run.steps.find(({ operationId }) => operationId !== cut && operationId)?.operationId;
      expect(await ledger(tenantId)).toEqual([
        { operationId: cut, says: 'commit unverified', isGrant: true },
        { operationId: made, says: 'commit actual', isGrant: false },
      ]);
      expect(stack.anthropic.calls().billable - before).toBe(2);
      expect(run.costUsd).toBe((await stack.books(tenantId)).ledgerUsd);
    },
  );

  test('by its termination is charged once as unverified', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.failNext = [{ type: 'hang' }];
    const { workflowId } = await stack.start({ tenantId });
    const cut = await underWay(tenantId, 'llm.call');
    await stack.temporal.workflow.getHandle(workflowId).terminate('by a test');
    await settled(tenantId, cut);
    expect(await ledger(tenantId)).toEqual([{ operationId: cut, says: 'commit unverified', isGrant: true }]);
    await nothingIsHeld(tenantId);
  });

  test('is settled where it was to sum a conversation up, too', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.nearlyFull(api, stack, tenantId);
    stack.anthropic.knobs.failNext = [{ type: 'hang' }];
    await talk.post(`four? ${longWords}`);
    const cut = await underWay(tenantId, 'compaction');
    await stack.temporal.workflow.getHandle(talk.workflowId).terminate('by a test');
    await settled(tenantId, cut);
    expect((await ledger(tenantId)).filter(({ operationId }) => operationId === cut)).toEqual([
      { operationId: cut, says: 'commit unverified', isGrant: true },
    ]);
  });

  test('is settled where a workflow of one’s own makes it, too', async () => {
    const tenantId = await stack.tenant('5');
    const worker = await startLimitedWorker(stack, {
      // It calls until it is cancelled.
      payBy: (own) => (operation) =>
        own.paid(operation, async () => {
          const activity = Context.current();
          const beat = setInterval(() => activity.heartbeat(), 200);
          return activity.cancelled.finally(() => clearInterval(beat));
        }),
    });
    try {
      const handle = await worker.start('limitedStep', { tenantId }, '0.4');
      const cut = await underWay(tenantId, 'test.call');
      await handle.terminate('by a test');
      await settled(tenantId, cut);
      expect(await ledger(tenantId)).toEqual([{ operationId: cut, says: 'commit unverified', isGrant: true }]);
    } finally {
      await worker.stop();
    }
    await nothingIsHeld(tenantId);
  });
});
