/** What `npm start` leaves behind when it is stopped, and how long that takes, when what it runs does not want to end. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { startPostgres } from '../../scripts/embedded/postgres';
import { until } from '../support/stack';

const bootstrap = path.join(__dirname, '..', '..', 'scripts', 'bootstrap.cjs');
/** What is promised of a stop, and what a busy machine may add. */
const stopMaxMs = 60_000 + 15_000;

interface Process {
  pid: number;
  parent: number;
  state: string;
  line: string;
}

const processes = (): Process[] =>
  execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8', maxBuffer: 10_000_000 })
    .split('\n')
    .flatMap((line) => {
      const [, pid, parent, state, args] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
      return pid ? [{ pid: Number(pid), parent: Number(parent), state: state ?? '', line: args ?? '' }] : [];
    });

function descendants(of: number): Process[] {
  const all = processes();
  const below = (pid: number): Process[] =>
    all.filter(({ parent }) => parent === pid).flatMap((child) => [child, ...below(child.pid)]);
  return below(of);
}

const isAlive = (pid: number): boolean => processes().some((one) => one.pid === pid && !one.state.startsWith('Z'));

describe('a stop of npm start', () => {
  let dataDir: string;
  let child: ChildProcess;
  let ended: Promise<unknown>;
  let output: string;
  const clients: Client[] = [];
  const stopped: number[] = [];
  let asking: AbortController;

  beforeEach(async () => {
    dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-stop-'));
    output = '';
    asking = new AbortController();
    child = spawn(process.execPath, [bootstrap, 'start'], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SPENDLOCK_DATA_DIR: dataDir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    ended = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => (output += data.toString()));
    await until('it serves', () => output.includes('Serving until Ctrl-C') || child.exitCode !== null, 120_000);
    expect(output).toContain('Serving until Ctrl-C');
  });
  afterEach(async () => {
    asking.abort();
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
    for (const pid of stopped.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGCONT');
    if (child.exitCode === null) child.kill('SIGKILL');
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 20 });
  });

  const readData = (...names: string[]): string => readFileSync(path.join(dataDir, ...names), 'utf8').trim();
  async function connect(): Promise<Client> {
    const port = Number(readData('postgres', 'postmaster.pid').split('\n')[3]);
    const password = readData('postgres-password');
    const client = new Client({ host: '127.0.0.1', port, user: 'postgres', password, database: 'postgres' });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  }
  const pause = (pid: number): void => {
    process.kill(pid, 'SIGSTOP');
    stopped.push(pid);
  };
  /** Everything hangs: requests and event streams wait for a lock, a connection's process does not move, nor does the worker. */
  async function makeAllHang(): Promise<Process[]> {
    const { apiUrl, apiKey } = JSON.parse(readData('api.json')) as { apiUrl: string; apiKey: string };
    const headers = { authorization: `Bearer ${apiKey}` };
    const holder = await connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE copilot_internal.tenants, copilot_internal.cost_quotas, copilot_internal.api_keys');
    // A request that is told that the database is slow comes back at once. The signal is this test's: the next test has its own.
    const { signal } = asking;
    const keepAsking = async (): Promise<void> => {
      while (!signal.aborted) {
        await fetch(`${apiUrl}/v1/tenants/demo/quotas`, { headers, signal: AbortSignal.any([signal]) }).catch(
          () => undefined,
        );
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    for (let at = 0; at < 12; at += 1) void keepAsking();
    const watcher = await connect();
    await until('requests wait for the lock', async () => {
      const { rows } = await watcher.query<{ waiting: number }>(
        "SELECT count(*)::integer AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
      );
      return (rows[0]?.waiting ?? 0) > 0;
    });
    const { rows } = await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    pause(rows[0]?.pid ?? 0);
    const all = descendants(child.pid ?? 0);
    const worker = all.find(({ line }) => line.includes('workers/main.ts'));
    pause(worker?.pid ?? 0);
    expect(all.filter(({ line }) => /postgres|temporal|supervisor|workers\/main/.test(line)).length).toBeGreaterThan(4);
    return all;
  }

  test('XB3: ends within a minute while requests, transactions, the worker and a connection of Postgres hang, and leaves nothing', async () => {
    const all = await makeAllHang();
    const startedMs = Date.now();
    child.kill('SIGTERM');
    await ended;
    expect(Date.now() - startedMs).toBeLessThan(stopMaxMs);
    expect(all.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(output).toContain('Stopped. The data is kept');
  });

  test('XB3: a second Ctrl-C does not wait, and nothing is left behind then either', async () => {
    const all = await makeAllHang();
    child.kill('SIGTERM');
    await until('it stops', () => output.includes('Stopping …'));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const startedMs = Date.now();
    child.kill('SIGTERM');
    await ended;
    expect(Date.now() - startedMs).toBeLessThan(5_000);
    await until('all are gone', () => all.every(({ pid }) => !isAlive(pid)), 30_000);
    expect(output).toContain('Stopped at once');
  });

  test('a supervisor that is killed is noticed, and Postgres and Temporal are not left behind', async () => {
    const all = descendants(child.pid ?? 0);
    for (const { pid, line } of all) if (line.includes('embedded/supervisor')) process.kill(pid, 'SIGKILL');
    await ended;
    expect(output).toMatch(/process that runs Postgres and Temporal ended \(SIGKILL\)/);
    await until('all are gone', () => all.every(({ pid }) => !isAlive(pid)), 30_000);
  });

  test('what a start left running whose supervisor was killed too is ended by the next one, which finds its data', async () => {
    const all = descendants(child.pid ?? 0);
    const services = all.filter(({ line }) => /postgres -D|start-dev/.test(line));
    expect(services).toHaveLength(2);
    // The one that would end the others first.
    for (const named of ['embedded/supervisor', 'scripts/start.ts', 'workers/main.ts'])
      for (const { pid, line } of all) if (line.includes(named)) process.kill(pid, 'SIGKILL');
    await ended;
    expect(isAlive(services.find(({ line }) => line.includes('postgres'))?.pid ?? 0)).toBe(true);
    // Its number belongs to somebody else by now.
    const [, ...rest] = readData('services.pid').split('\n');
    writeFileSync(path.join(dataDir, 'services.pid'), [process.pid, ...rest].join('\n'));
    output = '';
    child = spawn(process.execPath, [bootstrap, 'start', '--once'], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SPENDLOCK_DATA_DIR: dataDir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    ended = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => (output += data.toString()));
    await ended;
    expect({ status: child.exitCode, output }).toMatchObject({ status: 0 });
    expect(output).toMatch(/Postgres was still running/);
    for (const { pid } of services) expect(isAlive(pid)).toBe(false);
  });

  test('XC4: its administration key is revoked, and that of a start that was killed is at the next start', async () => {
    const keyOf = (): string => (JSON.parse(readData('api.json')) as { apiKey: string }).apiKey;
    const killed = keyOf();
    const services = Number.parseInt(readData('services.pid'));
    // The process of the start itself is the child of the one that installs.
    for (const { pid, line } of descendants(child.pid ?? 0))
      if (line.includes('scripts/start.ts')) process.kill(pid, 'SIGKILL');
    await ended;
    await until('its services are gone', () => !isAlive(services), 60_000);
    // One that is killed earlier leaves an empty file.
    writeFileSync(path.join(dataDir, 'app-password'), '');

    child = spawn(process.execPath, [bootstrap, 'start'], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SPENDLOCK_DATA_DIR: dataDir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    ended = once(child, 'exit');
    output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => (output += data.toString()));
    await until('it serves again', () => output.includes('Serving until Ctrl-C'), 120_000);
    // The example ran at the first start.
    expect(output).toContain('npm start -- --example runs the example again');
    expect(output).not.toContain('Task:');
    const { apiUrl, apiKey } = JSON.parse(readData('api.json')) as { apiUrl: string; apiKey: string };
    const statusOf = async (key: string): Promise<number> =>
      (await fetch(`${apiUrl}/v1/keys`, { headers: { authorization: `Bearer ${key}` } })).status;
    expect(await statusOf(killed)).toBe(401);
    expect(await statusOf(apiKey)).toBe(200);
    const { keys } = (await (
      await fetch(`${apiUrl}/v1/keys`, { headers: { authorization: `Bearer ${apiKey}` } })
    ).json()) as { keys: { label: string; revokedAt: string | null }[] };
    expect(keys.filter(({ label, revokedAt }) => label === 'npm start' && revokedAt === null)).toHaveLength(1);
    // To the process that installs alone, as whoever supervises it does.
    child.kill('SIGINT');
    await ended;
    expect(output).toContain('Stopped. The data is kept');

    // In the database, when nothing runs any more.
    const seen = await keysInDatabase();
    expect(seen.length).toBeGreaterThanOrEqual(2);
    expect(seen.filter(({ revoked }) => !revoked)).toEqual([]);
  });

  test.each([
    [
      'the terminal is closed',
      () =>
        descendants(child.pid ?? 0)
          .filter(({ line }) => line.includes('start.ts'))
          .forEach(({ pid }) => process.kill(pid, 'SIGHUP')),
    ],
    [
      'nobody reads what it says any more',
      () => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        child.kill('SIGTERM');
      },
    ],
  ])('is the same when %s: everything ends in its order, and the key is revoked', async (_when, close) => {
    const all = descendants(child.pid ?? 0);
    close();
    await ended;
    await until('all are gone', () => all.every(({ pid }) => !isAlive(pid)), 60_000);
    expect(readData('spendlock.log')).toMatch(/"signal":"SIGTERM".*draining[^]*worker stopped/);
    expect((await keysInDatabase()).filter(({ revoked }) => !revoked)).toEqual([]);
  });

  async function keysInDatabase(): Promise<{ revoked: boolean }[]> {
    const postgres = await startPostgres({ dataDir, preferredPort: 0, log: () => undefined });
    const client = await connect();
    const { rows } = await client.query<{ revoked: boolean }>(
      "SELECT revoked_at <= now() IS TRUE AS revoked FROM copilot_internal.api_keys WHERE label = 'npm start'",
    );
    await client.end();
    await postgres.stop();
    return rows;
  }
});
