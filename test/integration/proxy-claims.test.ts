/** Claims of calls that the wire proxy passes on at the same moment: together, and each as if it were alone. */
import { randomUUID } from 'node:crypto';
import { Claims } from '../../api/proxy/claims';
import { parseUsd } from '../../core/money';
import { claimReservation, claimReservations } from '../../store/reservations';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('claims at once', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const reserved = async (tenantId: string, amountUsd: string): Promise<string> => {
    const operationId = randomUUID();
    const body = { tenantId, operationId, resource: 'llm', amountUsd };
    expect(await api.call('POST', '/v1/reservations', { body })).toMatchObject({ status: 201 });
    return operationId;
  };

  test('each is told what it was granted, and one that is claimed already, or that there is not, nothing', async () => {
    const tenantId = await stack.tenant('100');
    const amounts = Array.from({ length: 12 }, (_, at) => `${at + 1}`);
    const operationIds = await Promise.all(amounts.map((amountUsd) => reserved(tenantId, amountUsd)));
    const [taken = ''] = operationIds;
    await claimReservation(stack.pool, { tenantId, operationId: taken, claimToken: randomUUID() });
    const all = [...operationIds, randomUUID()].map((operationId) => ({ operationId, claimToken: randomUUID() }));
    const claims = new Claims(stack.pool);
    const granted = await Promise.all(all.map((claim) => claims.claim({ tenantId, ...claim })));
    expect(granted).toEqual([undefined, ...amounts.slice(1).map(parseUsd), undefined]);
    // The same token may ask again; the tenant of another may not.
    expect(await claimReservations(stack.pool, tenantId, all)).toEqual(granted);
    expect(await claimReservations(stack.pool, await stack.tenant('1'), all.slice(0, 2))).toEqual([
      undefined,
      undefined,
    ]);
    const { rows } = await stack.admin.query<{ operation_id: string }>(
      'SELECT operation_id FROM copilot_internal.reservations WHERE tenant_id = $1 AND claimed_at IS NOT NULL',
      [tenantId],
    );
    expect(rows.map(({ operation_id: id }) => id).sort()).toEqual([...operationIds].sort());
  });

  test('a claim that Postgres refuses is told to its caller, and the next is made', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = await reserved(tenantId, '1');
    const claims = new Claims(stack.pool);
    await expect(claims.claim({ tenantId, operationId: 'no id', claimToken: randomUUID() })).rejects.toThrow(/uuid/);
    expect(await claims.claim({ tenantId, operationId, claimToken: randomUUID() })).toBe(parseUsd('1'));
  });
});
