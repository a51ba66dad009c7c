/**
 * Records the golden histories: `npm run record-history -- [CASE …]`. Each named case is run on the real stack with
 * stand-ins, and its workflows' histories are written to test/replay/histories/VERSION/. Recorded files are never edited or
 * recorded anew: a new version of the product adds a folder.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, chmod } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { budgetWorkflowId, taskQueues } from '../workflows/messages';
import type { TestStack } from '../test/support/stack';
import { setPlatformQuotas } from '../store/leases';
import { version } from '../package.json';
import { startServices } from './embedded/services';
import { migrate } from './migrate';

interface Recorded {
  tenantId: string;
  workflowId: string;
}

const cases = {
  completed: 'a run that answers from its file with a sandbox',
  denied: 'a run that is denied its sandbox',
  retried: 'a run whose first call is refused and whose second is cut off',
  cancelled: 'a run that is cancelled while it calls the model',
  leased: "a run whose tenant draws a lease of the platform's quota",
  awake: 'the minutely look at what sleeps',
  lost: 'the minutely look at what sleeps and at runs without a workflow',
} as const;
type CaseName = keyof typeof cases;

async function main(): Promise<void> {
  const names = process.argv.slice(2);
  if (names.includes('--help') || names.some((name) => !(name in cases))) {
    const list = Object.entries(cases).map(([name, what]) => `  ${name.padEnd(10)} ${what}`);
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
  if (missing.length > 0) await withStack((stack) => record(stack, missing, dir));
}

type Stack = TestStack;

async function withStack(work: (stack: Stack) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-record-'));
  await chmod(dataDir, 0o711);
  const services = await startServices({ dataDir, ports: { postgres: 0, temporal: 0 }, ephemeral: true });
  try {
    process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS = services.temporal.address;
    process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL = services.postgres.adminUrl;
    const { makeTemplate } = await import('../test/support/template.js');
    await makeTemplate(services.postgres.adminUrl, migrate);
    const { TestStack: Stacks } = await import('../test/support/stack.js');
    const stack = await Stacks.start();
    await work(stack).finally(() => stack.stop());
  } finally {
    await services.stop();
  }
}

async function record(stack: Stack, names: CaseName[], dir: string): Promise<void> {
  for (const name of names) {
    if (name === 'awake' || name === 'lost') {
      const workflowId = await lookAfterOnce(stack);
      await save(stack.temporal, workflowId, path.join(dir, `${name}.lookAfter.json`));
      console.log(`${name}: recorded`);
      continue;
    }
    const { tenantId, workflowId } = await play(stack, name);
    await save(stack.temporal, workflowId, path.join(dir, `${name}.agentRun.json`));
    await save(stack.temporal, budgetWorkflowId(tenantId), path.join(dir, `${name}.tenantBudget.json`));
    console.log(`${name}: recorded`);
  }
}

async function play(stack: Stack, name: CaseName): Promise<Recorded> {
  const file = { name: 'data.csv', content: 'name,amount\na,1\nb,2\n' };
  const tenantId = await stack.tenant(name === 'denied' ? '0.01' : '5');
  if (name === 'retried')
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 529 }, { type: 'cut-before-usage' }];
  if (name === 'cancelled') stack.anthropic.knobs.deltaSpacingMs = 30_000;
  if (name === 'leased') {
    const quotas = [{ resourceType: 'all' as const, period: 'month' as const, limitUsd: '5' }];
    await setPlatformQuotas(stack.pool, { changes: quotas, by: { author: 'recorder' } });
  }
  const started = await stack.start({ tenantId, task: 'Profile this file.', file });
  if (name === 'cancelled') {
    while (stack.anthropic.calls().inFlight === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await stack.temporal.workflow.getHandle(started.workflowId).cancel();
  }
  await stack.finish({ tenantId, ...started });
  stack.anthropic.knobs.deltaSpacingMs = 0;
  return { tenantId, workflowId: started.workflowId };
}

async function lookAfterOnce(stack: Stack): Promise<string> {
  const workflowId = `look-after/${stack.prefix}`;
  const { budget: taskQueue } = taskQueues(stack.prefix);
  await stack.temporal.workflow.execute('lookAfter', { workflowId, taskQueue });
  return workflowId;
}

async function save(client: Client, workflowId: string, file: string): Promise<void> {
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  // Stack traces name files of this machine; the history is about the project alone.
  const root = `${path.resolve(__dirname, '..')}${path.sep}`;
  writeFileSync(file, historyToJSON(history).replaceAll(root, '').replaceAll(`@${hostname()}"`, '@recorder"'));
}

main().catch((error: unknown) => {
  console.error(`Nothing more was recorded. ${String(error)}`);
  process.exitCode = 1;
});
