/** What a run or a conversation cannot go on without, and the command that gives it. */
import type { RunView } from '../client';
import { usd, when } from './output';

type WaitingFor = RunView['waitingFor'];

/** In lines; none of one that waits for nothing. */
export function waitingWords(tenantId: string, waitingFor: WaitingFor): string[] {
  if (waitingFor === null || waitingFor.kind === 'message') return [];
  if (waitingFor.kind === 'approval')
    return waitingFor.approvals.flatMap(({ approvalId, tool }) => [
      `Waits for a person, who is asked about ${tool}:`,
      `  npx spendlock approvals show ${tenantId} ${approvalId}`,
    ]);
  const { quota, asks } = waitingFor;
  const { scope, scopeId, resourceType, period, limitUsd, spentUsd, reservedUsd } = quota;
  return [
    `Waits for money since ${when(waitingFor.since)} UTC: the ${resourceType} quota of ${scope} ${scopeId} per ${period} has ${usd(limitUsd)}, of which ${usd(spentUsd)} is spent and ${usd(reservedUsd)} held.`,
    ...(asks
      ? [
          `People are asked for ${usd(asks.askedUsd)} until ${when(asks.waitsUntil)} UTC (request ${asks.requestId}):`,
          `  npx spendlock budget grant ${tenantId} ${asks.requestId} --amount ${asks.askedUsd}`,
          `  npx spendlock budget refuse ${tenantId} ${asks.requestId}`,
        ]
      : scope === 'platform'
        ? []
        : ['It goes on once there is more:', `  npx spendlock budget show ${tenantId}`]),
  ];
}
