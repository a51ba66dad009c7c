/** Sums of what was spent by labels: equal to the ledger for whatever is asked, bounded, and mended (docs/decisions/0053). */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { createSpendlockClient } from '../../client';
import type { Labels } from '../../core/labels';
import { labelOfGrouping, usageGroups, type UsageGrouping } from '../../core/usage-groups';
import { lookAtBooks, repairBooks } from '../../store/books';
import { spendlock } from '../support/cli';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

interface Line {
  entry: 'commit' | 'adjustment';
  userId: string | null;
  runId: string | null;
  kind: string;
  resource: 'llm' | 'e2b';
  model: string | null;
  cents: number;
  isUnverified: boolean;
  /** As it comes from outside: cents that caches saved, or anything. */
  usage: { cacheSavedUsd: unknown } | null;
  labels: Labels | null;
  at: Date;
}

type Sums = [cents: number, operations: number, savedCents: number];

const start = Date.UTC(2026, 2, 1);
const hourMs = 3_600_000;

const lineOf = fc.record<Line>({
  entry: fc.constantFrom('commit', 'commit', 'adjustment'),
  userId: fc.constantFrom('ada', 'bob', null),
  runId: fc.constantFrom('5f0c9a53-7d0e-4b1c-9f39-3a1f2a3c4d5e', null),
  kind: fc.constantFrom('llm.call', 'compaction'),
  resource: fc.constantFrom('llm', 'e2b'),
  model: fc.constantFrom('large', 'small', null),
  cents: fc.integer({ min: 0, max: 500 }),
  isUnverified: fc.boolean(),
  usage: fc.constantFrom(
    null,
    { cacheSavedUsd: '0.03' },
    { cacheSavedUsd: '-0.5' },
    { cacheSavedUsd: 'much' },
    { cacheSavedUsd: {} },
  ),
  labels: fc.constantFrom<Labels | null>(
    null,
    null,
    { team: 'search' },
    { team: 'ads', feature: 'chat' },
    { team: 'search', feature: 'chat' },
    { feature: 'other' },
  ),
  at: fc.integer({ min: 0, max: 5 * 24 }).map((hours) => new Date(start + hours * hourMs)),
});
const groupings: UsageGrouping[] = [...usageGroups, 'label:team', 'label:feature', 'label:nothing'];

describe('sums by labels', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const write = (tenantId: string, lines: readonly Line[]) =>
    stack.admin.query(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, amount_usd,
         settlement, posted_at, labels, usage, reason, author)
       SELECT $1, gen_random_uuid(), entry, "userId", "runId", kind, resource, model,
         CASE entry WHEN 'commit' THEN cents ELSE -cents END / 100.0, CASE WHEN "isUnverified" THEN 'unverified' ELSE 'actual' END, at,
         labels, usage, CASE entry WHEN 'adjustment' THEN 'a test' END, CASE entry WHEN 'adjustment' THEN 'a test' END
       FROM jsonb_to_recordset($2) AS l (entry text, "userId" text, "runId" uuid, kind text, resource text, model text, cents numeric,
         "isUnverified" boolean, labels jsonb, usage jsonb, at timestamptz)`,
      [tenantId, JSON.stringify(lines)],
    );
  const groupOf = (line: Line, grouping: UsageGrouping): string => {
    const key = labelOfGrouping(grouping);
    if (key !== undefined) return line.labels?.[key] ?? '';
    const { userId, runId, model, resource, kind, at } = line;
    const groups = { user: userId, run: runId, model, resource, kind, day: at.toISOString().slice(0, 10) };
    return groups[grouping as keyof typeof groups] ?? '';
  };

  test('are those of the ledger, by one thing or by two at once, of what has labels or of all, in any span', async () => {
    const asked = fc.record({
      lines: fc.array(lineOf, { minLength: 1, maxLength: 60 }),
      groupBy: fc.constantFrom(...groupings),
      thenBy: fc.option(fc.constantFrom(...groupings), { nil: undefined }),
      label: fc.constantFrom<Labels>({}, {}, { team: 'search' }, { team: 'ads', feature: 'chat' }, { team: 'nobody' }),
      span: fc.uniqueArray(fc.oneof(fc.integer({ min: 0, max: 5 * 24 }), fc.constantFrom(0, 24, 48, 72, 96, 120)), {
        minLength: 2,
        maxLength: 2,
      }),
    });
    await fc.assert(
      fc.asyncProperty(asked, async ({ lines, groupBy, thenBy, label, span }) => {
        fc.pre(groupBy !== thenBy);
        const [from = 0, to = 0] = span.sort((a, b) => a - b).map((hours) => start + hours * hourMs);
        const tenantId = await stack.tenant('1000');
        await write(tenantId, lines.slice(0, 30));
        await write(tenantId, lines.slice(30));
        const expected = new Map<string, Sums>();
        for (const line of lines) {
          if (line.at.getTime() < from || line.at.getTime() >= to) continue;
          if (!Object.entries(label).every(([key, value]) => line.labels?.[key] === value)) continue;
          const name = JSON.stringify([groupOf(line, groupBy), ...(thenBy ? [groupOf(line, thenBy)] : [])]);
          const [cents, operations, saved] = expected.get(name) ?? [0, 0, 0];
          const isCommit = line.entry === 'commit';
          expected.set(name, [
            cents + (isCommit ? line.cents : -line.cents),
            operations + (isCommit ? 1 : 0),
            saved + (Math.round(Number(line.usage?.cacheSavedUsd) * 100) || 0),
          ]);
        }
        const usage = await api.admin.usage.summary({
          ...{ tenantId, groupBy, ...(thenBy ? { thenBy } : {}) },
          ...{ from: new Date(from).toISOString(), to: new Date(to).toISOString() },
          label: Object.entries(label).map(([key, value]) => `${key}:${value}`),
        });
        const found = usage.lines.map(({ group, thenGroup, costUsd, operations, cacheSavedUsd }): [string, Sums] => [
          JSON.stringify([group, ...(thenBy ? [thenGroup] : [])]),
          [Math.round(Number(costUsd) * 100), operations, Math.round(Number(cacheSavedUsd) * 100)],
        ]);
        // Groups in which nothing is left of a correction may be told or not.
        const isSome = ([, [cents, operations]]: [string, Sums]): boolean => cents !== 0 || operations > 0;
        expect(new Map(found.filter(isSome))).toEqual(new Map([...expected].filter(isSome)));
        expect(Math.round(Number(usage.costUsd) * 100)).toBe(found.reduce((sum, [, [cents]]) => sum + cents, 0));
        expect((await lookAtBooks(stack.pool, tenantId)).filter(({ check }) => check === 'day')).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  test('have `other` for the values of a key beyond the thousandth, as the ledger has, and the reservation what was sent', async () => {
    const tenantId = await stack.tenant('100');
    await stack.admin.query(
      `INSERT INTO copilot_internal.label_values SELECT $1, 'customer', 'c-' || n FROM generate_series(1, 999) AS n`,
      [tenantId],
    );
    const spend = async (labels: Labels): Promise<void> => {
      const operationId = randomUUID();
      await api.admin.reserve({ tenantId, operationId, resource: 'llm', amountUsd: '1', labels });
      await api.admin.commit(operationId, { tenantId, costUsd: '1' });
      expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject({ labels });
      await until('it is in the ledger', async () => {
        const { records } = await api.admin.usage.records({ tenantId, operationId });
        return records.length === 1;
      });
    };
    for (const customer of ['c-7', 'c-1000', 'c-1001', 'c-1002', 'c-1000']) await spend({ customer, team: 'search' });
    const usage = await api.admin.usage.summary({ tenantId, groupBy: 'label:customer', thenBy: 'label:team' });
    expect(usage.lines.map(({ group, thenGroup, costUsd }) => [group, thenGroup, costUsd])).toEqual([
      ['c-1000', 'search', '2'],
      ['other', 'search', '2'],
      ['c-7', 'search', '1'],
    ]);
    const { records } = await api.admin.usage.records({ tenantId, label: 'customer:other' });
    expect(records).toHaveLength(2);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
    // What is not so is told: a line that says `other` of a value that is among them.
    const [line] = (await api.admin.usage.records({ tenantId, label: 'customer:c-7' })).records;
    await stack.admin.query(
      `UPDATE copilot_internal.cost_records SET labels = '{"customer": "other", "team": "search"}' WHERE cost_record_id = $1`,
      [line?.costRecordId],
    );
    expect((await lookAtBooks(stack.pool, tenantId)).map(({ check }) => check)).toEqual(['labels', 'day', 'day']);
  });

  test('of a day with more sets of labels than are told apart are under `other`, and whole', async () => {
    const tenantId = await stack.tenant('100');
    const at = new Date(start);
    const plain: Omit<Line, 'labels'> = {
      ...{ entry: 'commit', userId: null, runId: null, kind: 'llm.call', resource: 'llm', model: null, cents: 100 },
      ...{ isUnverified: false, usage: null, at },
    };
    const some = (from: number, to: number): Line[] =>
      Array.from({ length: to - from }, (_, n) => ({ ...plain, labels: { n: String(from + n), team: 'search' } }));
    await write(tenantId, some(0, 9_999));
    await write(tenantId, some(9_998, 10_003));
    await write(tenantId, some(10_001, 10_002));
    const { rows } = await stack.admin.query<{ sets: string; other: string }>(
      `SELECT count(DISTINCT labels_id)::text AS sets, trim_scale(sum(cost_usd) FILTER (WHERE labels ->> 'n' = 'other'))::text AS other
       FROM copilot_internal.daily_label_costs WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(rows).toEqual([{ sets: '10001', other: '4' }]);
    const span = { tenantId, from: at.toISOString(), to: new Date(start + 24 * hourMs).toISOString() };
    expect((await api.admin.usage.summary({ ...span, groupBy: 'label:team' })).lines).toMatchObject([
      { group: 'search', costUsd: '10001', operations: 10_001 },
      { group: 'other', costUsd: '4', operations: 4 },
    ]);
    const days = async () => (await lookAtBooks(stack.pool, tenantId)).filter(({ check }) => check === 'day');
    expect(await days()).toEqual([]);
    // Broken by hand, they are mended.
    await stack.admin.query(
      `UPDATE copilot_internal.daily_label_costs SET cost_usd = cost_usd + 7 WHERE tenant_id = $1 AND labels ->> 'n' IN ('other', '5')`,
      [tenantId],
    );
    expect((await days()).map(({ says }) => says)).toEqual([
      expect.stringMatching(/^summed \$8 and the ledger \$1,/),
      expect.stringMatching(/^summed \$11 and the ledger \$4,/),
    ]);
    const mended = await repairBooks(stack.pool, {
      ...{ tenantId, by: { author: 'a test' }, reason: 'a test', apply: true },
    });
    expect(mended?.filter(({ what }) => what === 'day').map(({ from, to }) => [from, to])).toEqual([
      ['8', '1'],
      ['11', '4'],
    ]);
    expect(await days()).toEqual([]);
  });

  test('are shown by the command line and exported, by two things and for a label', async () => {
    const tenantId = await stack.tenant('100');
    const at = new Date();
    const plain = {
      entry: 'commit',
      userId: null,
      runId: null,
      kind: 'llm.call',
      resource: 'llm',
      cents: 100,
    } as const;
    const rest = { isUnverified: false, usage: null, at };
    await write(tenantId, [
      { ...plain, ...rest, model: 'large', labels: { team: 'search' } },
      { ...plain, ...rest, model: 'small', labels: { team: 'ads' } },
      { ...plain, ...rest, model: 'small', labels: null },
    ]);
    const shown = await spendlock(api, 'usage', 'show', tenantId, '--by', 'label:team', '--then-by', 'model');
    expect(shown.out).toMatch(/label:team.*model.*cost/);
    expect(shown.out).toMatch(/search.*large.*\$1/);
    const one = await spendlock(api, 'usage', 'show', tenantId, '--label', 'team=ads', '--json');
    expect(JSON.parse(one.out)).toMatchObject({ groupBy: 'model', thenBy: null, costUsd: '1', groups: 1 });
    const client = createSpendlockClient({ baseUrl: api.url, apiKey: await api.keyOf(tenantId) });
    const csv = await client.usage.summaryCsv({ groupBy: 'label:team', thenBy: 'day', label: 'team:search' });
    expect(csv.trimEnd().split('\r\n')).toEqual([
      'group,thenGroup,costUsd,unverifiedUsd,operations,cacheSavedUsd',
      `search,${at.toISOString().slice(0, 10)},1,0,1,0`,
    ]);
    const wrong = await spendlock(api, 'usage', 'show', tenantId, '--by', 'label:Team');
    expect(wrong).toMatchObject({ status: 2, err: expect.stringContaining('such as label:team') as string });
    for (const query of ['groupBy=label:Team', 'groupBy=label:', 'groupBy=teams', 'groupBy=day&thenBy=day'])
      expect(await api.call('GET', `/v1/usage?tenantId=${tenantId}&${query}`)).toMatchObject({
        status: 400,
        body: { error: 'invalid_request', message: expect.stringMatching(/^(groupBy|thenBy): must be/) as string },
      });
  });
});
