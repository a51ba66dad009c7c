/**
 * What the Dockerfile puts into the image, laid out in a folder, and its commands run there: no container is needed to see
 * that a folder or a package is missing.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createSpendlockClient } from '../../client';
import { freePort } from '../../scripts/embedded/ports';
import { testAppPassword } from '../support/database';
import { TestStack, until } from '../support/stack';

const root = path.join(__dirname, '..', '..');
const linesOf = (file: string): string[] => readFileSync(path.join(root, file), 'utf8').split('\n');

/** What is copied from the repository, as pairs of where from and where to. */
const copied = linesOf('Dockerfile').flatMap((line) => {
  const words = line.split(' ');
  if (words[0] !== 'COPY' || line.includes('--from')) return [];
  const to = words.at(-1) ?? '';
  return words.slice(1, -1).map((from) => ({ from, to: to.endsWith('/') ? path.join(to, path.basename(from)) : to }));
});

/** Hard links, or copies where the folder is on another disk. */
function link(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true });
  try {
    execFileSync('cp', ['-al', from, to], { stdio: 'ignore' });
  } catch {
    execFileSync('cp', ['-a', from, to]);
  }
}

describe('the image', () => {
  const image = mkdtempSync(path.join(tmpdir(), 'spendlock-image-'));
  const processes: ChildProcess[] = [];
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterAll(async () => {
    for (const child of processes.filter(({ exitCode }) => exitCode === null)) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    await stack.stop();
    rmSync(image, { recursive: true, force: true });
  });

  test('may copy what the Dockerfile copies', () => {
    const allowed = linesOf('.dockerignore').flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
    expect(copied.length).toBeGreaterThan(10);
    expect(copied.map(({ from }) => from).filter((from) => !allowed.includes(from))).toEqual([]);
    expect(allowed.filter((name) => !copied.some(({ from }) => from === name))).toEqual([]);
  });

  test('migrates, serves the API, the dashboard and the proxy, and carries a run out', async () => {
    for (const { from, to } of copied) cpSync(path.join(root, from), path.join(image, to), { recursive: true });
    const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dev?: boolean }>;
    };
    // What `npm ci --omit=dev` would install; one that is not there is for another platform. A package within another comes with it.
    for (const [name, { dev }] of Object.entries(packages))
      if (dev !== true && /^node_modules\/(@[^/]+\/)?[^/]+$/.test(name) && existsSync(path.join(root, name)))
        link(path.join(root, name), path.join(image, name));

    const run = (command: string, environment: NodeJS.ProcessEnv): { child: ChildProcess; said: () => string } => {
      const { PATH, HOME } = process.env;
      const child = spawn(process.execPath, ['scripts/run.cjs', ...command.split(' ')], {
        cwd: image,
        env: { PATH, HOME, NODE_ENV: 'production', ...environment },
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()));
      processes.push(child);
      return { child, said: () => said };
    };
    const migration = run('scripts/migrate.ts', {
      DATABASE_ADMIN_URL: stack.database.adminUrl,
      SPENDLOCK_APP_PASSWORD: testAppPassword,
    });
    await once(migration.child, 'exit');
    expect(migration.said()).toContain('The schema is up to date.');

    const port = await freePort();
    const api = run('api/main.ts', { ...stack.workerEnvironment, API_PORT: String(port) });
    const worker = run('workers/main.ts', stack.workerEnvironment);
    const baseUrl = `http://127.0.0.1:${port}`;
    const isReady = async (): Promise<boolean> =>
      (await fetch(`${baseUrl}/readyz`).catch(() => undefined))?.ok ?? false;
    await until(`the API is ready`, isReady).catch(() => {
      throw new Error(`The API is not ready. It said:\n${api.said()}`);
    });
    const page = await (await fetch(baseUrl)).text();
    expect(page).toContain('/dashboard/main.js');
    for (const file of ['/dashboard/main.js', '/docs', '/docs/reference.js', '/docs/reference.css'])
      expect((await fetch(`${baseUrl}${file}`)).status).toBe(200);

    const proxy = run('api/proxy/main.ts', { ...stack.workerEnvironment, PROXY_PORT: '0' });
    await until('the proxy has started', () => proxy.said().includes('proxy started'));

    const first = run('cli/main.ts keys first --json', stack.workerEnvironment);
    await once(first.child, 'exit');
    const { apiKey } = JSON.parse(first.said()) as { apiKey: string };
    const client = createSpendlockClient({ baseUrl, apiKey });
    const { tenantId } = await client.tenants.create({ tenantId: `image-${randomUUID().slice(0, 8)}` });
    // Until the worker has registered its search attributes Temporal takes no run; the answer says to ask again.
    const start = { tenantId, task: 'Say something.', idempotencyKey: randomUUID() };
    const started = until('the run began', () => client.runs.start(start).catch(() => undefined));
    const { runId } = await started.catch(() => {
      throw new Error(`The run did not begin. The API said:\n${api.said()}`);
    });
    const ended = until('the run ended', async () => (await client.runs.get(runId, tenantId)).status === 'completed');
    await ended.catch(() => {
      throw new Error(`The run did not end. The worker said:\n${worker.said()}`);
    });
  });
});
