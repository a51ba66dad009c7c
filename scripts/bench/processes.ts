/** The processes of a benchmark: a worker, APIs and clients, each of its own. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { localEnvironment } from '../embedded/local-environment';
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
