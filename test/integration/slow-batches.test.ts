/** A command that Postgres refuses among many, and a Postgres that is too slow for many at once: everybody is answered all the same. */
import { randomUUID } from 'node:crypto';
import { OutcomeWriter } from '../../authority/client/outcome-writer';
import type { BudgetCommand } from '../../core/budget/commands';
import { TestStack, until } from '../support/stack';

describe('a batch of 500 commands (XA5)', () => {
  let stack: TestStack;
  beforeEach(async () => {
    stack = await TestStack.start();
  });
  afterEach(() => stack.stop());

  const reserve = (operationId: string, more: object = {}): BudgetCommand => ({
    type: 'reserve',
    operationId,
    resource: 'llm',
    amountUsd: '0.01',
    priceVersion: 'test',
    ttlSeconds: 3_600,
    kind: 'test',
    ...more,
  });
  const states = async (operationIds: string[]): Promise<number> => {
    const { rows } = await stack.admin.query<{ granted: number }>(
      `SELECT count(*)::integer AS granted FROM copilot_internal.reservations WHERE operation_id = ANY ($1::uuid[]) AND status = 'granted'`,
      [operationIds],
    );
    return rows[0]?.granted ?? 0;
  };
  /** Each transaction of a decision takes so much longer: five hundred of them take half a minute. */
  const slowTransactions = `
    ALTER FUNCTION copilot_internal.lock_payers(text, text[]) RENAME TO lock_payers_at_once;
    CREATE FUNCTION copilot_internal.lock_payers(p_tenant_id text, p_user_ids text[]) RETURNS uuid[] LANGUAGE plpgsql AS $slow$
    BEGIN
      PERFORM pg_sleep(0.06);
      RETURN copilot_internal.lock_payers_at_once(p_tenant_id, p_user_ids);
    END $slow$;
    GRANT EXECUTE ON FUNCTION copilot_internal.lock_payers(text, text[]) TO spendlock_app`;
  /** Each row takes so much longer: five hundred of them take ten seconds, and Postgres gives up after three. */
  const slowRows = `
    CREATE FUNCTION copilot_internal.slow() RETURNS trigger LANGUAGE plpgsql AS $slow$
    BEGIN
      PERFORM pg_sleep(0.02);
      RETURN NEW;
    END $slow$;
    CREATE TRIGGER slow BEFORE INSERT ON copilot_internal.reservations FOR EACH ROW EXECUTE FUNCTION copilot_internal.slow()`;

  test.each([
    ['whose transactions are slow, one of them refused', slowTransactions, 1],
    ['that is too slow for all of them at once', slowRows, 0],
  ])('is decided by a database %s', async (_, slow, refused) => {
    const tenantId = await stack.tenant('100');
    await stack.admin.query(slow);
    const operationIds = Array.from({ length: 500 - refused }, () => randomUUID());
    const commands = operationIds.map((operationId) => reserve(operationId));
    // Postgres has no integer for such a step.
    if (refused > 0) commands.splice(347, 0, reserve(randomUUID(), { step: 3_000_000_000 }));
    await stack.signal(tenantId, commands);
    const later = randomUUID();
    await until('all are decided', async () => (await states(operationIds)) === operationIds.length, 100_000);
    await stack.signal(tenantId, [reserve(later)]);
    await until('so is the next one', async () => (await states([later])) === 1);
    const reservedUsd = String((operationIds.length + 1) / 100);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd, openReservations: operationIds.length + 1 });
  });

  test('with what is due of many, which takes too long at once, is decided, and all of it is settled', async () => {
    const tenantId = await stack.tenant('100');
    const operationIds = Array.from({ length: 400 }, () => randomUUID());
    await stack.signal(
      tenantId,
      operationIds.map((operationId) => reserve(operationId, { ttlSeconds: 5 })),
    );
    await until('all are granted', async () => (await states(operationIds)) === operationIds.length);
    // The end of each takes so much longer: eight seconds for all at once.
    await stack.admin.query(`${slowRows};
      DROP TRIGGER slow ON copilot_internal.reservations;
      CREATE TRIGGER slow AFTER UPDATE ON copilot_internal.reservations FOR EACH ROW EXECUTE FUNCTION copilot_internal.slow()`);
    const later = randomUUID();
    await until('they are due', async () => {
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.reservations WHERE expires_at > now()');
      return rows.length === 0;
    });
    await stack.signal(tenantId, [reserve(later)]);
    await until('it is decided', async () => (await states([later])) === 1);
    await until('nothing else is held', async () => (await states(operationIds)) === 0);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0.01', openReservations: 1 });
  });

  test('with more costs to fold than one settles: the next ones settle the rest, though nobody asks', async () => {
    const tenantId = await stack.tenant('100');
    const operationIds = Array.from({ length: 1_100 }, () => randomUUID());
    for (let first = 0; first < operationIds.length; first += 100)
      await stack.signal(
        tenantId,
        operationIds.slice(first, first + 100).map((operationId) => reserve(operationId)),
      );
    await until('all are granted', async () => (await states(operationIds)) === operationIds.length);
    const writer = new OutcomeWriter(stack.pool);
    await Promise.all(
      operationIds.map((operationId) => writer.write(tenantId, { operationId, costUsd: 4_000_000_000n })),
    );
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('nothing is held', async () => (await states(operationIds)) === 0, 20_000);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '4.4', reservedUsd: '0', openReservations: 0 });
  });
});
