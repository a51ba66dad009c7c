/** An authority's quotas as a table that Temporal UI shows on its page. */
import type { BudgetState } from './messages';

export function quotaTable({ quotas, nextWakeUpAt }: BudgetState): string {
  const rows = quotas.map((quota) =>
    [
      `${quota.scope} ${quota.scopeId}`,
      quota.resourceType,
      quota.period,
      quota.limitUsd,
      quota.spentUsd,
      quota.reservedUsd,
      quota.remainingUsd,
      quota.resetsAt,
    ].join(' | '),
  );
  const table = [
    '| quota | resource | period | limit USD | spent USD | reserved USD | remaining USD | resets at |',
    '| --- | --- | --- | ---: | ---: | ---: | ---: | --- |',
    ...rows.map((row) => `| ${row} |`),
  ];
  const next =
    nextWakeUpAt === undefined ? 'No reservation is open.' : `The next reservation runs out at ${nextWakeUpAt}.`;
  return `${table.join('\n')}\n\n${next}`;
}
