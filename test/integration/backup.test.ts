/** Backup of an installation that works on meanwhile, and its restore: to a machine whose Temporal knows of nothing. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { parseUsd, formatUsd, sumUsd } from '../../core/money';
import { until } from '../support/stack';

const bootstrap = path.join(__dirname, '..', '..', 'scripts', 'bootstrap.cjs');
const tenantId = 'kept';

interface Installation {
  child: ChildProcess;
  call: (method: string, where: string, body?: object) => Promise<{ status: number; body: Record<string, unknown> }>;
  stop: () => Promise<void>;
}

describe('a backup', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-backup-'));
  const running: Installation[] = [];
  afterAll(async () => {
    for (const installation of running) await installation.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
  });

  const environment = (dataDir: string) => ({
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    SPENDLOCK_DATA_DIR: dataDir,
  });
  const run = (dataDir: string, ...args: string[]) =>
    promisify(execFile)(process.execPath, [bootstrap, ...args], { env: environment(dataDir) });

  async function start(dataDir: string): Promise<Installation> {
    const child = spawn(process.execPath, [bootstrap, 'start'], {
      env: environment(dataDir),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
    await until('it serves', () => output.includes('Serving until Ctrl-C'), 90_000).catch((error: Error) => {
      throw new Error(`${error.message}\n${output}`);
    });
    const { apiUrl, apiKey } = JSON.parse(readFileSync(path.join(dataDir, 'api.json'), 'utf8')) as Record<
      string,
      string
    >;
    const installation: Installation = {
      child,
      async call(method, where, body) {
        const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
        const response = await fetch(`${apiUrl}${where}`, {
          method,
          headers,
          ...(body ? { body: JSON.stringify(body) } : {}),
        });
        return { status: response.status, body: (await response.json()) as Record<string, unknown> };
      },
      async stop() {
        if (child.exitCode !== null) return;
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      },
    };
    running.push(installation);
    return installation;
  }

  /** Reserves and commits; answers the operation once its commit was acknowledged. */
  async function pay({ call }: Installation): Promise<string> {
    const operationId = randomUUID();
    const reserved = await call('POST', '/v1/reservations', {
      operationId,
      tenantId,
      resource: 'llm',
      amountUsd: '0.02',
    });
    if (reserved.status !== 201) throw new Error(JSON.stringify(reserved.body));
    const done = await call('POST', `/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '0.013' });
    if (done.status !== 200) throw new Error(JSON.stringify(done.body));
    return operationId;
  }
  const committed = async ({ call }: Installation, operationId: string): Promise<string | undefined> => {
    const { status, body } = await call('GET', `/v1/reservations/${operationId}?tenantId=${tenantId}`);
    return status === 200 ? String(body.committedUsd) : undefined;
  };

  test('has all that was settled before it began and nothing from after it, its books balance, and work goes on', async () => {
    const [first, second, to] = ['first', 'second', 'backup'].map((name) => path.join(folder, name)) as [
      string,
      string,
      string,
    ];
    const source = await start(first);
    await source.call('POST', '/v1/tenants', { tenantId });
    const before: string[] = [];
    for (let at = 0; at < 20; at += 1) before.push(await pay(source));
    const held = randomUUID();
    await source.call('POST', '/v1/reservations', {
      operationId: held,
      tenantId,
      resource: 'llm',
      amountUsd: '0.5',
      ttlSeconds: 3_600,
    });
    await until('the last is in the ledger', async () => (await committed(source, before.at(-1) ?? '')) === '0.013');

    // It is paid on while the copy is made.
    let goesOn = true;
    const during: string[] = [];
    const load = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (goesOn) during.push(await pay(source));
      }),
    );
    const { stdout } = await run(first, 'backup', '--to', to);
    expect(stdout).toContain('as of the end of the copy');
    goesOn = false;
    await load;
    const after: string[] = [];
    for (let at = 0; at < 10; at += 1) after.push(await pay(source));
    await source.stop();
    expect(during.length).toBeGreaterThan(5);

    await run(second, 'restore', '--from', to);
    const target = await start(second);
    for (const operationId of before) expect(await committed(target, operationId)).toBe('0.013');
    for (const operationId of after) expect(await committed(target, operationId)).toBeUndefined();
    const books = async (): Promise<{ spentUsd: string; reservedUsd: string; ledgerUsd: string; dailyUsd: string }> => {
      const quotas = (await target.call('GET', `/v1/tenants/${tenantId}/quotas`)).body.quotas as Record<
        string,
        string
      >[];
      const all = quotas.find(({ resourceType }) => resourceType === 'all');
      const records = (await target.call('GET', `/v1/cost-records?tenantId=${tenantId}&limit=1000`)).body.records as {
        amountUsd: string;
      }[];
      const usage = (await target.call('GET', `/v1/usage?tenantId=${tenantId}&groupBy=day`)).body as {
        costUsd: string;
      };
      const ledgerUsd = formatUsd(sumUsd(records.map(({ amountUsd }) => parseUsd(amountUsd))));
      return { spentUsd: all?.spentUsd ?? '', reservedUsd: all?.reservedUsd ?? '', ledgerUsd, dailyUsd: usage.costUsd };
    };
    // What was claimed and paid at the moment of the copy is folded as soon as its authority wakes.
    const next = await pay(target);
    await until('all is folded', async () => (await committed(target, next)) === '0.013');
    const { spentUsd, ledgerUsd, dailyUsd, reservedUsd } = await books();
    expect([spentUsd, dailyUsd]).toEqual([ledgerUsd, ledgerUsd]);
    expect(parseUsd(reservedUsd)).toBeGreaterThanOrEqual(parseUsd('0.5'));
    expect((await target.call('GET', `/v1/reservations/${held}?tenantId=${tenantId}`)).body).toMatchObject({
      status: 'granted',
    });
    await target.stop();
  });

  test('is not made over another, nor restored over data, nor taken for one when it broke off', async () => {
    const dataDir = path.join(folder, 'first');
    await expect(run(dataDir, 'backup', '--to', path.join(folder, 'backup'))).rejects.toThrow('is there already');
    await expect(run(dataDir, 'restore', '--from', path.join(folder, 'backup'))).rejects.toThrow(
      'has a database already',
    );
    await expect(run(path.join(folder, 'third'), 'restore', '--from', dataDir)).rejects.toThrow('is no backup');
    expect(existsSync(path.join(folder, 'third'))).toBe(false);
    // Of an installation that rests.
    await run(dataDir, 'backup', '--to', path.join(folder, 'cold'));
    expect(JSON.parse(readFileSync(path.join(folder, 'cold', 'manifest.json'), 'utf8'))).toMatchObject({
      wasRunning: false,
    });
  });
});
