/** Others that hold a tenant's money while a case is played. */
import { randomUUID } from 'node:crypto';
import { until, type TestStack } from '../../test/support/stack';

/** Somebody else holds nearly all that a tenant has. */
export async function holdAll(stack: TestStack, tenantId: string): Promise<string> {
  const operationId = randomUUID();
  const asked = { resource: 'llm', kind: 'external.call', amountUsd: '4.9999', priceVersion: 'recorder' } as const;
  await stack.signal(tenantId, [{ type: 'reserve', operationId, ...asked, ttlSeconds: 600 }]);
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

export async function statusOf(stack: TestStack, operationId: string): Promise<string | undefined> {
  const { rows } = await stack.admin.query<{ status: string }>(
    'SELECT status FROM copilot_internal.reservations WHERE operation_id = $1',
    [operationId],
  );
  return rows[0]?.status;
}
