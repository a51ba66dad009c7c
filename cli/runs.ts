/** `npx spendlock runs`: runs and their paid steps, and ending one. */
import { Command, Option } from 'commander';
import type { RunView } from '../api/runs/schemas';
import { connect } from './api';
import { uuid } from './options';
import { show, table, usd, type Column } from './output';

interface Run {
  runId: string;
  userId: string | null;
  workflowId: string;
  status: string;
  model: string;
  costUsd: string;
  failure: { code: string; message: string } | null;
  createdAt: string;
  endedAt: string | null;
}

type Step = RunView['steps'][number];

const columns: Column<Run>[] = [
  { name: 'run', of: ({ runId }) => runId },
  { name: 'user', of: ({ userId }) => userId ?? '–' },
  { name: 'status', of: ({ status }) => status },
  { name: 'model', of: ({ model }) => model },
  { name: 'cost', of: ({ costUsd }) => usd(costUsd), right: true },
  { name: 'begun', of: ({ createdAt }) => createdAt },
  { name: 'why', of: ({ failure }) => failure?.code ?? '' },
];

const stepColumns: Column<Step>[] = [
  { name: 'step', of: ({ step }) => (step === undefined ? '' : String(step)), right: true },
  { name: 'attempt', of: ({ attempt }) => (attempt === undefined ? '' : String(attempt)), right: true },
  { name: 'what', of: ({ kind }) => kind },
  { name: 'status', of: ({ status }) => status },
  { name: 'reserved', of: ({ reservedUsd }) => usd(reservedUsd), right: true },
  { name: 'committed', of: ({ committedUsd }) => usd(committedUsd), right: true },
  { name: 'settlement', of: ({ settlement }) => settlement ?? '–' },
];

const query = (values: Record<string, string | undefined>): string =>
  new URLSearchParams(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  ).toString();

interface ListOptions {
  status?: string;
  user?: string;
  conversations?: boolean;
  limit?: string;
  json?: boolean;
}

export function runsCommands(): Command {
  const runs = new Command('runs').description('tasks of agents, and conversations');
  runs
    .command('list <tenant>')
    .description('the newest first')
    .addOption(
      new Option('--status <status>', 'only those').choices([
        'running',
        'completed',
        'quota_exceeded',
        'failed',
        'cancelled',
      ]),
    )
    .option('--user <id>', 'of one user')
    .option('--conversations', 'conversations instead of tasks')
    .option('--limit <n>', 'how many at most', '50')
    .addHelpText('after', '\nExample: npx spendlock runs list acme --status quota_exceeded')
    .action(async (tenantId: string, { status, user, conversations, limit, json = false }: ListOptions) => {
      const type = conversations ? 'conversation' : 'task';
      const asked = query({ tenantId, type, status, userId: user, limit });
      const answer = await connect().get<{ runs: Run[] }>(`/v1/runs?${asked}`);
      show(json, answer, () => table(columns, answer.runs, 'There is no such run.'));
    });
  runs
    .command('show')
    .argument('<tenant>')
    .argument('<run>', 'its id', uuid)
    .description('a run, what it came to, and each of its steps with what it reserved and cost')
    .action(async (tenantId: string, runId: string, { json = false }: { json?: boolean }) => {
      const where = `/v1/runs/${encodeURIComponent(runId)}?${query({ tenantId })}`;
      const run = await connect().get<Run & { steps: Step[]; answer: string | null }>(where);
      show(json, run, () =>
        [
          `${run.runId} (${run.workflowId} in Temporal UI): ${run.status}, ${usd(run.costUsd)} with ${run.model}`,
          ...(run.failure ? [`${run.failure.code}: ${run.failure.message}`] : []),
          table(stepColumns, run.steps, 'It has asked for nothing yet.'),
        ].join('\n'),
      );
    });
  runs
    .command('cancel')
    .argument('<tenant>')
    .argument('<run>', 'its id', uuid)
    .description('stops a run: its call and its sandbox end, and its reservations are settled')
    .action(async (tenantId: string, runId: string, { json = false }: { json?: boolean }) => {
      const where = `/v1/runs/${encodeURIComponent(runId)}/cancel?${query({ tenantId })}`;
      const answer = await connect().send<{ status: string }>('POST', where, {});
      show(json, answer, () => `${runId} was asked to stop.`);
    });
  return runs;
}
