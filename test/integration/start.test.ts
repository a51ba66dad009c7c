import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../scripts/embedded/ports';
import { builtPackage } from '../support/built-package';
import { until } from '../support/stack';

const root = path.join(__dirname, '..', '..');
const bootstrap = path.join(root, 'scripts', 'bootstrap.cjs');

interface Started {
  child: ChildProcess;
  output: () => string;
  ended: Promise<number | null>;
}

describe('npm start', () => {
  let dataDir: string;
  let stateDir: string;
  beforeAll(async () => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'spendlock-state-'));
    dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-start-'));
    // As a start before left it, but for Temporal's: the usual ports are taken and given back by other test files.
    const kept = { postgres: await freePort(), temporalUi: await freePort(), api: await freePort() };
    writeFileSync(path.join(dataDir, 'ports.json'), JSON.stringify(kept));
  });
  afterAll(() => {
    for (const folder of [dataDir, stateDir]) rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
  });

  const start = (...args: string[]): Started => startWith({}, ...args);
  function startWith(more: Record<string, string>, ...args: string[]): Started {
    const child = spawn(process.execPath, [bootstrap, 'start', ...args], {
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        XDG_STATE_HOME: stateDir,
        SPENDLOCK_DATA_DIR: dataDir,
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
    return { child, output: () => output, ended: once(child, 'exit').then(([code]) => code as number | null) };
  }
  const lastLine = (output: string): string => output.trim().split('\n').at(-1) ?? '';
  const isAlive = (pid: number): boolean => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  };

  interface Summary {
    status: string;
    answer: string | null;
    failure: { code: string; message: string } | null;
    denial: { resource: string; quota: Record<string, string> } | null;
    costUsd: string;
    quota: Record<string, string> | null;
    steps: Record<string, unknown>[];
  }
  const summaryOf = (run: Started): Summary => JSON.parse(lastLine(run.output())) as Summary;
  const readData = <T>(name: string): T => JSON.parse(readFileSync(path.join(dataDir, name), 'utf8')) as T;
  /** What is asked of the API of a start that serves. */
  async function ask<T>(where: string): Promise<T> {
    const { apiUrl, apiKey } = readData<{ apiUrl: string; apiKey: string }>('api.json');
    const response = await fetch(`${apiUrl}${where}`, { headers: { authorization: `Bearer ${apiKey}` } });
    return (await response.json()) as T;
  }

  test('XE15: with --budget ends denied, tells a program by which quota, spends no more than it, and says which busy port it left', async () => {
    // The preferred port of Temporal, unless somebody else has it already.
    const busy = createServer().listen(7233, '127.0.0.1');
    busy.on('error', () => undefined);
    const run = start('--once', '--json', '--budget', '0.01');
    expect(await run.ended).toBe(3);
    busy.close();
    const { temporal } = readData<{ temporal: number }>('ports.json');
    expect(run.output()).toContain(
      `Port 7233 (Temporal's by default) is in use by another program: ${temporal} was taken instead`,
    );
    const summary = summaryOf(run);
    expect(summary).toMatchObject({
      status: 'quota_exceeded',
      answer: null,
      failure: { code: 'quota_exceeded', message: expect.stringContaining('$0.01') as string },
      denial: {
        resource: expect.stringMatching(/llm|e2b/) as string,
        quota: { scope: 'tenant', resourceType: 'all', period: 'month', limitUsd: '0.01' },
      },
      quota: { limitUsd: '0.01', spentUsd: summary.costUsd, reservedUsd: '0' },
    });
    expect(Number(summary.costUsd)).toBeLessThanOrEqual(0.01);
    expect(Object.keys(summary.steps[0] ?? {}).sort()).toEqual(
      ['operationId', 'kind', 'resource', 'reservedUsd', 'committedUsd', 'settlement'].sort(),
    );
  });

  test('XE15: with --budget 0 is denied before the run is started, with the same status and the same object', async () => {
    const run = start('--once', '--json', '--budget', '0');
    expect(await run.ended).toBe(3);
    const quota = { scope: 'tenant', limitUsd: '0', spentUsd: '0', remainingUsd: '0' };
    expect(summaryOf(run)).toMatchObject({ status: 'quota_exceeded', denial: { resource: 'llm', quota }, steps: [] });
  });

  test('XE15: spends nothing by a real key unasked, says which provider cannot be reached, and serves without a run', async () => {
    const own = mkdtempSync(path.join(tmpdir(), 'spendlock-start-'));
    const real = { ANTHROPIC_API_KEY: 'none', ANTHROPIC_BASE_URL: 'http://127.0.0.1:9', SPENDLOCK_DATA_DIR: own };
    const unasked = startWith(real, '--once');
    expect(await unasked.ended).toBe(2);
    expect(unasked.output()).toContain('ANTHROPIC_API_KEY is set, so a run may cost real money');

    const run = startWith(real, '--example');
    await until('it serves', () => run.output().includes('Serving until Ctrl-C'), 90_000);
    const said = run.output();
    expect(said).toMatch(/Anthropic cannot be reached at http:\/\/127\.0\.0\.1:9 \(.*\)\. Check the network/);
    // It is told while everything else starts, not after it.
    expect(said.indexOf('Anthropic cannot be reached')).toBeLessThan(said.indexOf('✔ worker'));
    expect(said).toContain('The run was not started; nothing was spent.');
    run.child.kill('SIGTERM');
    expect(await run.ended).toBe(1);
    rmSync(own, { recursive: true, force: true, maxRetries: 20 });
  });

  test('is not led astray by an environment that is for another Temporal, and encrypts where there are keys', async () => {
    // What was encrypted cannot be gone on with once the key is gone: this installation is of its own.
    const own = mkdtempSync(path.join(tmpdir(), 'spendlock-start-'));
    const run = startWith(
      {
        SPENDLOCK_DATA_DIR: own,
        TEMPORAL_ADDRESS: 'elsewhere.example:7233',
        TEMPORAL_TLS: 'true',
        TEMPORAL_API_KEY: 'of-another-server',
        SPENDLOCK_BUILD_ID: 'nobody-promotes-it',
        SPENDLOCK_PAYLOAD_KEYS: `test:${randomBytes(32).toString('base64')}`,
      },
      '--once',
      '--json',
    );
    expect(await run.ended).toBe(0);
    const answer = expect.stringContaining('earned the most') as string;
    expect(summaryOf(run)).toMatchObject({ status: 'completed', answer, failure: null, quota: { reservedUsd: '0' } });
    rmSync(own, { recursive: true, force: true, maxRetries: 20 });
  });

  test('runs the user’s own task on the user’s own file, keeps serving, and leaves no process when it is killed', async () => {
    const file = path.join(dataDir, 'meine Städte & mehr.csv');
    writeFileSync(file, Buffer.from('\ufeffcity;people\r\nUlm;126\r\nBonn;330\r\n', 'utf16le'));
    const ports = readData('ports.json');
    const run = start('--task', 'How many people?', '--file', file);
    await until('it serves', () => run.output().includes('Serving until Ctrl-C'), 90_000);
    expect(run.output()).toContain('people: number, 126 to 330, mean 228');
    expect(run.output()).toContain('File: meine Städte & mehr.csv');
    expect(run.output()).toContain('all that a stand-in can do');
    expect(run.output()).toMatch(/STAND-IN/);
    // The addresses of the start before still hold, and its tenants are gone.
    expect(readData('ports.json')).toEqual(ports);
    const { tenants } = await ask<{ tenants: { tenantId: string }[] }>('/v1/tenants');
    expect(tenants.map(({ tenantId }) => tenantId)).toEqual(['demo']);
    for (const said of [`${dataDir}/spendlock.log`, 'npx spendlock runs start demo', 'Dashboard', 'Temporal UI'])
      expect(run.output()).toContain(said);
    await usesEnvironment();
    const supervisor = Number.parseInt(readFileSync(path.join(dataDir, 'services.pid'), 'utf8'));
    const second = start('--once');
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain('Spendlock already runs on the data');
    run.child.kill('SIGTERM');
    await run.ended;
    await until('the services are gone', () => !isAlive(supervisor));
  });

  test('is stopped while its worker starts: at once, and says so', async () => {
    const run = start('--json');
    await until('the worker is next', () => run.output().includes('✔ migrations'), 90_000);
    run.child.kill('SIGTERM');
    expect(await run.ended).toBe(130);
    expect(summaryOf(run)).toMatchObject({ status: 'interrupted', failure: { message: 'Stopped while starting.' } });
    expect(run.output()).not.toMatch(/✔ (worker|API)/);
  });

  /** A worker and a client of one's own, in a folder that has the built package, from what `npx spendlock env` prints. */
  async function usesEnvironment(): Promise<void> {
    mkdirSync(path.join(root, '.spendlock'), { recursive: true });
    const folder = mkdtempSync(path.join(root, '.spendlock', 'own-'));
    try {
      cpSync(await builtPackage(), path.join(folder, 'node_modules', 'spendlock'), { recursive: true });
      writeFileSync(path.join(folder, 'package.json'), '{ "name": "own", "private": true }');
      for (const name of [path.join('examples', 'paid-api'), path.join('test', 'support', 'own-program.ts')])
        cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
      const printed = `"${process.execPath}" "${path.join(root, 'cli', 'spendlock.cjs')}" env`;
      const program = path.join(folder, 'test', 'support', 'own-program.ts');
      const env = { PATH: process.env.PATH, HOME: process.env.HOME, SPENDLOCK_DATA_DIR: dataDir };
      const sh = (command: string) => promisify(execFile)('sh', ['-c', command], { env, cwd: folder });
      const { stdout } = await sh(
        `eval "$(${printed})" && "${process.execPath}" "${path.join(root, 'scripts', 'run.cjs')}" "${program}"`,
      );
      const position = 'here';
      expect(JSON.parse(lastLine(stdout))).toEqual({
        reserved: '0.05',
        located: { located: ['a', 'b'].map((address) => ({ address, position })) },
      });
      const variables = JSON.parse((await sh(`${printed} --format json`)).stdout) as Record<string, string>;
      const lines = (await sh(`${printed} --format dotenv`)).stdout.trim().split('\n');
      expect(lines).toEqual(Object.entries(variables).map(([name, value]) => `${name}='${value}'`));
      // The package, which no start is of, finds the one that runs, and says which.
      const found = await promisify(execFile)(
        process.execPath,
        [path.join('node_modules', 'spendlock', 'lib', 'cli.js'), 'env', '--json'],
        { cwd: folder, env: { PATH: process.env.PATH, HOME: process.env.HOME, XDG_STATE_HOME: stateDir } },
      );
      expect(JSON.parse(found.stdout)).toEqual(variables);
      expect(found.stderr).toContain(`the npm start whose data is in ${dataDir}.`);
    } finally {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
    }
  }

  test.each([
    [['--budget', '-1'], /not an amount|negative|"-1"/],
    [['--budget', 'NaN'], /NaN/],
    [['--task', 'x', '--file', '/no/such/file'], /\/no\/such\/file/],
    [['--file', 'x'], /--task/],
    [['--task', 'x', '--file', process.execPath], /\S+ is no text that can be read: it is binary/],
    [['--bugdet', '1'], /bugdet/],
    [['--example', '--task', 'x'], /--example and --task/],
  ])('used wrongly (%j) says how, starts nothing, and ends with status 2', async (args, message) => {
    const run = start('--once', ...args);
    expect(await run.ended).toBe(2);
    expect(run.output()).toMatch(message);
    expect(run.output()).not.toContain('Temporal and Postgres');
  });
});
