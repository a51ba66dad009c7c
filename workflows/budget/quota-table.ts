/** An authority's quotas as a table that Temporal UI shows on its page. */
import { markdownTable } from '../markdown';
import type { MandateState } from '../../core/budget/commands';
import type { BudgetState } from '../../contracts/messages';

const columns = [
  { name: 'quota', isText: true },
  { name: 'left USD' },
  { name: 'spent' },
  { name: 'reserved' },
  { name: 'limit' },
  { name: 'resets', isText: true },
];

export function quotaTable({ quotas, nextWakeUpAt, mandate }: BudgetState): string {
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
  return [markdownTable(columns, rows), next, ...(mandate ? [mandateLine(mandate)] : [])].join('\n\n');
}

/** What was decided beside this history, which so accounts for every decision. */
function mandateLine({ openUntilMs, barred, granted, denied, grantedUsd }: MandateState): string {
  const until = openUntilMs === undefined ? undefined : new Date(openUntilMs).toISOString();
  const stands = barred
    ? 'recalled; every decision is taken here, until one is allowed again'
    : until === undefined
      ? 'none is open; every decision is taken here'
      : `open until ${until}; who asks decides, and this page has it a minute later`;
  return `**Mandate:** ${stands}. Decided under mandates so far: ${granted} granted ($${grantedUsd}), ${denied} denied.`;
}
