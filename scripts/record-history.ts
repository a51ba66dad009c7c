/**
 * Records the golden histories: `npm run record-history -- [CASE …]`. Each named case is run on the real stack with
 * stand-ins, and its workflows' histories are written to test/replay/histories/VERSION/. Recorded files are never edited or
 * recorded anew: a new version of the product adds a folder. SHA256SUMS beside them says which there are, and how they were.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { TestStack } from '../test/support/stack';
import { makeTemplate } from '../test/support/template';
import { version } from '../package.json';
import { startServices } from './embedded/services';
import { migrate } from './migrate';
import { play } from './record-history/cases';
import { cases, type CaseName } from './record-history/names';

async function main(): Promise<void> {
  const names = process.argv.slice(2);
  if (names.includes('--help') || names.some((name) => !(name in cases))) {
    const list = Object.entries(cases).map(([name, what]) => `  ${name.padEnd(18)} ${what}`);
    console.log(
      `Records the golden histories of the named cases, or of all.\n\n${list.join('\n')}\n\nExample: npm run record-history -- denied`,
    );
    process.exitCode = names.includes('--help') ? 0 : 2;
    return;
  }
  const dir = path.join(__dirname, '..', 'test', 'replay', 'histories', version);
  mkdirSync(dir, { recursive: true });
  const wanted = (names.length > 0 ? names : Object.keys(cases)) as CaseName[];
  const recorded = readdirSync(dir);
  const missing = wanted.filter((name) => !recorded.some((file) => file.startsWith(`${name}.`)));
  for (const name of wanted.filter((one) => !missing.includes(one))) console.log(`${name}: recorded already, kept`);
  for (const isShort of [false, true]) {
    const some = missing.filter((name) => shortHistories.includes(name) === isShort);
    if (some.length > 0) await withStack(some, (stack) => record(stack, some, dir));
  }
}

type Stack = TestStack;

/** Of cases that are about a long history, the server says so after a short one. */
const shortHistories = ['talk-continued', 'talk-carried', 'budget-continued', 'budget-carried', 'budget-drained'];

async function withStack(names: readonly CaseName[], work: (stack: Stack) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-record-'));
  const isShort = names.some((name) => shortHistories.includes(name));
  const services = await startServices({
    dataDir,
    ports: { postgres: 0, temporal: 0 },
    ephemeral: true,
    ...(isShort ? { temporalSettings: { 'limit.historyCount.suggestContinueAsNew': 120 } } : {}),
  });
  try {
    process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS = services.temporal.address;
    process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL = services.postgres.adminUrl;
    await makeTemplate(services.postgres.adminUrl, migrate);
    const stack = await TestStack.start({ worker: false });
    await stack.startWorker({ environment: { SPENDLOCK_SWEEP_MIN_AGE_SECONDS: '1' } });
    await work(stack).finally(() => stack.stop());
  } finally {
    await services.stop();
  }
}

async function record(stack: Stack, names: CaseName[], dir: string): Promise<void> {
  for (const name of names) {
    for (const { workflowId, runId, type } of await play(stack, name)) {
      const file = path.join(dir, `${name}.${type}.json`);
      await save(stack.temporal, { workflowId, ...(runId === undefined ? {} : { runId }) }, file);
    }
    console.log(`${name}: recorded`);
  }
}

async function save(
  client: Client,
  { workflowId, runId }: { workflowId: string; runId?: string },
  file: string,
): Promise<void> {
  const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  // Stack traces name files of this machine; the history is about the project alone.
  const root = `${path.resolve(__dirname, '..')}${path.sep}`;
  const text = historyToJSON(history).replaceAll(root, '').replaceAll(`@${hostname()}"`, '@recorder"');
  writeFileSync(file, text);
  const sums = path.join(path.dirname(file), '..', 'SHA256SUMS');
  const name = path.join(path.basename(path.dirname(file)), path.basename(file));
  appendFileSync(sums, `${createHash('sha256').update(text).digest('hex')}  ${name}\n`);
}

main().catch((error: unknown) => {
  console.error(`Nothing more was recorded. ${String(error)}`);
  process.exitCode = 1;
});
