/** What each turn of a long conversation cost is told in about the time that one of them takes. */
import { randomUUID } from 'node:crypto';
import { listTurns } from '../../store/turns';
import { TestStack } from '../support/stack';

describe('turns of a long conversation', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterAll(() => stack.stop());

  /** Turn n begins at step 10 n, and each step costs a cent: in a turn the nine after its message. */
  const conversation = async (turns: number): Promise<{ tenantId: string; runId: string }> => {
    const tenantId = await stack.tenant('1000');
    const runId = randomUUID();
    await stack.admin.query(
      `WITH made AS (
         INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options, type, status)
         VALUES ($1::uuid, $2::text, 'none/' || $1::text, 'm', '', '{}', 'conversation', 'running')),
       turns AS (
         INSERT INTO copilot_internal.turns (turn_id, run_id, tenant_id, number, message, status, opening_step, ended_at)
         SELECT gen_random_uuid(), $1::uuid, $2, n, 'Hello.', 'completed', 10 * n, now() FROM generate_series(1, $3::integer) AS n
         UNION ALL SELECT gen_random_uuid(), $1::uuid, $2, $3 + 1, 'Hello.', 'queued', NULL, NULL),
       steps AS (
         INSERT INTO copilot_internal.reservations (operation_id, tenant_id, run_id, step, kind, resource, requested_usd, granted_usd,
           price_version, status, settlement, committed_usd, decided_at, ended_at)
         SELECT gen_random_uuid(), $2, $1::uuid, s, 'llm.call', 'llm', 0.01, 0.01, 'p', 'committed', 'actual', 0.01, now(), now()
         FROM generate_series(11, 10 * $3::integer + 9) AS s WHERE s % 10 > 0 RETURNING operation_id)
       INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, run_id, entry, kind, resource, amount_usd, settlement, posted_at)
       SELECT $2, operation_id, $1::uuid, 'commit', 'llm.call', 'llm', 0.01, 'actual', now() FROM steps`,
      [runId, tenantId, turns],
    );
    return { tenantId, runId };
  };
  /** The least that each takes, asked by turns: what else the machine does comes on top, of either. */
  const leastMs = async (...looks: (() => Promise<unknown>)[]): Promise<number[]> => {
    const least = looks.map(() => Infinity);
    for (let round = 0; round < 15; round += 1)
      for (const [at, look] of looks.entries()) {
        const startedMs = performance.now();
        await look();
        least[at] = Math.min(least[at] ?? 0, performance.now() - startedMs);
      }
    return least;
  };

  test('each has what its own steps cost, one that waits has cost nothing', async () => {
    const run = await conversation(3);
    expect((await listTurns(stack.pool, run)).turns.map(({ number, costUsd }) => [number, costUsd])).toEqual([
      [1, '0.09'],
      [2, '0.09'],
      [3, '0.09'],
      [4, '0'],
    ]);
    expect((await listTurns(stack.pool, run, { afterNumber: 2, limit: 1 })).turns).toMatchObject([
      { number: 3, costUsd: '0.09' },
    ]);
  });

  test('a hundred are told in about the time of one', async () => {
    const run = await conversation(300);
    const [oneMs = NaN, hundredMs] = await leastMs(
      () => listTurns(stack.pool, run, { limit: 1 }),
      () => listTurns(stack.pool, run, { limit: 100 }),
    );
    expect(hundredMs).toBeLessThan(oneMs * 5 + 20);
  });
});
