/** Others that hold a tenant's money while a case is played. */
import { randomUUID } from 'node:crypto';
import type { RunLimitRef } from '../../core/budget/commands';
import { until, type TestStack } from '../../test/support/stack';

/** Somebody else holds nearly all that a tenant has, or all of the limit of a run that is given. */
export async function holdAll(stack: TestStack, tenantId: string, runLimit?: RunLimitRef): Promise<string> {
  const operationId = randomUUID();
  const asked = { resource: 'llm', kind: 'external.call', amountUsd: '4.9999', priceVersion: 'recorder' } as const;
  const ofRun = runLimit?.limitUsd === undefined ? {} : { runLimit, amountUsd: runLimit.limitUsd };
  await stack.signal(tenantId, [{ type: 'reserve', operationId, ...asked, ...ofRun, ttlSeconds: 600 }]);
  await until('it is held', async () => (await statusOf(stack, operationId)) === 'granted');
  return operationId;
}

/** It is given back, once a run waits for it. */
export async function comesBack(
  stack: TestStack,
  run: { tenantId: string; runId: string },
  held: string,
): Promise<void> {
  await until('it waits', async () => (await stack.show(run)).status === 'waiting_for_money');
  await stack.signal(run.tenantId, [{ type: 'release', operationId: held }]);
}

/** A run that may cost $1 and that others are to belong to. */
export async function parentOf(stack: TestStack, tenantId: string): Promise<RunLimitRef> {
  const parent = { id: randomUUID(), limitUsd: '1' };
  await stack.admin.query(
    `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options)
     VALUES ($1, $2, 'parent', 'm', 't', jsonb_build_object('limits', jsonb_build_object('maxCostUsd', $3::text)))`,
    [parent.id, tenantId, parent.limitUsd],
  );
  return parent;
}

/** What is held of a run's limit is given back, once that has refused a run. */
export async function comesBackAfterRefusal(
  stack: TestStack,
  run: { tenantId: string; runId: string },
  held: string,
): Promise<void> {
  await until('it is refused', async () => {
    const { rowCount } = await stack.admin.query(
      `SELECT FROM copilot_internal.reservations WHERE run_id = $1 AND status = 'rejected'`,
      [run.runId],
    );
    return rowCount !== 0;
  });
  await stack.signal(run.tenantId, [{ type: 'release', operationId: held }]);
}

export async function statusOf(stack: TestStack, operationId: string): Promise<string | undefined> {
  const { rows } = await stack.admin.query<{ status: string }>(
    'SELECT status FROM copilot_internal.reservations WHERE operation_id = $1',
    [operationId],
  );
  return rows[0]?.status;
}
