/** Rows that are so large that a list of them comes in pages. */
import type { TestStack } from './stack';

/** Costs of a cent whose usage takes a megabyte each: eight or so make a page. */
export async function spendInLargeRows(stack: TestStack, tenantId: string, count: number): Promise<void> {
  await stack.admin.query(
    `INSERT INTO copilot_internal.cost_records
       (tenant_id, operation_id, entry, kind, resource, amount_usd, settlement, usage, posted_at)
     SELECT $1, gen_random_uuid(), 'commit', 'k', 'llm', 0.01, 'actual', jsonb_build_object('x', repeat('y', 1000000)), now()
     FROM generate_series(1, $2::integer)`,
    [tenantId, count],
  );
}
