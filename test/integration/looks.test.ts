/** Upkeep looks at everybody in turn, however many wait. */
import { randomUUID } from 'node:crypto';
import { takeDueAlerts } from '../../store/alerts';
import { lookAfter } from '../../store/leases';
import { TestStack } from '../support/stack';

describe('looking after tenants', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterAll(() => stack.stop());

  /** A reservation that ran out, of a tenant whose authority is asleep and stays so. */
  const overdue = async (): Promise<string> => {
    const tenantId = await stack.tenant('5');
    await stack.admin.query(
      `INSERT INTO copilot_internal.reservations (operation_id, tenant_id, kind, resource, requested_usd, price_version, status,
         granted_usd, decided_at, expires_at)
       VALUES ($1, $2, 'external', 'llm', 1, 'v1', 'granted', 1, now() - interval '2 minutes', now() - interval '1 minute')`,
      [randomUUID(), tenantId],
    );
    return tenantId;
  };
  const alert = (tenantId: string, raisedAgo: string): Promise<unknown> =>
    stack.admin.query(
      `INSERT INTO copilot_internal.quota_alerts (tenant_id, quota_id, kind, period_start, details, raised_at)
       SELECT tenant_id, quota_id, 'quota_exceeded', period_start, '{}', now() - $2::interval
       FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND resource_type = 'all'`,
      [tenantId, raisedAgo],
    );

  test('those that the limit leaves out come next, and alerts that cannot be sent are not among them (XB10)', async () => {
    const waiting = [];
    for (let tenant = 0; tenant < 5; tenant += 1) waiting.push(await overdue());
    for (let tenant = 0; tenant < 20; tenant += 1) await alert(await stack.tenant('5'), '1 hour');
    const seen = [];
    for (let look = 0; look < 3; look += 1) seen.push(...(await lookAfter(stack.pool, 2)));
    expect(new Set(seen)).toEqual(new Set(waiting));
    // And from the front again.
    expect(await lookAfter(stack.pool, 10)).toHaveLength(5);
  });

  const kinds = ['quota_exceeded'];

  test('an alert that is taken is nobody else’s until its lease runs out, and others come before it (XB10)', async () => {
    const tenantId = await stack.tenant('5');
    const all = await takeDueAlerts(stack.pool, { max: 100, leaseMs: 60_000, kinds });
    expect(all.length).toBeGreaterThanOrEqual(20);
    await alert(tenantId, '1 minute');
    expect(await takeDueAlerts(stack.pool, { max: 100, leaseMs: 1, kinds })).toMatchObject([{ tenantId, tries: 1 }]);
    await stack.admin.query('SELECT pg_sleep(0.01)');
    expect(await takeDueAlerts(stack.pool, { max: 100, leaseMs: 60_000, kinds })).toMatchObject([
      { tenantId, tries: 2 },
    ]);
  });
});
