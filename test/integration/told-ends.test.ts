/** What was told of a call holds from then on, before a decision has folded it: its money may be somebody else's a moment later. */
import { randomUUID } from 'node:crypto';
import { decideAndRecord } from '../../store/budget-batch';
import { recordOutcomes } from '../../store/outcomes';
import { claimReservation, extendReservation } from '../../store/reservations';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('a hold whose end is told and not folded yet', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  async function granted(tenantId: string): Promise<string> {
    const operationId = randomUUID();
    const command = { type: 'reserve' as const, operationId, resource: 'llm' as const, amountUsd: '1', kind: 'test' };
    await decideAndRecord(stack.pool, {
      tenantId,
      commands: [{ ...command, priceVersion: 'test', ttlSeconds: 600 }],
      enforced: { llm: true, e2b: true },
      timeoutMs: 3_000,
    });
    return operationId;
  }
  const statusOf = async (operationId: string): Promise<unknown> => {
    const { rows } = await stack.admin.query<{ status: string; expires_at: Date }>(
      'SELECT status, expires_at FROM copilot_internal.reservations WHERE operation_id = $1',
      [operationId],
    );
    return rows[0];
  };

  test.each([
    ['given back', undefined, 'released'],
    ['billed', 10_000_000_000n, 'committed'],
  ])('cannot be claimed or held for longer once it is %s', async (_, costUsd, told) => {
    const tenantId = await stack.tenant('10');
    const [operationId, claimToken] = [await granted(tenantId), randomUUID()];
    await recordOutcomes(stack.pool, tenantId, [{ operationId, ...(costUsd === undefined ? {} : { costUsd }) }]);
    const before = await statusOf(operationId);
    expect(before).toMatchObject({ status: 'granted' });
    expect(await claimReservation(stack.pool, { tenantId, operationId, claimToken })).toBeUndefined();
    expect(await extendReservation(stack.pool, { tenantId, operationId, ttlSeconds: 5_000 })).toBeUndefined();
    for (const [how, body] of Object.entries({ claim: { tenantId }, extend: { tenantId, ttlSeconds: 5_000 } }))
      expect(await api.call('POST', `/v1/reservations/${operationId}/${how}`, { body })).toMatchObject({
        status: 409,
        body: { error: 'claim_refused', message: expect.stringContaining(`The reservation is ${told}`) as string },
      });
    expect(await statusOf(operationId)).toEqual(before);
  });

  test('cannot be claimed again by the one that claimed it and gave it back', async () => {
    const tenantId = await stack.tenant('10');
    const [operationId, claimToken] = [await granted(tenantId), randomUUID()];
    const claim = () => claimReservation(stack.pool, { tenantId, operationId, claimToken });
    expect([await claim(), await claim()]).toEqual([1_000_000_000_000n, 1_000_000_000_000n]);
    await recordOutcomes(stack.pool, tenantId, [{ operationId, claimToken }]);
    expect(await statusOf(operationId)).toMatchObject({ status: 'granted' });
    expect(await claim()).toBeUndefined();
  });
});
