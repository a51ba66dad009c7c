/** The processes of a benchmark: a worker, APIs and clients, each of its own. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { localEnvironment } from '../embedded/local-environment';
import { freePort } from '../embedded/ports';
import type { Backend } from './api-process';
import type { LoadOrder, LoadResult } from './load-process';

export class BenchProcesses {
  private readonly children: ChildProcess[] = [];

  async startWorker(
    databaseUrl: string,
    temporalAddress: string,
    more: Record<string, string> = {},
  ): Promise<ChildProcess> {
    const worker = this.start(
      path.join('..', '..', 'workers', 'main.ts'),
      {},
      { ...workerEnvironment(databaseUrl, temporalAddress), ...more },
    );
    await once(worker, 'message');
    return worker;
  }

  async startApi(order: {
    backend: Backend;
    databaseUrl: string;
    address: string;
  }): Promise<{ api: ChildProcess; url: string }> {
    const api = this.start('api-process.ts', order);
    const [{ url }] = (await once(api, 'message')) as [{ url: string }];
    return { api, url };
  }

  /** A stand-in for Anthropic. @returns its address. */
  async startModel(): Promise<string> {
    const [{ url }] = (await once(this.start('model-process.ts', {}), 'message')) as [{ url: string }];
    return url;
  }

  /** The wire proxy alone, as in production. */
  async startProxy(environment: Record<string, string>): Promise<{ proxy: ChildProcess; url: string }> {
    const port = await freePort();
    const proxy = this.start(
      path.join('..', '..', 'api', 'proxy', 'main.ts'),
      {},
      { LOG_LEVEL: 'warn', PROXY_PORT: String(port), SPENDLOCK_SHUTDOWN_SECONDS: '1', ...environment },
    );
    const url = `http://127.0.0.1:${port}`;
    for (let tried = 0; tried < 300; tried += 1) {
      if (proxy.exitCode !== null) break;
      if (await isReady(url)) return { proxy, url };
      await sleep(100);
    }
    throw new Error('The proxy did not become ready; what it said stands above.');
  }

  async startLoad(): Promise<ChildProcess> {
    const load = this.start('load-process.ts', {}).setMaxListeners(0);
    await once(load, 'message');
    return load;
  }

  /** Carries one order out. @throws Error when a client was told what it should not be. */
  async load<O extends LoadOrder>(load: ChildProcess, order: O): Promise<LoadResult<O>> {
    const answer = once(load, 'message');
    load.send(order);
    const failed = once(load, 'exit').then(() => {
      throw new Error('The clients of the benchmark failed; what they were told stands above.');
    });
    const [result] = (await Promise.race([answer, failed])) as [LoadResult<O>];
    return result;
  }

  async stop(): Promise<void> {
    for (const child of this.children.reverse()) await stop(child);
  }

  private start(file: string, argument: object, environment = {}): ChildProcess {
    const child = fork(path.join(__dirname, '..', 'run.cjs'), [path.join(__dirname, file), JSON.stringify(argument)], {
      execArgv: [],
      env: { ...localEnvironment(process.env), ...environment },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.children.push(child);
    return child;
  }
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
    ({ ok }) => ok,
    () => false,
  );

const workerEnvironment = (databaseUrl: string, temporalAddress: string): Record<string, string> => ({
  DATABASE_URL: databaseUrl,
  TEMPORAL_ADDRESS: temporalAddress,
  SPENDLOCK_TASK_QUEUES: 'runs,budget',
  ANTHROPIC_API_KEY: 'none',
  LOG_LEVEL: 'warn',
});

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await exited;
  clearTimeout(killer);
}
