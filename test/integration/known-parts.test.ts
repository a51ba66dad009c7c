/**
 * Calls of whose cost a part is known that is more than their grant, while nobody can price the rest: they cost at least that part, and
 * count as unverified wherever settlements do.
 */
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('a cost of which only a part is known, and that is above its grant (XD3)', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** Fifty searches at a cent each, and tokens at a tier without a price. */
  const usage = { service_tier: 'priority', server_tool_use: { web_search_requests: 50 } };
  const usageOf = async (tenantId: string) => {
    const { body } = await api.call('GET', `/v1/usage?tenantId=${tenantId}&groupBy=day`);
    return body.lines as { costUsd: string; unverifiedUsd: string }[];
  };
  const holds = async (tenantId: string) =>
    (await api.call('GET', `/v1/tenants/${tenantId}/holds?unverified=true`)).body.holds as {
      operationId: string;
      committedUsd: string | null;
    }[];
  /** Corrected by a person, it is as any other. */
  async function isCorrected(tenantId: string, operationId: string): Promise<void> {
    const body = { operationId, costUsd: '0.6', reason: 'as billed' };
    expect(await api.call('POST', `/v1/tenants/${tenantId}/adjustments`, { body })).toMatchObject({
      body: { differenceUsd: '0.1' },
    });
    expect(await holds(tenantId)).toEqual([]);
    expect(await usageOf(tenantId)).toMatchObject([{ costUsd: '0.6', unverifiedUsd: '0' }]);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.6', spentUsd: '0.6', reservedUsd: '0' });
  }
  const operationOf = async (tenantId: string): Promise<Record<string, unknown>> => {
    const { rows } = await stack.admin.query<Record<string, unknown>>(
      `SELECT operation_id AS "operationId", status, settlement, trim_scale(committed_usd)::text AS committed
       FROM copilot_internal.reservations WHERE tenant_id = $1`,
      [tenantId],
    );
    return rows[0] ?? {};
  };
  const foldedAt = (tenantId: string, ledgerUsd: string): Promise<unknown> =>
    until('the outcome is in the books', async () => {
      const books = await stack.books(tenantId);
      return books.ledgerUsd === ledgerUsd && books.openReservations === 0;
    });

  test('is booked at that part, unverified, and found and corrected like the others', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.usage = usage;
    stack.anthropic.knobs.replies = [{ text: 'A whole answer.' }];
    const run = await stack.run({ tenantId });
    expect(run).toMatchObject({ status: 'completed', answer: 'A whole answer.', costUsd: '0.5' });
    expect(run.steps).toMatchObject([{ settlement: 'unverified', committedUsd: '0.5' }]);
    await foldedAt(tenantId, '0.5');
    expect(await usageOf(tenantId)).toMatchObject([{ costUsd: '0.5', unverifiedUsd: '0.5' }]);
    const [{ operationId = '' } = {}, ...others] = await holds(tenantId);
    expect(others).toEqual([]);
    await isCorrected(tenantId, operationId);
    const { steps } = await stack.show({ tenantId, runId: run.runId });
    expect(steps).toMatchObject([{ settlement: 'actual', committedUsd: '0.6' }]);
  });

  /** As if the reservation of a call under way had run out, and its authority had ended it in this way. */
  test.each([
    ['charged at its grant', 'settle', { status: 'committed', settlement: 'unverified', committed: '0.5' }],
    ['released', 'release', { status: 'expired', settlement: 'expired', committed: null }],
  ])('is so too when its reservation had run out and was %s', async (_how, onExpiry, ended) => {
    const tenantId = await stack.tenant('5');
    Object.assign(stack.anthropic.knobs, { usage, latencyMs: 4_000, replies: [{ text: 'Late.' }] });
    const started = await stack.start({ tenantId });
    await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET expires_at = clock_timestamp() - interval '1 second', on_expiry = $2 WHERE tenant_id = $1`,
      [tenantId, onExpiry],
    );
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('it has ended', async () => (await operationOf(tenantId)).status !== 'granted');
    expect((await stack.finish({ tenantId, ...started })).answer).toBe('Late.');
    await foldedAt(tenantId, '0.5');
    expect(await operationOf(tenantId)).toMatchObject(ended);
    expect(await usageOf(tenantId)).toMatchObject([{ costUsd: '0.5', unverifiedUsd: '0.5' }]);
    const [{ operationId = '' } = {}] = await holds(tenantId);
    await isCorrected(tenantId, operationId);
  });

  test('is so under authorities of the version before, which call it actual', async () => {
    const tenantId = await stack.tenant('5');
    const body = { operationId: crypto.randomUUID(), tenantId, resource: 'llm', amountUsd: '0.01' };
    expect(await api.call('POST', '/v1/reservations', { body })).toMatchObject({ status: 201 });
    const { operationId } = body;
    await stack.admin.query(
      `WITH tenant AS (SELECT set_config('spendlock.tenant_id', $1, true))
       UPDATE copilot_internal.reservations SET claimed_at = now(), claim_token = gen_random_uuid(), outcome = 'billed', outcome_usd = 0.5,
         outcome_unverified = true, outcome_at = now() FROM tenant WHERE tenant_id = $1 AND operation_id = $2`,
      [tenantId, operationId],
    );
    const client = await stack.pool.connect();
    try {
      await client.query('BEGIN');
      const { rows } = await client.query<{ loaded: { nowMs: number; reservations: Record<string, unknown>[] } }>(
        'SELECT copilot_internal.load_budget_batch($1, $2, $3, 10) AS loaded',
        [tenantId, [operationId], []],
      );
      const { nowMs = 0, reservations = [] } = rows[0]?.loaded ?? {};
      const at = new Date(nowMs).toISOString();
      const [row] = reservations;
      const iso = (ms: unknown): string => new Date(Number(ms)).toISOString();
      const ending = {
        status: 'committed',
        settlement: 'actual',
        outcomeFolded: true,
        committedUsd: '0.5',
        overrunUsd: '0.49',
      };
      const batch = {
        changes: [
          {
            sequence: 0,
            resource: 'llm',
            reservedDeltaUsd: '-0.01',
            spentDeltaUsd: '0.5',
            postedAt: at,
            grant: false,
            enforced: false,
          },
        ],
        reservations: [
          {
            ...row,
            decidedAt: iso(row?.decidedAtMs),
            expiresAt: iso(row?.expiresAtMs),
            ...ending,
            postedAt: at,
            endedAt: at,
          },
        ],
        ledger: [{ operationId, entry: 'commit', amountUsd: '0.5', settlement: 'actual', postedAt: at }],
        alerts: [],
      };
      await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(batch)]);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    expect(await operationOf(tenantId)).toMatchObject({ status: 'committed', settlement: 'unverified' });
    expect(await holds(tenantId)).toMatchObject([{ operationId, committedUsd: '0.5' }]);
    await isCorrected(tenantId, operationId);
  });
});
