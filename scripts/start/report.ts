/** What a person reads after the run. */
import path from 'node:path';
import Table from 'cli-table3';
import { balanceOf, headroomUsd } from '../../core/budget/quotas';
import { formatUsdFixed, parseUsd, type Usd } from '../../core/money';
import { DEMO_FILE } from '../stand-ins';
import type { StartOptions } from './options';
import type { Progress } from './progress';
import { demoTenantId, type Stack } from './stack';
import type { TaskResult } from './task';

const dollars = (amount: Usd): string => `$${formatUsdFixed(amount, 6)}`;
const usd = (text: string | null): string => (text === null ? '–' : dollars(parseUsd(text)));

export function printRun({ run, summary, seconds }: TaskResult, options: StartOptions, progress: Progress): void {
  if (!run) return progress.line(`Denied: ${summary.failure?.message ?? summary.status}`);
  if (run.answer !== null) progress.line(`\nAnswer:\n${run.answer}\n`);
  if (run.failure) progress.line(`\nThe run ended ${run.status}: ${String(run.failure.message)}\n`);
  // Plain, so that it reads the same in a terminal and in a log.
  const table = new Table({
    head: ['step', 'what', 'resource', 'reserved', 'committed', 'settlement', 'left of the budget'],
    style: { head: [], border: [] },
    colAligns: ['right', 'left', 'left', 'right', 'right', 'left', 'right'],
  });
  const balance = balanceOf(run.quota ?? { limitUsd: '0', topupUsd: '0', spentUsd: '0', reservedUsd: '0' });
  // Before the run, and then step by step.
  let leftUsd = run.steps.reduce((sum, step) => sum + parseUsd(step.committedUsd ?? '0'), headroomUsd(balance));
  for (const step of run.steps) {
    leftUsd -= parseUsd(step.committedUsd ?? '0');
    table.push([
      String(step.step ?? ''),
      step.kind,
      step.resource,
      step.reservedUsd === null ? `refused ${usd(step.requestedUsd)}` : usd(step.reservedUsd),
      usd(step.committedUsd),
      step.settlement ?? step.status,
      dollars(leftUsd),
    ]);
  }
  progress.line(table.toString());
  progress.line(
    `The run ${run.status} in ${seconds.toFixed(1)} s and cost ${usd(summary.costUsd)}. Budget of tenant ${run.tenantId}: ` +
      `${dollars(balance.limitUsd)}, ${dollars(balance.spentUsd)} spent, ${dollars(balance.reservedUsd)} reserved.`,
  );
  if (options.once) progress.line(`Ready and done ${progress.seconds} s after the start.`);
}

export function printAddresses(stack: Stack, { dataDir }: StartOptions, progress: Progress): void {
  progress.lines([
    '',
    `Dashboard    ${stack.apiUrl}/ (sign in with the API key)`,
    `Temporal UI  ${stack.uiUrl}`,
    `API          ${stack.apiUrl}`,
    `API docs     ${stack.apiUrl}/docs`,
    `API key      ${stack.apiKey}  (administration; made for this start, shown only here)`,
    `Temporal     ${stack.temporalAddress}, namespace default`,
    `Logs         ${path.join(dataDir, 'spendlock.log')} (worker and API), services.log beside it (Temporal and Postgres)`,
    '',
    `Next, in another terminal: npx spendlock runs start ${demoTenantId} --task "Profile this file." --file ${DEMO_FILE} --follow`,
    'Serving until Ctrl-C.',
  ]);
}
