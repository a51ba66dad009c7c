/** An authority's quotas as a table that Temporal UI shows on its page. */
import { markdownTable } from '../markdown';
import type { BudgetState } from '../../contracts/messages';

const columns = [
  { name: 'quota', isText: true },
  { name: 'left USD' },
  { name: 'spent' },
  { name: 'reserved' },
  { name: 'limit' },
  { name: 'resets', isText: true },
];

export function quotaTable({ quotas, nextWakeUpAt }: BudgetState): string {
  const rows = quotas.map(
    ({ scope, scopeId, resourceType, period, remainingUsd, spentUsd, reservedUsd, limitUsd, resetsAt }) => [
      `${scope} ${scopeId} ${resourceType}, ${period}`,
      remainingUsd,
      spentUsd,
      reservedUsd,
      limitUsd,
      period === 'lifetime' ? 'never' : resetsAt.slice(0, 10),
    ],
  );
  const next =
    nextWakeUpAt === undefined ? 'No reservation is open.' : `The next reservation runs out at ${nextWakeUpAt}.`;
  return `${markdownTable(columns, rows)}\n\n${next}`;
}
