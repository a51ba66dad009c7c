/** What concerns one operation reads that operation, however many lines its tenant's ledger has. */
import { randomUUID } from 'node:crypto';
import { endedWrongly, labelsWrong, runSumsWrong } from '../../store/books-sql';
import { TestStack } from '../support/stack';

describe('a tenant with a long ledger', () => {
  let stack: TestStack;
  let tenantId: string;
  const runId = randomUUID();
  const operations = Array.from({ length: 20 }, () => randomUUID());

  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    tenantId = await stack.tenant('1000');
    await stack.admin.query(
      `INSERT INTO copilot_internal.run_limits (tenant_id, run_id, limit_usd, spent_usd, created_at) VALUES ($1, $2, 100, 20, now() - interval '1 hour')`,
      [tenantId, runId],
    );
    await stack.admin.query(
      `INSERT INTO copilot_internal.reservations (operation_id, tenant_id, kind, resource, requested_usd, price_version, status,
         granted_usd, committed_usd, settlement, limit_ids, decided_at, ended_at, posted_at)
       SELECT id, $1, 'llm.call', 'llm', 1, 'v1', 'committed', 1, 1, 'actual', ARRAY[$2::uuid], now(), now(), now() FROM unnest($3::uuid[]) AS id`,
      [tenantId, runId, operations],
    );
    // The lines of operations whose reservations were deleted long ago, and one for each that is kept.
    await stack.admin.query('ALTER TABLE copilot_internal.cost_records DISABLE TRIGGER USER');
    const line = `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, kind, resource, amount_usd, settlement, posted_at)`;
    await stack.admin.query(
      `${line} SELECT $1, gen_random_uuid(), 'commit', 'llm.call', 'llm', 0.001, 'actual', now() - i * interval '1 second' FROM generate_series(1, 50000) AS i`,
      [tenantId],
    );
    await stack.admin.query(
      `${line} SELECT $1, id, 'commit', 'llm.call', 'llm', 1, 'actual', now() FROM unnest($2::uuid[]) AS id`,
      [tenantId, operations],
    );
    await stack.admin.query('ALTER TABLE copilot_internal.cost_records ENABLE TRIGGER USER');
    await stack.admin.query('ANALYZE copilot_internal.cost_records, copilot_internal.reservations');
  });
  afterAll(() => stack.stop());

  /** Blocks of 8 KB that a statement and the functions in it read. The tenant's whole ledger has more than a thousand. */
  const blocks = async (text: string, values: unknown[]): Promise<number> => {
    const { rows } = await stack.admin.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`,
      values,
    );
    const plan = rows[0]?.['QUERY PLAN'][0]?.Plan ?? {};
    return (plan['Shared Hit Blocks'] ?? NaN) + (plan['Shared Read Blocks'] ?? NaN);
  };

  test('the measure tells a look at every line', async () => {
    const all = 'SELECT sum(amount_usd) FROM copilot_internal.cost_records WHERE tenant_id = $1';
    expect(await blocks(all, [tenantId])).toBeGreaterThan(500);
  });

  test('corrects one operation without reading the others, under its lock', async () => {
    const adjust = 'SELECT copilot_internal.adjust_cost($1, $2, $3, $4, $5)';
    const [first = '', second = ''] = operations;
    // Whoever is the first plans every statement, and reads the catalogue for it.
    await stack.admin.query(adjust, [tenantId, first, '1.5', 'a test', 'ada']);
    expect(await blocks(adjust, [tenantId, second, '1.5', 'a test', 'ada'])).toBeLessThan(400);
    // Again: what was corrected before has two lines to be read.
    expect(await blocks(adjust, [tenantId, second, '0.5', 'a test', 'ada'])).toBeLessThan(400);
    const { rows } = await stack.admin.query<{ costs: string[] }>(
      `SELECT array_agg(trim_scale(amount_usd)::text ORDER BY cost_record_id) AS costs FROM copilot_internal.costs_of($1, $2)`,
      [tenantId, second],
    );
    expect(rows).toEqual([{ costs: ['1', '0.5', '-1'] }]);
  });

  test('is looked at by the doctor an operation after the other', async () => {
    const page = '(SELECT * FROM copilot_internal.reservations WHERE tenant_id = $1)';
    for (const look of [endedWrongly(page), labelsWrong(page), runSumsWrong('$1')]) {
      await stack.admin.query(look, [tenantId]);
      expect(await blocks(look, [tenantId])).toBeLessThan(operations.length * 20);
    }
  });
});
