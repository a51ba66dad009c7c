/**
 * What was spent by one thing or by two at once, as SQL. Whole days are read from their sums: those of all that was spent, or, where a
 * label is asked about, those of each set of labels. The days at the ends are read from the ledger, and so are runs, and users beside
 * labels, by which nothing is summed.
 */
import { dayMs } from '../core/budget/periods';
import type { Labels } from '../core/labels';
import { labelOfGrouping, type UsageGroup, type UsageGrouping } from '../core/usage-groups';

export interface UsageAsked {
  tenantId: string;
  from: Date;
  to: Date;
  groupBy: UsageGrouping;
  /** Each group once more, by another thing. */
  thenBy?: UsageGrouping | undefined;
  /** Only what has all of them. */
  labels?: Labels | undefined;
}

const ledgerColumns: Record<UsageGroup, string> = {
  model: "coalesce(model, '')",
  resource: 'resource',
  user: "coalesce(user_id, '')",
  run: "coalesce(run_id::text, '')",
  day: "to_char(posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
  kind: 'kind',
};
const dailyColumns: Record<Exclude<UsageGroup, 'run'>, string> = {
  model: 'model',
  resource: 'resource',
  user: 'user_id',
  day: "to_char(day, 'YYYY-MM-DD')",
  kind: 'kind',
};
/** Of sums by labels there may be hundreds of thousands, and `to_char` takes a microsecond of each. */
const labelColumns = { ...dailyColumns, day: 'day::text' };
/**
 * What the transaction of such a query is told. By labels a month of a tenant may be hundreds of thousands of sums that come to a few groups;
 * Postgres expects tens of thousands of groups, and would have several processes read and sort the sums of all tenants.
 */
export const usageSettings = {
  work_mem: '32MB',
  enable_seqscan: 'off',
  enable_sort: 'off',
  max_parallel_workers_per_gather: '0',
  datestyle: 'ISO',
};
/** What they are summed into. */
const sums = 'sum(cost) AS cost, sum(unverified) AS unverified, sum(saved) AS saved, sum(operations) AS operations';

/** Groups by `name`, with `then` where a second thing was asked for, their `cost`, `unverified`, what caches `saved`, and `operations`. */
export function usageQuery({ tenantId, from, to, groupBy, thenBy, labels }: UsageAsked): {
  text: string;
  values: unknown[];
} {
  const values: unknown[] = [tenantId, from, to];
  const given = (value: unknown): string => `$${values.push(value)}`;
  const asked = [groupBy, ...(thenBy === undefined ? [] : [thenBy])];
  const keys = asked.map((grouping) => {
    const key = labelOfGrouping(grouping);
    return key === undefined ? undefined : given(key);
  });
  const named = (columns: Partial<Record<UsageGroup, string>>, withLabels: boolean): string =>
    asked
      .map((grouping, at) => {
        const key = keys[at];
        if (key === undefined) return columns[grouping as UsageGroup];
        return withLabels ? `coalesce(labels ->> ${key}, '')` : "''";
      })
      .map((column, at) => `${column} AS ${at === 0 ? 'name' : '"then"'}`)
      .join(', ');
  const having = labels === undefined ? '' : ` AND labels @> ${given(JSON.stringify(labels))}::jsonb`;
  const fromLedger = (between: string): string =>
    `SELECT ${named(ledgerColumns, true)}, amount_usd AS cost, unverified_usd AS unverified, copilot_internal.cache_saved(usage) AS saved, (entry = 'commit')::integer AS operations
     FROM copilot_internal.cost_records WHERE tenant_id = $1 AND ${between}${having}`;

  const isByLabel = keys.some((key) => key !== undefined);
  const isOfLabels = isByLabel || labels !== undefined;
  const firstDay = Math.ceil(from.getTime() / dayMs) * dayMs;
  const endOfDays = Math.floor(to.getTime() / dayMs) * dayMs;
  const isSummed = !asked.includes('run') && !(isOfLabels && asked.includes('user'));
  const names = asked.map((_, at) => (at === 0 ? 'name' : '"then"'));
  const all = (parts: string[], before = ''): string =>
    `${before}SELECT ${names.join(', ')}, ${sums} FROM (${parts.join(' UNION ALL ')}) AS spent GROUP BY ${names.join(', ')}
     ${isByLabel ? 'HAVING sum(cost) <> 0 OR sum(unverified) <> 0 OR sum(operations) <> 0' : ''}`;
  if (!isSummed || firstDay >= endOfDays)
    return { text: all([fromLedger('posted_at >= $2 AND posted_at < $3')]), values };

  const [first, end] = [given(new Date(firstDay)), given(new Date(endOfDays))];
  const days = `tenant_id = $1 AND day >= (${first}::timestamptz AT TIME ZONE 'UTC')::date AND day < (${end}::timestamptz AT TIME ZONE 'UTC')::date`;
  const ends = [
    fromLedger(`posted_at >= $2 AND posted_at < ${first}`),
    fromLedger(`posted_at >= ${end} AND posted_at < $3`),
  ];
  const amounts = 'cost_usd AS cost, unverified_usd AS unverified, cache_saved_usd AS saved, operations';
  const ofDays = (): string =>
    `SELECT ${named(dailyColumns, false)}, ${amounts} FROM copilot_internal.daily_costs WHERE ${days}`;
  if (!isOfLabels) return { text: all([ofDays(), ...ends]), values };
  const ofLabels = `SELECT ${named(labelColumns, true)}, ${amounts} FROM copilot_internal.daily_label_costs WHERE ${days}${having}`;
  if (!isByLabel || labels !== undefined) return { text: all([ofLabels, ...ends]), values };
  // What has no labels is what is left of all that was spent.
  const unnamed = keys.map((key, at) => (key === undefined ? names[at] : "''")).join(', ');
  const left = `SELECT ${unnamed}, -cost, -unverified, -saved, -operations FROM labelled`;
  return {
    text: all(
      [`SELECT ${names.join(', ')}, cost, unverified, saved, operations FROM labelled`, left, ofDays(), ...ends],
      `WITH labelled AS MATERIALIZED (SELECT ${names.join(', ')}, ${sums} FROM (${ofLabels}) AS sums GROUP BY ${names.join(', ')}) `,
    ),
    values,
  };
}
