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
import { startTelemetry } from '../telemetry/start';
import { bundleWorkflows } from '../workers/workers';

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
    }));
}

async function fetchHistory({
  workflowId,
  address,
  namespace,
}: {
  workflowId: string;
  address: string;
  namespace: string;
}): Promise<Recording> {
  const connection = await Connection.connect({ address });
  try {
    const handle = new Client({ connection, namespace }).workflow.getHandle(workflowId);
    return { name: workflowId, history: await handle.fetchHistory(), workflowId };
  } finally {
    await connection.close();
  }
}

/** Replays each history. Answers what is wrong with it, or undefined. */
export async function replay(
  recordings: readonly Recording[],
  workflowBundle: { code: string },
): Promise<Map<string, string | undefined>> {
  const telemetry = startTelemetry('replay');
  const results = new Map<string, string | undefined>();
  for (const { name, history, workflowId } of recordings) {
    try {
      await Worker.runReplayHistory({ workflowBundle, plugins: [telemetry.plugin] }, history, workflowId);
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

async function main(): Promise<void> {
  const command = new Command('npm run replay --')
    .description('Replays recorded histories on the current code.')
    .option('--workflow-id <id>', 'fetch this workflow from a server and replay it')
    .option('--address <host:port>', 'the server', process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233')
    .option('--namespace <name>', 'its namespace', process.env.TEMPORAL_NAMESPACE ?? 'default')
    .option('--dir <folder>', 'other recorded histories', historiesDir)
    .option('--json', 'print the results as JSON', false)
    .addHelpText(
      'after',
      '\nExit statuses: 0 all replay, 1 one does not, 2 wrong use.\n\nExample: npm run replay -- --workflow-id run/2f1c…',
    );
  command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  const options = command
    .parse(process.argv)
    .opts<{ workflowId?: string; address: string; namespace: string; dir: string; json: boolean }>();
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const { workflowId } = options;
  const recordings =
    workflowId === undefined ? readRecordings(options.dir) : [await fetchHistory({ ...options, workflowId })];
  if (recordings.length === 0) throw new Error(`There is no history in ${options.dir}.`);
  const results = await replay(recordings, await bundleWorkflows(startTelemetry('replay')));
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
