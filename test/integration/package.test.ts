/**
 * The package, as it would be published, in projects of others (XE14): empty ones, the README's program, and the example whose
 * workflow pays a service.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { tellOfStart } from '../../cli/running-starts';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { PackedPackage, type Project } from '../support/package-project';
import { until, type TestStack } from '../support/stack';

const root = path.join(__dirname, '..', '..');
const example = path.join(root, 'examples', 'paid-api');

/** What runs the example's worker until its input ends. */
const main = `import { startExampleWorker } from './worker';
void startExampleWorker(JSON.parse(process.argv[2] ?? '')).then(({ shutdown }) => {
  console.log('It is up.');
  process.stdin.resume().once('end', () => void shutdown());
});
`;

/** A workflow of two paid steps that takes every error for an answer, and makes the second when it is told to. */
const careless = `import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';
import { Budget } from 'spendlock/workflow';
import type { GeocodingActivities } from './activities';
const { geocode } = proxyActivities<GeocodingActivities>({
  startToCloseTimeout: '30 seconds',
  retry: { maximumAttempts: 1 },
});
const step = { resource: 'llm', kind: 'geocoding.lookup', amountUsd: '0.005', priceVersion: 'p', ttlSeconds: 60 } as const;
export async function careless({ tenantId }: { tenantId: string }): Promise<string[]> {
  const budget = new Budget({ tenantId });
  let isTold = false;
  setHandler(defineSignal('more'), () => void (isTold = true));
  const came: string[] = [];
  for (const address of ['a', 'b']) {
    try {
      came.push(await budget.withBudget(step, ({ operationId }) => geocode({ tenantId, operationId, address })));
    } catch (error) {
      came.push(String(error));
    } finally {
      await budget.settled();
    }
    if (address === 'a') await condition(() => isTold);
  }
  return came;
}
`;

/** A worker for it, whose author may have forgotten the budget activities. */
const carelessMain = `import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { budgetForOwnWorker } from 'spendlock/worker';
import { createGeocodingActivities } from './activities';
async function main(): Promise<void> {
  const { address, taskQueue, serviceUrl, isForgetful, ...options } = JSON.parse(process.argv[2] ?? '');
  const budget = budgetForOwnWorker({ client: new Client({ connection: await Connection.connect({ address }) }), ...options });
  const worker = await Worker.create({
    connection: await NativeConnection.connect({ address }),
    taskQueue,
    workflowsPath: require.resolve('./careless'),
    activities: { ...(isForgetful ? {} : budget.activities), ...createGeocodingActivities(budget, serviceUrl) },
  });
  const running = worker.run();
  console.log('It is up.');
  process.stdin.resume().once('end', () => worker.shutdown());
  await running;
  process.exit();
}
void main();
`;

const bytesIn = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(path.join(parentPath, name)).size, 0);

let spendlock: PackedPackage;
beforeAll(async () => {
  spendlock = await PackedPackage.make();
});
afterAll(() => spendlock.remove());

describe('the package in an empty project', () => {
  let project: Project;
  beforeAll(async () => {
    project = await spendlock.npmProject();
  });
  const node = (type: 'module' | 'commonjs', program: string): Promise<string> =>
    project.run(process.execPath, [`--input-type=${type}`, '-e', program]);

  test('brings less than a megabyte, and nothing of a server (XE14)', () => {
    const modules = path.join(project.folder, 'node_modules');
    expect(bytesIn(modules)).toBeLessThan(1_000_000);
    for (const name of ['pg', 'hono', 'zod', '@temporalio', '@hono', 'openai'])
      expect(readdirSync(modules)).not.toContain(name);
  });

  test('loads as an ES module and as CommonJS, with the same names', async () => {
    const names = 'Object.keys(client).filter((name) => /^[a-z]/i.test(name) && name !== "default").sort().join()';
    const asModule = await node('module', `import * as client from 'spendlock/client'; console.log(${names})`);
    expect(asModule).toContain('createSpendlockClient');
    expect(await node('commonjs', `const client = require('spendlock/client'); console.log(${names})`)).toBe(
      asModule.replace('module.exports,', ''),
    );
  });

  test.each([
    ['node16', 'program.mts'],
    ['node16', 'program.cts'],
    ['bundler', 'program.ts'],
  ] as const)('has types that say what the API answers, for %s and %s', async (resolution, file) => {
    project.write(
      file,
      `import { createSpendlockClient, QuotaExceededError, type RunView } from 'spendlock/client';
const client = createSpendlockClient({ baseUrl: 'http://127.0.0.1:8088', apiKey: 'key' });
export async function look(): Promise<string | null> {
  const run: RunView = await client.runs.get('id');
  // @ts-expect-error: a status is one of some words.
  if (run.status === 'nonsense') return null;
  // @ts-expect-error: a run has no such field.
  console.log(run.nonsense);
  const cost: string = run.costUsd;
  return run.answer ?? cost;
}
export const denial = (error: QuotaExceededError): string | undefined => error.quota?.scope;
`,
    );
    await project.compile([file], { resolution });
  });

  test('has a command line that works alone, and says what it lacks for the rest', async () => {
    const command = (args: string[], environment = {}) =>
      project.end('npx', ['--no', '--', 'spendlock', ...args], environment);
    expect((await command(['--help'])).stdout).toContain('Usage: spendlock');
    const nowhere = await command(['tenants', 'list']);
    expect(nowhere).toMatchObject({ status: 2, stdout: '' });
    expect(nowhere.stderr).toContain('SPENDLOCK_API_URL');
    const doctor = await command(['doctor']);
    expect(doctor).toMatchObject({ status: 1, stdout: '' });
    expect(doctor.stderr).toMatch(/npm install (.*)/);
    // It says enough: in a project that has these and nothing else it looks, and finds neither.
    const [, install = ''] = /npm install (.*)/.exec(doctor.stderr) ?? [];
    const strict = await spendlock.strictProject(install.split(' '));
    const looked = await strict.end(path.join(strict.folder, 'node_modules', '.bin', 'spendlock'), ['doctor']);
    expect(looked.stdout).toMatch(/Postgres .*DATABASE_URL is not set[\s\S]*Temporal /);
  });
});

describe('a worker of one’s own in a project that lacks what it needs', () => {
  const load = (type: 'module' | 'commonjs', project: Project): ReturnType<Project['end']> => {
    const program = {
      module: `import * as worker from 'spendlock/worker';`,
      commonjs: `const worker = require('spendlock/worker');`,
    };
    return project.end(process.execPath, [
      `--input-type=${type}`,
      '-e',
      `${program[type]} console.log(typeof worker.budgetForOwnWorker)`,
    ]);
  };

  test.each(['module', 'commonjs'] as const)('is told all of it at once, as %s', async (type) => {
    const { status, stderr } = await load(type, await spendlock.strictProject([]));
    expect(status).toBe(1);
    const [, install = ''] = /Error: spendlock\/worker needs .* npm install (.*)/.exec(stderr) ?? [];
    expect(install.split(' ')).toEqual(expect.arrayContaining(['pg', 'pino', '@temporalio/client']));
    // Of what is there nothing is said, and what is said is enough.
    const [there = '', ...others] = install.split(' ');
    const most = await load(type, await spendlock.strictProject([there]));
    expect(most.stderr).toContain(`npm install ${others.join(' ')}\n`);
    const all = await spendlock.strictProject(install.split(' '));
    expect(await load(type, all)).toMatchObject({ status: 0, stdout: 'function\n' });
  });
});

describe('the package in a strict project', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('the README’s program runs', async () => {
    const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
    const program = /```ts\n(import [\s\S]*?'spendlock\/client';[\s\S]*?)```/.exec(readme)?.[1] ?? '';
    expect(program).toContain('conversations.stream');
    const project = await spendlock.strictProject([]);
    project.write('program.mts', program);
    const tsx = path.join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs');
    const key = await api.keyOf(await stack.tenant('5'));
    const environment = { SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: key };
    const ended = await project.end(process.execPath, ['--import', tsx, 'program.mts'], environment);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).toMatch(/stand-in for a model's API[\s\S]*\n\(cost: \$0\.\d+\)/);
    expect(ended.stdout).toContain('The task is done.\nThe file has 2 rows and 2 columns.');
    expect(ended.stdout).toMatch(/It was \d+ characters long\.\n$/);
  });

  test('the environment is that of the npm start that runs; of several one has to be named', async () => {
    const project = await spendlock.strictProject([]);
    const environment = { XDG_STATE_HOME: path.join(project.folder, 'state') };
    const env = (more: Record<string, string> = {}) =>
      project.end(path.join(project.folder, 'node_modules', '.bin', 'spendlock'), ['env', '--json'], {
        ...environment,
        ...more,
      });
    const startAt = (name: string, apiUrl: string): Promise<() => Promise<void>> => {
      mkdirSync(path.join(project.folder, name));
      const local = { apiUrl, apiKey: `of ${name}`, databaseUrl: '', temporalAddress: '', temporalNamespace: '' };
      return tellOfStart(
        path.join(project.folder, name),
        { ...local, taskQueuePrefix: '', isEncrypted: false },
        environment,
      );
    };
    expect(await env()).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('No npm start runs here') as string,
    });
    await startAt('killed', 'http://127.0.0.1:9');
    await startAt('first', api.url);
    const one = await env();
    expect(JSON.parse(one.stdout)).toMatchObject({ SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: 'of first' });
    expect(one.stderr).toContain(path.join(project.folder, 'first'));
    const forget = await startAt('second', api.url);
    const two = await env();
    expect(two.status).toBe(1);
    expect(JSON.parse(two.stdout)).toMatchObject({ error: { code: 'ambiguous' } });
    expect(two.stderr).not.toContain('killed');
    for (const name of ['first', 'second']) {
      const folder = path.join(project.folder, name);
      expect(two.stderr).toContain(`SPENDLOCK_DATA_DIR='${folder}' npx spendlock env`);
      const named = await env({ SPENDLOCK_DATA_DIR: folder });
      expect(JSON.parse(named.stdout)).toMatchObject({ SPENDLOCK_API_KEY: `of ${name}` });
    }
    await forget();
    expect(await env()).toMatchObject({ stdout: one.stdout });
  });

  describe('the example', () => {
    let service: Server;
    let project: Project;
    let worker: ChildProcess;
    let options: object;
    let lookups = 0;
    const taskQueue = `example-${randomUUID()}`;
    beforeAll(async () => {
      project = await spendlock.strictProject([...spendlock.peers, '@temporalio/worker']);
      const sources = readdirSync(example).filter((file) => file.endsWith('.ts'));
      for (const file of sources) project.write(file, readFileSync(path.join(example, file), 'utf8'));
      const more = { 'main.ts': main, 'careless.ts': careless, 'careless-main.ts': carelessMain };
      for (const [file, content] of Object.entries(more)) project.write(file, content);
      await project.compile([...sources, ...Object.keys(more)], { resolution: 'node16', outDir: '.' });

      service = createServer((request, response) => {
        response.setHeader('x-spendlock-stand-in', 'geocoder');
        const address = new URL(request.url ?? '', 'http://x').searchParams.get('address');
        if (address === 'nowhere') return void response.writeHead(404).end();
        if (address === 'busy' && lookups++ === 0) return void response.writeHead(429).end();
        lookups += 1;
        response.end(JSON.stringify({ position: `position of ${address}` }));
      });
      await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
      options = {
        address: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
        databaseUrl: stack.database.appUrl,
        serviceUrl: `http://127.0.0.1:${(service.address() as AddressInfo).port}`,
        taskQueuePrefix: stack.prefix,
      };
      worker = await startWorker('main.js', { ...options, taskQueue });
    });
    afterAll(async () => {
      await stopWorker(worker);
      service.close();
    });
    const workers = new Set<ChildProcess>();
    afterEach(() => Promise.all([...workers].filter((other) => other !== worker).map(stopWorker)));

    const startWorker = async (file: string, given: object): Promise<ChildProcess> => {
      // Refusals are what is tested; Temporal, which tells of them too, need not be read.
      const child = spawn(process.execPath, [file, JSON.stringify(given)], {
        cwd: project.folder,
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      workers.add(child);
      await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
      expect(child.exitCode).toBeNull();
      return child;
    };
    const stopWorker = async (child: ChildProcess): Promise<void> => {
      workers.delete(child);
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.stdin?.end();
      await ended;
    };
    beforeEach(() => {
      lookups = 0;
    });

    const locate = (tenantId: string, addresses: string[]): Promise<{ located: unknown[]; stoppedBy?: string }> =>
      stack.temporal.workflow.execute('locateAll', {
        workflowId: `locate/${randomUUID()}`,
        taskQueue,
        args: [{ tenantId, addresses }],
      });

    test('pays exactly for what it looked up', async () => {
      const tenantId = await stack.tenant('1');
      expect(await locate(tenantId, ['a', 'b', 'c'])).toEqual({
        located: ['a', 'b', 'c'].map((address) => ({ address, position: `position of ${address}` })),
      });
      expect(await stack.books(tenantId)).toEqual({
        ledgerUsd: '0.015',
        spentUsd: '0.015',
        reservedUsd: '0',
        openReservations: 0,
      });
      const { rows } = await stack.admin.query(
        'SELECT DISTINCT resource FROM copilot_internal.cost_records WHERE tenant_id = $1',
        [tenantId],
      );
      expect(rows).toEqual([{ resource: 'geocoding' }]);
    });

    test('stops at its budget, having made no call that it could not pay for', async () => {
      const tenantId = await stack.tenant('0.012');
      const { located, stoppedBy } = await locate(tenantId, ['a', 'b', 'c', 'd']);
      expect(located).toHaveLength(2);
      expect(stoppedBy).toContain('quota of $0.012');
      expect(lookups).toBe(2);
      expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0.01', reservedUsd: '0', openReservations: 0 });
    });

    test('pays nothing for a call that was not billed, and tries it again where that may help', async () => {
      const tenantId = await stack.tenant('1');
      expect((await locate(tenantId, ['busy'])).located).toHaveLength(1);
      await expect(locate(tenantId, ['nowhere'])).rejects.toThrow();
      expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0.005', reservedUsd: '0', openReservations: 0 });
    });

    test('of a worker that lacks the budget activities goes on once it has them, whatever it catches', async () => {
      const tenantId = await stack.tenant('1');
      const ownQueue = `careless-${randomUUID()}`;
      const startCareless = (isForgetful: boolean): Promise<ChildProcess> =>
        startWorker('careless-main.js', { ...options, taskQueue: ownQueue, isForgetful });
      const failures = async (): Promise<string[]> => {
        const { events } = await workflow.fetchHistory();
        return (events ?? []).flatMap(({ workflowTaskFailedEventAttributes: failed }) =>
          failed ? [JSON.stringify(failed.failure)] : [],
        );
      };
      const spentUsd = async (): Promise<string> => (await stack.books(tenantId)).spentUsd;

      let careless = await startCareless(true);
      const workflow = await stack.temporal.workflow.start('careless', {
        ...{ workflowId: `careless/${randomUUID()}`, taskQueue: ownQueue },
        args: [{ tenantId }],
      });
      await until('its first task fails', async () => (await failures()).length > 0);
      expect((await failures())[0]).toMatch(/BudgetActivitiesMissingError.*budgetForOwnWorker\(\{ … \}\)\.activities/);
      const { events } = await workflow.fetchHistory();
      expect(
        events?.filter((event) => event.markerRecordedEventAttributes ?? event.activityTaskScheduledEventAttributes),
      ).toEqual([]);
      await stopWorker(careless);
      careless = await startCareless(false);
      await until('the first step is paid', async () => (await spentUsd()) === '0.005');
      // Only the first attempt at a task is recorded as failed: what comes next must be a new one.
      await until('the workflow waits for the signal', async () => {
        const last = (await workflow.fetchHistory()).events?.at(-1);
        return !!last?.workflowTaskCompletedEventAttributes;
      });
      await stopWorker(careless);

      careless = await startCareless(true);
      await workflow.signal('more');
      await until('the task of the signal fails', async () => (await failures()).length > 1);
      await stopWorker(careless);
      await startCareless(false);
      expect(await workflow.result()).toEqual(['position of a', 'position of b']);
      expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0.01', reservedUsd: '0', openReservations: 0 });
    });
  });
});
