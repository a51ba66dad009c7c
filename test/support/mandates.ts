/** Tenants for which whoever asks decides, and processes that decide however busy their machine is. */
import type * as promptness from '../../authority/client/promptness';
import { randomUUID } from 'node:crypto';
import type { TestApi } from './api';
import { until, type TestStack } from './stack';

/**
 * Stands for authority/client/promptness: a busy machine makes the way to Postgres long, and then nothing is decided directly, which has
 * tests of its own (unit/authority/promptness). A test file says so by itself, since Jest mocks before anything is imported:
 *
 *     jest.mock('../../authority/client/promptness', () =>
 *       jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
 *     );
 */
export function promptAnyhow(): typeof promptness {
  const real = jest.requireActual<typeof promptness>('../../authority/client/promptness');
  class PromptAnyhow extends real.Promptness {
    /** Postgres is told so too. */
    constructor(options: ConstructorParameters<typeof real.Promptness>[0]) {
      super({ ...options, measure: () => options.measure('prompt') });
    }
    override ask(): 'prompt' {
      super.ask();
      return 'prompt';
    }
  }
  return { ...real, Promptness: PromptAnyhow };
}

/** What was decided of a tenant under its mandates so far. */
export async function decidedDirectly({ admin }: TestStack, tenantId: string): Promise<number> {
  const { rows } = await admin.query<{ decided: number }>(
    'SELECT (granted + denied)::integer AS decided FROM copilot_internal.mandates WHERE tenant_id = $1',
    [tenantId],
  );
  return rows[0]?.decided ?? 0;
}

/** A tenant whose authority lets those who ask decide. */
export async function mandated(stack: TestStack, api: TestApi, limitUsd: string): Promise<string> {
  const tenantId = await stack.tenant(limitUsd);
  const order = { tenantId, resource: 'llm', amountUsd: '0.000001' };
  await until('whoever asks decides', async () => {
    await api.call('POST', '/v1/reservations', { body: { operationId: randomUUID(), ...order } });
    return (await decidedDirectly(stack, tenantId)) > 0;
  });
  return tenantId;
}

/** The same with nothing held, and then with these limits. */
export async function mandatedWith(
  stack: TestStack,
  api: TestApi,
  limitUsd: string,
  userLimit: { userLimitUsd?: string } = {},
): Promise<string> {
  const tenantId = await mandated(stack, api, '1');
  await releaseAll(stack, api, tenantId);
  await stack.setLimits(tenantId, limitUsd, userLimit);
  return tenantId;
}

/** Gives back all that a tenant holds and no call has begun. */
export async function releaseAll(stack: TestStack, api: TestApi, tenantId: string): Promise<void> {
  const { rows } = await stack.admin.query<{ id: string }>(
    `SELECT operation_id AS id FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'granted'`,
    [tenantId],
  );
  for (const { id } of rows) await api.call('POST', `/v1/reservations/${id}/release`, { body: { tenantId } });
  await until('nothing is held', async () => (await stack.books(tenantId)).openReservations === 0);
}
