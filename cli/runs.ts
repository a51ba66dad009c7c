/** `npx spendlock runs`: runs and their paid steps, starting one, following one and ending one. */
import { Command, Option } from 'commander';
import type { RunsView, RunView } from '../client';
import { ofCaches } from '../client/caches';
import { stateOf } from '../client/states';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { readAttached, writeAttached } from './files';
import { followRun } from './follow';
import { addSettings, settingsFrom, type SettingsOptions } from './model-settings';
import {
  amount,
  positiveAmount,
  cursorOption,
  example,
  labelOption,
  limitOption,
  moment,
  uuid,
  whole,
  type Json,
  type Page,
} from './options';
import { noneOf, show, table, unreservedWords, usd, when, type Column } from './output';
import { saidWords } from './transcripts';
import { waitingWords } from './waiting';

const columns: Column<RunsView['runs'][number]>[] = [
  { name: 'run', of: ({ runId }) => runId },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'status', of: stateOf },
  { name: 'model', of: ({ model }) => model, extra: true },
  { name: 'cost', of: ({ costUsd }) => usd(costUsd), right: true },
  { name: 'begun (UTC)', of: ({ createdAt }) => when(createdAt), extra: true },
  { name: 'why', of: ({ failure }) => (failure ? String(failure.code) : ''), extra: true },
];

const stepColumns: Column<RunView['steps'][number]>[] = [
  { name: 'step', of: ({ step }) => (step === undefined ? '' : String(step)), right: true },
  { name: 'attempt', of: ({ attempt }) => (attempt === undefined ? '' : String(attempt)), right: true, extra: true },
  { name: 'what', of: ({ kind }) => kind },
  { name: 'status', of: (step) => `${step.status}${unreservedWords(step)}` },
  { name: 'reserved', of: ({ reservedUsd, envelope }) => usd(envelope?.amountUsd ?? reservedUsd), right: true },
  { name: 'committed', of: ({ committedUsd }) => usd(committedUsd), right: true },
  { name: 'settlement', of: ({ settlement }) => settlement ?? '–', extra: true },
];

const partColumns: Column<RunView['tree'][number]>[] = [
  { name: 'part', of: ({ runId }) => runId },
  { name: 'of', of: ({ parentRunId }) => parentRunId ?? '–' },
  { name: 'limit', of: ({ limitUsd }) => (limitUsd === null ? '–' : usd(limitUsd)), right: true },
  { name: 'spent', of: ({ spentUsd }) => usd(spentUsd), right: true },
  { name: 'reserved', of: ({ reservedUsd }) => usd(reservedUsd), right: true },
];

/** A run in words: how it stands, its steps, and last what it answered. */
const runWords = (tenantId: string, run: RunView): string =>
  [
    `${run.runId} (${run.workflowId} in Temporal UI): ${stateOf(run)}, ${usd(run.costUsd)} with ${run.model}${savedWords(run)}`,
    ...guaranteedWords(run),
    ...(run.settings ? [`Asked to answer with ${JSON.stringify(run.settings)}.`] : []),
    ...(run.answerSchema ? [`Its answer has to fit ${JSON.stringify(run.answerSchema)}.`] : []),
    ...(run.failure ? [`${String(run.failure.code)}: ${String(run.failure.message)}`] : []),
    ...waitingWords(tenantId, run.waitingFor),
    table(stepColumns, run.steps, 'It has asked for nothing yet.'),
    ...(run.tree.length === 0 ? [] : [table(partColumns, run.tree, '')]),
    ...(run.stoppedBy == null ? [] : ['Its money was used up: it answered with what it had.']),
    ...(run.answer === null ? [] : ['', run.answer]),
  ].join('\n');

/** How what was guaranteed to a run stands, where something was. An API of the version before does not say. */
function guaranteedWords({
  guaranteedUsd,
  steps,
}: Partial<Pick<RunView, 'guaranteedUsd'>> & Pick<RunView, 'steps'>): string[] {
  if (guaranteedUsd == null) return [];
  const { envelope, status } = steps.findLast((step) => step.envelope) ?? {};
  if (!envelope) return [`${usd(guaranteedUsd)} was to be guaranteed to it, and is not held.`];
  const { restUsd, partsHoldUsd, partsSpentUsd } = envelope;
  const rest = status === 'granted' ? 'left' : 'given back';
  return [
    `${usd(guaranteedUsd)} was guaranteed to it: ${usd(partsSpentUsd)} spent, ${usd(partsHoldUsd)} held by its steps, ${usd(restUsd)} ${rest}.`,
  ];
}

function savedWords({ cacheSavedUsd: saved = '0' }: Partial<RunView>): string {
  const caches = ofCaches(saved);
  return saved === '0' ? '' : `, ${usd(caches.usd)} ${caches.words}`;
}

const statuses = [
  ...['running', 'waiting_for_money', 'waiting_for_approval'],
  ...['completed', 'quota_exceeded', 'failed', 'cancelled'],
] as const;
interface ListOptions extends Json {
  status?: (typeof statuses)[number];
  user?: string;
  conversations?: boolean;
  before?: string;
  limit: number;
}

const someRun = '0f7f4c1e-52e9-4b8f-9d57-6a1c2b3d4e5f';

export function runsCommands(): Command {
  const runs = new Command('runs').description('tasks of agents');
  addList(runs);
  const of = (verb: string, description: string): Command =>
    runs.command(verb).argument('<tenant>').argument('<run>', 'its id', uuid).description(description);
  const one = of(
    'show',
    'a run, what it came to, what it answered, and each of its steps with what it reserved and cost',
  );
  example(one, `runs show acme ${someRun}`).action(async (tenantId: string, runId: string, { json = false }: Json) => {
    const run = await client().runs.get(runId, tenantId);
    show(json, run, () => runWords(tenantId, run));
  });
  addStart(runs);
  const said = of('messages', 'what was asked, said, run and printed in it, the oldest first')
    .addOption(cursorOption())
    .addOption(limitOption(200));
  example(said, `runs messages acme ${someRun}`).action(
    async (tenantId: string, runId: string, { json = false, ...page }: Json & Page) => {
      const answer = await client().runs.messages(runId, { tenantId, ...page });
      show(json, answer, () => saidWords(answer));
    },
  );
  const file = of('file', 'writes the file that came with it')
    .argument('<file>', 'where to')
    .option('--force', 'in place of a file that is there already');
  example(file, `runs file acme ${someRun} sales.csv`).action(
    async (tenantId: string, runId: string, name: string, options: Json & { force?: boolean }) =>
      writeAttached(name, () => client().runs.file(runId, tenantId), options),
  );
  const follow = of(
    'follow',
    'what happens in a run, as it happens, to its end; --json prints the run once it has ended',
  ).addHelpText('after', followHelp);
  example(follow, `runs follow acme ${someRun}`).action(followRun);
  const cancel = of('cancel', 'stops a run: its call and its sandbox end, and its reservations are settled');
  example(cancel, `runs cancel acme ${someRun}`).action(
    async (tenantId: string, runId: string, { json = false }: Json) => {
      const answer = await client().runs.cancel(runId, tenantId);
      show(json, answer, () => `${runId} was asked to stop.`);
    },
  );
  return runs;
}

const followHelp = `
Ctrl-C ends the following; the run goes on. Exit statuses: 0 it completed, 1 it failed or was cancelled, 3 it was denied money.`;

function addList(runs: Command): void {
  const list = runs
    .command('list <tenant>')
    .description('the newest first')
    .addOption(new Option('--status <status>', 'only those').choices(statuses))
    .option('--user <id>', 'of one user')
    .option('--conversations', 'conversations instead of tasks')
    .option('--before <moment>', 'begun before this', moment)
    .addOption(limitOption());
  example(list, 'runs list acme --status quota_exceeded').action(
    async (tenantId: string, { user, conversations = false, json = false, limit, ...filters }: ListOptions) => {
      const type = conversations ? 'conversation' : 'task';
      const answer = await client().runs.list({
        tenantId,
        type,
        limit,
        ...filters,
        ...omitUndefined({ userId: user }),
      });
      show(json, answer, () =>
        table(columns, answer.runs, noneOf(conversations ? 'conversations' : 'runs', tenantId, { user, ...filters })),
      );
    },
  );
}

interface StartOptions extends Json, SettingsOptions {
  task: string;
  file?: string;
  model?: string;
  user?: string;
  maxCost?: string;
  guaranteed?: string;
  maxSteps?: number;
  label?: Labels;
  parent?: string;
  follow?: boolean;
}

function addStart(runs: Command): void {
  const start = runs
    .command('start <tenant>')
    .description('gives an agent a task')
    .requiredOption('--task <words>', 'what it is to do')
    .option('--file <path>', 'a file for it')
    .option('--model <name>', 'the model to ask; the default of the installation when absent')
    .option('--user <id>', 'on whose account, beside the tenant')
    .addOption(labelOption('what it is for'))
    .option('--max-cost <usd>', 'what the run may cost at most', amount)
    .option('--guaranteed <usd>', 'what it may surely spend: held for it from its begin on', positiveAmount)
    .option('--max-steps <n>', 'how many model calls it may take', whole(1, 100))
    .option('--parent <run>', 'a run, or a conversation in its turn, whose limit it counts for too', uuid)
    .option('--follow', 'stay until it ends, and show what happens')
    .addHelpText('after', followHelp);
  addSettings(start);
  example(
    start,
    'runs start acme --task "Profile this file." --file sales.csv --follow',
    'runs start acme --task "Say hello." --max-cost 0.05 --json',
    'runs start acme --task "Look into it." --guaranteed 2 --max-cost 5',
    'runs start acme --task "What is the weather in Bern?" --tool weather --on-denied ask --ask-days 1',
    'runs start acme --task "Prove it." --model claude-sonnet-5 --effort high',
    'runs start acme --task "Look into it." --max-cost 0.5 --last-call --fallback-model gpt-4o',
  ).action(async (tenantId: string, options: StartOptions) => {
    const {
      task,
      file,
      model,
      user,
      label,
      maxCost,
      guaranteed,
      maxSteps,
      lastCall,
      parent,
      follow = false,
      json = false,
    } = options;
    const started = await client().runs.start({
      tenantId,
      task,
      ...(file === undefined ? {} : { file: await readAttached(file) }),
      ...omitUndefined({ model, userId: user, parentRunId: parent, labels: label }),
      ...(await settingsFrom(options)),
      limits: omitUndefined({ maxCostUsd: maxCost, guaranteedUsd: guaranteed, maxSteps, lastCall }),
    });
    if (follow) return followRun(tenantId, started.runId, { json });
    show(json, started, () =>
      [`${started.runId} runs. What becomes of it:`, `  npx spendlock runs follow ${tenantId} ${started.runId}`].join(
        '\n',
      ),
    );
  });
}
