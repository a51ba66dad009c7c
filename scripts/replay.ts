/**
 * Replays histories on the current code: `npm run replay` takes the recorded ones, `--workflow-id ID` fetches one from a
 * server. A history that does not replay means that running workflows of its kind would break.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { History } from '@temporalio/common/lib/proto-utils';
import { Command } from 'commander';
import { signallingConnection } from '../temporal/connection';
import { temporalTarget } from '../cli/temporal';
import { dataConverterFrom } from '../temporal/encryption/data-converter';
import { startTelemetry } from '../telemetry/start';
import { bundleOfStart } from '../workers/workers';
import * as workflows from '../workflows';
import { defaultTaskQueuePrefix, taskQueues } from '../contracts/messages';

export const historiesDir = path.join(__dirname, '..', 'test', 'replay', 'histories');

interface Recording {
  name: string;
  history: History;
  workflowId?: string;
}

/** The recorded histories, by version and case. */
export function readRecordings(dir: string): Recording[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => ({
      name: file,
      history: historyFromJSON(JSON.parse(readFileSync(path.join(dir, file), 'utf8'))),
    }))
    .map((recording) => ({ ...recording, ...(workflowIdIn(recording.history) ?? {}) }));
}

/** Whose history it is, as its first event says: encrypted payloads are read by nobody else. */
function workflowIdIn({ events }: History): { workflowId: string } | undefined {
  const workflowId = events?.[0]?.workflowExecutionStartedEventAttributes?.workflowId;
  return workflowId ? { workflowId } : undefined;
}

/** Of a server: how to reach it is in the environment too, as for a worker. */
interface Place {
  address: string;
  namespace: string;
}

function connect({ address, namespace }: Place): Promise<Connection> {
  const environment = { ...process.env, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace };
  return Connection.connect(signallingConnection(temporalTarget(environment).connection));
}

async function fetchHistory({ workflowId, address, namespace }: Place & { workflowId: string }): Promise<Recording> {
  const connection = await connect({ address, namespace });
  try {
    const handle = new Client({ connection, namespace }).workflow.getHandle(workflowId);
    return { name: workflowId, history: await handle.fetchHistory(), workflowId };
  } finally {
    await connection.close();
  }
}

/** The workflow types of the product: what else lives in the namespace is not ours to replay. */
const types = Object.keys(workflows);

/**
 * The histories of a namespace that a deploy of this code has to go on with: open workflows of every type, the newest first,
 * and then recently closed ones, up to `sample` of each type.
 */
async function fetchOpen({
  address,
  namespace,
  sample,
  taskQueuePrefix,
}: Place & { sample: number; taskQueuePrefix: string }): Promise<Recording[]> {
  // Another installation may share the namespace.
  const queues = Object.values(taskQueues(taskQueuePrefix)).map((queue) => `'${queue}'`);
  const connection = await connect({ address, namespace });
  try {
    const client = new Client({ connection, namespace });
    const recordings: Recording[] = [];
    for (const type of types) {
      let taken = 0;
      for (const status of [`ExecutionStatus = 'Running'`, `ExecutionStatus != 'Running'`]) {
        for await (const { workflowId, runId } of client.workflow.list({
          query: `WorkflowType = '${type}' AND ${status} AND TaskQueue IN (${queues.join(', ')})`,
        })) {
          if (taken >= sample) break;
          taken += 1;
          const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
          recordings.push({ name: `${type} ${workflowId} ${runId}`, history, workflowId });
        }
      }
    }
    return recordings;
  } finally {
    await connection.close();
  }
}

/** Replays each history. Answers what is wrong with it, or undefined. */
export async function replay(
  recordings: readonly Recording[],
  workflowBundle: { code: string },
  /** Where the histories are from: what was encrypted there is read nowhere else. The option is not of the replayer's type. */
  where: { namespace?: string } = {},
): Promise<Map<string, string | undefined>> {
  const telemetry = startTelemetry('replay');
  const dataConverter = dataConverterFrom(process.env);
  const options = {
    workflowBundle,
    plugins: [telemetry.plugin],
    ...(dataConverter ? { dataConverter } : {}),
    ...where,
  };
  const results = new Map<string, string | undefined>();
  for (const { name, history, workflowId } of recordings) {
    try {
      await Worker.runReplayHistory(options, history, workflowId);
      results.set(name, undefined);
    } catch (error) {
      const kind =
        (error as Error).name === 'DeterminismViolationError'
          ? 'the code does not do what the history says'
          : 'it failed';
      results.set(name, `${kind}: ${(error as Error).message}`);
    }
  }
  return results;
}

interface ReplayOptions {
  workflowId?: string;
  address: string;
  namespace: string;
  dir: string;
  open?: boolean;
  sample: number;
  taskQueuePrefix: string;
}

async function recordingsOf(options: ReplayOptions): Promise<Recording[]> {
  if (options.workflowId !== undefined) return [await fetchHistory({ ...options, workflowId: options.workflowId })];
  return options.open ? fetchOpen(options) : readRecordings(options.dir);
}

async function main(): Promise<void> {
  const command = new Command('npm run replay --')
    .description('Replays recorded histories on the current code.')
    .option('--workflow-id <id>', 'fetch this workflow from a server and replay it')
    .option('--address <host:port>', 'the server', process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233')
    .option('--namespace <name>', 'its namespace', process.env.TEMPORAL_NAMESPACE ?? 'default')
    .option('--open', 'fetch the open and recent workflows of a namespace: before a deploy, whether they go on')
    .option('--sample <n>', 'with --open: how many of each workflow type', (text) => Number.parseInt(text, 10), 200)
    .option(
      '--task-queue-prefix <prefix>',
      'with --open: of which installation',
      process.env.SPENDLOCK_TASK_QUEUE_PREFIX ?? defaultTaskQueuePrefix,
    )
    .option('--dir <folder>', "other recorded histories, such as exports of Temporal's UI and CLI", historiesDir)
    .option('--json', 'print the results as JSON', false)
    .addHelpText(
      'after',
      '\nExit statuses: 0 all replay, 1 one does not, 2 wrong use.\n\nExamples:\n  npm run replay -- --workflow-id run/2f1c…\n  npm run replay -- --open --sample 200 --address temporal.example:7233\n\nTLS, an API key and the keys of encrypted payloads are read from the environment, as a worker does.',
    );
  command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  const options = command.parse(process.argv).opts<ReplayOptions & { json: boolean }>();
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const recordings = await recordingsOf(options);
  if (recordings.length === 0)
    throw new Error(
      `There is no history in ${options.open ? `the namespace ${options.namespace} on task queues of ${options.taskQueuePrefix}` : options.dir}.`,
    );
  const results = await replay(
    recordings,
    await bundleOfStart(startTelemetry('replay'), { dataConverter: dataConverterFrom(process.env) }),
    { namespace: options.namespace },
  );
  if (options.json)
    console.log(
      JSON.stringify([...results].map(([name, problem]) => ({ name, replays: problem === undefined, problem }))),
    );
  else
    for (const [name, problem] of results)
      console.log(problem === undefined ? `ok      ${name}` : `FAILED  ${name}\n        ${problem}`);
  process.exitCode = [...results.values()].every((problem) => problem === undefined) ? 0 : 1;
}

if (require.main === module) {
  main().then(
    () => process.exit(),
    (error: unknown) => {
      console.error(`The replay did not run. ${error instanceof Error ? error.message : String(error)}`);
      process.exit(1);
    },
  );
}
