import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { until } from '../support/stack';

const bootstrap = path.join(__dirname, '..', '..', 'scripts', 'bootstrap.cjs');

interface Started {
  child: ChildProcess;
  output: () => string;
  ended: Promise<number | null>;
}

describe('npm start', () => {
  let dataDir: string;
  beforeAll(() => {
    dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-start-'));
  });
  afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

  const start = (...args: string[]): Started => startWith({}, ...args);
  function startWith(more: Record<string, string>, ...args: string[]): Started {
    const child = spawn(process.execPath, [bootstrap, 'start', ...args], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SPENDLOCK_DATA_DIR: dataDir, ...more },
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

  test('with --budget ends denied, says so by its exit status, and spends no more than the budget, also when ports are busy', async () => {
    // The preferred port of Temporal, unless somebody else has it already.
    const busy = createServer().listen(7233, '127.0.0.1');
    busy.on('error', () => undefined);
    const run = start('--once', '--json', '--budget', '0.01');
    expect(await run.ended).toBe(3);
    busy.close();
    const summary = JSON.parse(lastLine(run.output())) as {
      status: string;
      costUsd: string;
      quota: { limitUsd: string; spentUsd: string; reservedUsd: string };
      steps: Record<string, unknown>[];
    };
    expect(summary).toMatchObject({
      status: 'quota_exceeded',
      quota: { limitUsd: '0.01', spentUsd: summary.costUsd, reservedUsd: '0' },
    });
    expect(Number(summary.costUsd)).toBeLessThanOrEqual(0.01);
    expect(Object.keys(summary.steps[0] ?? {}).sort()).toEqual(
      ['operationId', 'kind', 'resource', 'reservedUsd', 'committedUsd', 'settlement'].sort(),
    );
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
    expect(JSON.parse(lastLine(run.output()))).toMatchObject({ status: 'completed', quota: { reservedUsd: '0' } });
    rmSync(own, { recursive: true, force: true });
  });

  test('runs the user’s own task on the user’s own file, keeps serving, and leaves no process when it is killed', async () => {
    const file = path.join(dataDir, 'my file.csv');
    writeFileSync(file, 'city,people\nUlm,126\nBonn,330\n');
    const run = start('--task', 'How many people?', '--file', file);
    await until('it serves', () => run.output().includes('Serving until Ctrl-C'), 90_000);
    expect(run.output()).toContain('people: number, 126 to 330, mean 228');
    expect(run.output()).toContain('all that a stand-in can do');
    expect(run.output()).toMatch(/STAND-IN/);
    const supervisor = Number.parseInt(readFileSync(path.join(dataDir, 'services.pid'), 'utf8'));
    const second = start('--once');
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain('Spendlock already runs on the data');
    const children = run.child.pid === undefined ? [] : [run.child.pid];
    for (const pid of children) process.kill(pid, 'SIGTERM');
    await run.ended;
    await until('the services are gone', () => !isAlive(supervisor));
  });

  test.each([
    [['--budget', '-1'], /not an amount|negative|"-1"/],
    [['--budget', 'NaN'], /NaN/],
    [['--task', 'x', '--file', '/no/such/file'], /\/no\/such\/file/],
    [['--file', 'x'], /--task/],
    [['--task', 'x', '--file', process.execPath], /\S+ is no text that can be read: it is binary/],
    [['--bugdet', '1'], /bugdet/],
  ])('used wrongly (%j) says how, starts nothing, and ends with status 2', async (args, message) => {
    const run = start('--once', ...args);
    expect(await run.ended).toBe(2);
    expect(run.output()).toMatch(message);
    expect(run.output()).not.toContain('Temporal and Postgres');
  });
});
