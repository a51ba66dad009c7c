/** What was spent for a label: the ledger line by line and in sums (docs/decisions/0053). */
import { createSpendlockClient } from '../../client';
import { dayMs } from '../../core/budget/periods';
import type { Labels } from '../../core/labels';
import { createPool } from '../../store/pool';
import { readUsage } from '../../store/usage';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { spendlock } from '../support/cli';
import type { TestStack } from '../support/stack';

describe('what was spent for a label', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });

  /** A ledger line of a dollar for each of the labels, as a process writes it that recorded them. */
  const spend = async (tenantId: string, labels: readonly (Labels | null)[]): Promise<void> => {
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, kind, resource, amount_usd, settlement, posted_at, labels)
       SELECT $1, gen_random_uuid(), 'commit', 'llm.call', 'llm', 1, 'actual', now(), nullif(labels, 'null'::jsonb)
       FROM jsonb_array_elements($2::jsonb) AS labels`,
      [tenantId, JSON.stringify(labels)],
    );
  };

  test('is found line by line by one label or all of several, and exported with them', async () => {
    const tenantId = await stack.tenant('100');
    const chat = { team: 'search', feature: 'chat: 2' };
    await spend(tenantId, [chat, { team: 'search' }, { team: 'ads' }, null, { feature: 'other' }]);
    const client = createSpendlockClient({ baseUrl: api.url, apiKey: await api.keyOf(tenantId) });
    const found = async (label?: string | string[]): Promise<unknown[]> => {
      const { records } = await client.usage.records(label === undefined ? {} : { label });
      return records.map(({ labels }) => labels);
    };
    expect(await found()).toEqual([chat, { team: 'search' }, { team: 'ads' }, null, { feature: 'other' }]);
    expect(await found('team:search')).toEqual([chat, { team: 'search' }]);
    expect(await found(['team:search', 'feature:chat: 2'])).toEqual([chat]);
    expect(await found('feature:other')).toEqual([{ feature: 'other' }]);
    expect(await found('team:nobody')).toEqual([]);
    const csv = (await client.usage.exportCsv({ label: 'team:ads' })).trimEnd().split('\r\n');
    expect(csv).toHaveLength(2);
    expect(csv[0]).toMatch(/,labels$/);
    expect(csv[1]).toMatch(/,"\{""team"":""ads""\}"$/);
    const listed = await spendlock(
      api,
      'usage',
      'list',
      tenantId,
      '--label',
      'team=search',
      '--label',
      'feature=chat: 2',
    );
    expect(listed).toMatchObject({ status: 0 });
    expect(listed.out.match(/llm\.call/g)).toHaveLength(1);
  });

  test('is summed from the sums of its tenant alone, with the days as people write them', async () => {
    const tenantId = await stack.tenant('100');
    await spend(tenantId, [{ team: 'search' }, { team: 'ads' }]);
    await stack.admin.query(
      'UPDATE copilot_internal.daily_label_costs SET day = day - 2 WHERE tenant_id = $1 AND labels = \'{"team": "ads"}\'',
      [tenantId],
    );
    // So few are read whole by whoever is not told otherwise.
    await stack.admin.query('ANALYZE copilot_internal.daily_label_costs');
    const pool = createPool(stack.database.appUrl, { max: 1 });
    /** How often all rows of the sums were read, of all tenants. */
    const readWhole = async (): Promise<number> => {
      await pool.query('SELECT pg_stat_force_next_flush()');
      const { rows } = await stack.admin.query<{ count: string }>(
        "SELECT seq_scan AS count FROM pg_stat_user_tables WHERE relname = 'daily_label_costs'",
      );
      return Number(rows[0]?.count);
    };
    const before = await readWhole();
    const [to, from] = [1, -5].map((days) => new Date(Math.floor(Date.now() / dayMs + days) * dayMs));
    const asked = { tenantId, from: from as Date, to: to as Date, groupBy: 'label:team', thenBy: 'day' } as const;
    const { lines } = await readUsage(pool, asked);
    expect(lines.map(({ group, thenGroup }) => [group, thenGroup])).toEqual(
      expect.arrayContaining([['ads', expect.stringMatching(/^20\d\d-\d\d-\d\d$/) as string]]),
    );
    expect(await readWhole()).toBe(before);
    await pool.end();
  });

  test.each([
    ['team', 'must be such as team:search'],
    ['Team:search', 'keys of 1 to 32 small letters'],
    ['team:', 'texts without control characters'],
    ['team:a&label=team:b', 'each key once'],
    [`team:${'x'.repeat(65)}`, 'at most 64 bytes'],
    [Array.from({ length: 9 }, (_, at) => `k${at}:v`).join('&label='), 'label'],
  ])('asked by the label %s is refused', async (label, says) => {
    const key = await api.keyOf(await stack.tenant('1'));
    expect(await api.call('GET', `/v1/cost-records?label=${label}`, { key })).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', message: expect.stringContaining(says) as string },
    });
  });
});
