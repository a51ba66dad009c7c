/** What an authority says is what Postgres holds. */
import { setTimeout as sleep } from 'node:timers/promises';
import { budgetStateQuery, budgetWorkflowId } from '../../contracts/messages';
import type { Installation } from './installation';
import type { Hold } from './scene';

export async function checkAuthority(installation: Installation, tenantId: string, hold: Hold): Promise<void> {
  const { temporal, admin } = installation;
  const workflowId = budgetWorkflowId(tenantId);
  await installation.tell(tenantId, [{ type: 'reload' }]);
  const inPostgres = async (): Promise<unknown> => {
    const { rows } = await admin.query<Record<'resource' | 'period' | 'spent' | 'reserved', string>>(
      `SELECT resource_type AS resource, period, trim_scale(current_spend_usd)::text AS spent, trim_scale(reserved_usd)::text AS reserved
         FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant' ORDER BY resource_type, period`,
      [tenantId],
    );
    return rows;
  };
  let said: unknown;
  let held: unknown;
  for (let look = 0; look < 50; look += 1) {
    const state = await temporal.workflow.getHandle(workflowId).query(budgetStateQuery);
    said = state.quotas
      .filter(({ scope }) => scope === 'tenant')
      .map((quota) => ({
        ...{ resource: quota.resourceType, period: quota.period },
        ...{ spent: quota.spentUsd, reserved: quota.reservedUsd },
      }))
      .sort((a, b) => a.resource.localeCompare(b.resource) || a.period.localeCompare(b.period));
    // The reload may end a period, which a real midnight does for all tenants at once.
    held = await inPostgres();
    if (JSON.stringify(said) === JSON.stringify(held)) break;
    await sleep(100);
  }
  hold(
    'the authority says what Postgres holds',
    JSON.stringify(said) === JSON.stringify(held),
    () => `${tenantId}: it says ${JSON.stringify(said)}, Postgres ${JSON.stringify(held)}`,
  );
}
