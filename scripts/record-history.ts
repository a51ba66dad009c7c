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

const cases = {
  completed: 'a run that answers from its file with a sandbox',
  denied: 'a run that is denied its sandbox',
  retried: 'a run whose first call is refused and whose second is cut off',
  cancelled: 'a run that is cancelled while it calls the model',
  leased: "a run whose tenant draws a lease of the platform's quota",
  'run-approved': 'a run whose program a person approves',
  'run-refused': 'a run whose program a person refuses',
  'run-compacted': 'a run that sums up what it did',
  'run-waited': 'a run that waits for money until its limit is raised',
  'run-extended': 'a run whose program outlives the window of its sandbox',
  'run-paid-tool': 'a run whose tool has a price',
  'run-fallback': 'a run whose first model cannot be reached',
  'run-shown': 'a run that waits for money, and says so in its search attributes',
  'run-refused-nothing-made': 'a run whose program a person refuses, and for which nothing is made',
  'run-planned-again': 'a run that waits for money, and whose step is then planned at the prices of then',
  'run-held-compacted': 'a run whose step holds its money while what it did is summed up',
  'ended-denied': 'a run that is denied, and whose workflow fails with that',
  'ended-failed': 'a run that makes its model calls without an answer, and whose workflow fails with that',
  'ended-cancelled': 'a run that is cancelled, and whose workflow is',
  awake: 'the minutely look at what sleeps',
  lost: 'the minutely look at what sleeps and at runs without a workflow',
  rung: 'the same, and at conversations that nobody told of a message',
  told: 'the same, and at decisions that nobody told a workflow of',
  'kept-looking': 'the look after everything, which goes on: the execution after one that continued as new',
  'kept-sweeping': 'the look for sandboxes that nobody owns, which goes on',
  'kept-forgetting': 'forgetting what is kept no longer, which goes on',
  forgotten: 'forgetting what is kept no longer',
  swept: 'the look for sandboxes that nobody owns',
  'talk-completed': 'a conversation of two turns with a sandbox that rests in between, closed',
  'talk-denied': 'a conversation whose turn is denied its sandbox',
  'talk-cancelled': 'a conversation that is cancelled while it calls the model',
  'talk-ended-cancelled': 'a conversation that is cancelled, and whose workflow is',
  'talk-interrupted': 'a conversation whose turn is interrupted',
  'talk-compacted': 'a conversation that sums up its older messages',
  'talk-approved': 'a conversation in which a person approves a program',
  'talk-refused': 'a conversation in which a person refuses a program',
  'talk-waited': 'a conversation that waits for money until its limit is raised',
  'talk-shown': 'a conversation that says in its search attributes when it holds money, waits for it, and what it cost',
  'talk-continued': 'a conversation that continues as new in the middle of a turn: the execution before',
  'talk-carried': 'the execution after it',
  'budget-continued': 'an authority that continues as new: the execution before',
  'budget-carried': 'the execution after it, which wakes for what runs out before anything else comes',
  nonsense: 'workflows that somebody started by hand with what they cannot work on, and that failed with that',
  'budget-drained': 'an authority that continues as new once what waits can be handed over',
} as const;
export type CaseName = keyof typeof cases;

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
