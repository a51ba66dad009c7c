/** What is left of a monthly limit from day to day, and where it is heading. */
import { counted } from '../core/counted';
import type { Overview } from './api';
import { Chart } from './chart';
import { asNumber, wholeLimitUsd } from './money';

type Quota = Overview['quotas'][number];

const dayS = 86_400;
type ByDay = Overview['spend']['byDay'];
/** Dollars by the second at which their day begins. */
const spendOf = (byDay: ByDay): Map<number, number> =>
  new Map(byDay.map(({ group, costUsd }) => [Date.parse(`${group}T00:00:00Z`) / 1_000, asNumber(costUsd)]));

/** The quota that the chart is about: the tenant's for everything in the month, or the nearest to that. */
export const mainQuota = (quotas: readonly Quota[]): Quota | undefined =>
  quotas.find(
    ({ scope, resourceType, period }) => scope === 'tenant' && resourceType === 'all' && period === 'month',
  ) ?? quotas.find(({ scope, period }) => scope === 'tenant' && period === 'month');

export function BurnDown({ quota, byDay }: { quota: Quota; byDay: ByDay }) {
  if (quota.resetsAt === null) return null;
  const end = Date.parse(quota.resetsAt) / 1_000;
  const ends = new Date(quota.resetsAt);
  const start = Date.UTC(ends.getUTCFullYear(), ends.getUTCMonth() - 1, 1) / 1_000;
  const now = Math.min(end, Date.now() / 1_000);
  const spentOn = spendOf(byDay);
  const limit = asNumber(wholeLimitUsd(quota));
  const times: number[] = [];
  const left: (number | null)[] = [];
  let remaining = limit;
  for (let day = start; day < now; day += dayS) {
    times.push(day);
    left.push(remaining);
    remaining -= spentOn.get(day) ?? 0;
  }
  // Today is over as far as it is; what the quota says of it is exact, of other resources included.
  remaining = limit - asNumber(quota.spentUsd);
  times.push(now);
  left.push(remaining);
  const forecast: (number | null)[] = times.map(() => null);
  if (now < end) {
    const projected = quota.forecast === null ? undefined : limit - asNumber(quota.forecast.projectedUsd);
    times.push(end);
    left.push(null);
    if (projected !== undefined) forecast[forecast.length - 1] = remaining;
    forecast.push(projected ?? null);
  }
  const even = times.map((time) => (limit * (end - time)) / (end - start));
  return (
    <Chart
      label={`Remaining of ${limit} dollars: ${remaining} now`}
      times={times}
      lines={[
        { label: 'Remaining', colour: 'spent', values: left },
        { label: 'Forecast', colour: 'reserved', values: forecast, isDashed: true },
        { label: 'Even use', colour: 'faint', values: even, isDashed: true },
      ]}
    />
  );
}

export function SpendByDay({ byDay, from }: { byDay: ByDay; from: string }) {
  const spentOn = spendOf(byDay);
  const first = Date.parse(from) / 1_000;
  const times = Array.from({ length: 31 }, (_, day) => first + day * dayS);
  const values = times.map((time) => spentOn.get(time) ?? 0);
  return (
    <Chart
      label={`Spend by day, ${counted(byDay.length, 'day')} with spend`}
      times={times}
      lines={[{ label: 'Spent', colour: 'spent', values, isBar: true }]}
    />
  );
}
