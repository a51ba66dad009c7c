/** What is said of many calls at once, on the real Postgres: one that it refuses is its own caller's alone. */
import { randomUUID } from 'node:crypto';
import { OutcomeWriter } from '../../authority/client/outcome-writer';
import type { Usd } from '../../core/money';
import { sqlState } from '../../store/pool';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('outcomes that are written together', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('XA5: one that Postgres refuses is told to its caller, and the others are recorded', async () => {
    const tenantId = await stack.tenant('10');
    const operations = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const operationId = randomUUID();
        const body = { operationId, tenantId, resource: 'llm', amountUsd: '0.01' };
        expect(await api.call('POST', '/v1/reservations', { body })).toMatchObject({ status: 201 });
        return operationId;
      }),
    );
    const writer = new OutcomeWriter(stack.pool);
    const refused = [17, 44];
    // More than any amount that a column holds.
    const costOf = (index: number): Usd => (refused.includes(index) ? 10n ** 45n : 5_000_000_000n);
    const written = await Promise.allSettled(
      operations.map((operationId, index) => writer.write(tenantId, { operationId, costUsd: costOf(index) })),
    );
    for (const [index, result] of written.entries()) {
      if (result.status === 'fulfilled') expect([index, result.value.written]).toEqual([index, true]);
      else expect([index, sqlState(result.reason)]).toEqual([index, '22003']);
    }
    expect(written.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual(refused);
    // Theirs can still be told rightly, by the same writer.
    for (const index of refused)
      expect(
        await writer.write(tenantId, { operationId: operations[index] ?? '', costUsd: 5_000_000_000n }),
      ).toMatchObject({ written: true });
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('all are settled', async () => (await stack.books(tenantId)).openReservations === 0);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.3', spentUsd: '0.3', reservedUsd: '0' });
  });

  test('those that one decision folds stand in the ledger in the order in which they were told', async () => {
    const tenantId = await stack.tenant('10');
    const writer = new OutcomeWriter(stack.pool);
    const operations = Array.from({ length: 12 }, () => randomUUID());
    for (const operationId of operations) {
      const body = { operationId, tenantId, resource: 'llm', amountUsd: '0.01' };
      expect(await api.call('POST', '/v1/reservations', { body })).toMatchObject({ status: 201 });
    }
    for (const operationId of operations) await writer.write(tenantId, { operationId, costUsd: 5_000_000_000n });
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('all are settled', async () => (await stack.books(tenantId)).openReservations === 0);
    const { body } = await api.call('GET', `/v1/cost-records?tenantId=${tenantId}`);
    const records = body.records as { operationId: string }[];
    expect(records.map(({ operationId }) => operationId)).toEqual(operations);
  });
});
