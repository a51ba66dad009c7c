/** The last of a tenant's money, with many who want it: used, and given in the order in which they came. */
import type { StartedRun } from '../../api/runs/schemas';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe("the last of a tenant's money", () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  // $0.04 for a thousand tokens of output.
  const model = 'claude-for-the-last-dollars';
  beforeAll(() => stack.priceModel(model, '40'));

  const runs = (tenantId: string, count: number, more: object = {}): Promise<StartedRun[]> =>
    Promise.all(
      Array.from({ length: count }, () =>
        stack.start({ tenantId, model, limits: { maxOutputTokens: 400 }, task: 'Say one word.', ...more }),
      ),
    );
  const ends = async (tenantId: string, started: readonly StartedRun[]): Promise<Record<string, number>> => {
    const count: Record<string, number> = {};
    await Promise.all(
      started.map(async (one) => {
        const { status } = await stack.finish({ tenantId, ...one });
        count[status] = (count[status] ?? 0) + 1;
      }),
    );
    return count;
  };
  const refusals = async (tenantId: string): Promise<number> => {
    const { rows } = await stack.admin.query<{ denied: number }>(
      `SELECT count(*)::integer AS denied FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'denied'`,
      [tenantId],
    );
    return rows[0]?.denied ?? 0;
  };

  test('XF2: twenty calls that may each cost a third of it, and cost a hundredth, all get it', async () => {
    const tenantId = await stack.tenant('0.05');
    stack.anthropic.knobs.latencyMs = 200;
    stack.anthropic.knobs.usage = { output_tokens: 10 };
    // As long as it takes on a busy machine; on one with nothing else to do it takes the default's 15 s.
    const started = await runs(tenantId, 20, { waitForHoldsSeconds: 60 });
    const count = await ends(tenantId, started);
    expect(count).toEqual({ completed: 20 });
  });

  test('XF3: those that wait are denied once, woken for what is kept for them', async () => {
    const tenantId = await stack.tenant('0.05');
    stack.anthropic.knobs.latencyMs = 200;
    stack.anthropic.knobs.usage = { output_tokens: 10 };
    const started = await runs(tenantId, 20, { onDenied: 'wait' });
    expect(await ends(tenantId, started)).toEqual({ completed: 20 });
    expect(await refusals(tenantId)).toBeLessThanOrEqual(25);
  });

  test('XF3: one whose whole amount somebody holds for long takes what there is after half a minute', async () => {
    const tenantId = await stack.tenant('0.1');
    const client = await api.clientOf(tenantId);
    const held = await client.reserve({ resource: 'llm', kind: 'llm.call', amountUsd: '0.05', ttlSeconds: 600 });
    stack.anthropic.knobs.latencyMs = 0;
    stack.anthropic.knobs.usage = { output_tokens: 10 };
    // $0.08 for the longest answer, a cent for the shortest.
    const started = await runs(tenantId, 1, { onDenied: 'wait', limits: { maxOutputTokens: 2_000 } });
    expect(await ends(tenantId, started)).toEqual({ completed: 1 });
    const { rows } = await stack.admin.query(
      `SELECT trim_scale(granted_usd)::text AS "grantedUsd", extract(epoch FROM decided_at - min(decided_at) OVER ()) >= 30 AS late
       FROM copilot_internal.reservations WHERE tenant_id = $1 AND run_id IS NOT NULL ORDER BY decided_at`,
      [tenantId],
    );
    expect(rows.at(-1)).toEqual({ grantedUsd: '0.05', late: true });
    await client.release(held.operationId);
  });

  test('XF3: one that waits for much of it gets it, though newcomers ask for less all the time', async () => {
    const tenantId = await stack.tenant('0.1');
    const client = await api.clientOf(tenantId);
    stack.anthropic.knobs.latencyMs = 0;
    stack.anthropic.knobs.usage = { output_tokens: 10 };
    let served = 0;
    let isOver = false;
    const newcomer = async (): Promise<void> => {
      while (!isOver) {
        const grant = await client
          .reserve({ resource: 'llm', kind: 'llm.call', amountUsd: '0.03' })
          .catch(() => undefined);
        if (!grant) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          continue;
        }
        served += 1;
        await new Promise((resolve) => setTimeout(resolve, 500));
        await client.release(grant.operationId);
      }
    };
    const newcomers = Promise.all(Array.from({ length: 4 }, newcomer));
    await until('they hold what there is', async () => served >= 3);
    // $0.08 for two thousand tokens.
    const [large] = await runs(tenantId, 1, { onDenied: 'wait', limits: { maxOutputTokens: 2_000 } });
    expect(await ends(tenantId, [large as StartedRun])).toEqual({ completed: 1 });
    isOver = true;
    await newcomers;
  });
});
