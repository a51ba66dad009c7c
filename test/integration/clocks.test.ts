/** Workers whose clock is wrong: what money goes by is Postgres' clock. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

/** Has a process read its clock ten minutes ahead. */
const ahead = path.join(mkdtempSync(path.join(tmpdir(), 'spendlock-clock-')), 'ahead.cjs');
writeFileSync(
  ahead,
  `const { now } = Date;
   Date.now = () => now() + 600_000;`,
);

describe('a worker whose clock is ten minutes ahead', () => {
  let stack: TestStack;
  let api: TestApi;
  const environment = { NODE_OPTIONS: `--require ${ahead}`, SPENDLOCK_SWEEP_MIN_AGE_SECONDS: '1' };
  withInstallation((made) => ({ stack, api } = made), { environment, worker: 'alone' });

  /** What the tenant's sandbox cost of what its window of five minutes may cost. */
  const shareCharged = async (tenantId: string): Promise<number | undefined> => {
    await until('it is settled', async () => (await stack.books(tenantId)).openReservations === 0);
    const { rows } = await stack.admin.query<{ share: number }>(
      `SELECT (SELECT sum(amount_usd) FROM copilot_internal.cost_records c WHERE c.operation_id = r.operation_id)::float8
                / granted_usd::float8 AS share
       FROM copilot_internal.reservations r WHERE tenant_id = $1 AND kind = 'sandbox.create'`,
      [tenantId],
    );
    expect(rows).toHaveLength(1);
    return rows[0]?.share;
  };

  test('runs programs in a sandbox, and charges it for the seconds that it ran', async () => {
    const tenantId = await stack.tenant('5');
    const executed = stack.e2b.calls().executed;
    const file = { name: 'a.csv', content: 'a\n1\n' };
    const run = await stack.run({ tenantId, task: 'Profile this file.', file });
    expect(run.status).toBe('completed');
    expect(stack.e2b.calls().executed).toBeGreaterThan(executed);
    expect(await shareCharged(tenantId)).toBeLessThan(0.5);
  });

  test('charges a sandbox that it sweeps for the seconds that it ran', async () => {
    const startNow = await stack.takeOverSchedules();
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { sandbox: { pauseAfterSeconds: 3_600 } });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    // Younger ones are not swept.
    await sleep(1_200);
    await stack.temporal.workflow.getHandle(talk.workflowId).terminate('by an operator');
    await stack.admin.query(`UPDATE copilot_internal.runs SET seen_at = seen_at - interval '5 minutes'`);
    await startNow('lookAfter');
    expect(await startNow('sweepSandboxes')).toEqual({ swept: 1 });
    expect(await shareCharged(tenantId)).toBeLessThan(0.5);
  });
});
