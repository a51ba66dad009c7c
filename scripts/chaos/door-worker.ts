/** A worker of other people's agents in a process of its own, with the plugin. It is started again when it ends, as whoever runs it does. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { brokenSource, type BrokenBuild } from './breaking';

const root = path.join(__dirname, '..', '..');

interface DoorWorkerOptions {
  /** What it is called where it ends by itself. */
  name: string;
  /** What it is told: where its server, its providers and its budget are. */
  asked: object;
  broken: Partial<BrokenBuild>;
  appliedFile: string;
  /** It ended by itself once it was up. */
  endedByItself: (what: string) => void;
}

export class DoorWorker {
  private worker: ChildProcess | undefined;
  private up: Promise<unknown> = Promise.resolve();
  private isClosing = false;
  private isKilling = false;

  constructor(private readonly options: DoorWorkerOptions) {}

  async start(): Promise<void> {
    this.fork();
    await this.up;
  }

  /** Resolves once another has taken its place. */
  async kill(): Promise<void> {
    this.isKilling = true;
    await this.end();
    this.isKilling = false;
    await this.up;
  }

  async stop(): Promise<void> {
    this.isClosing = true;
    await this.end();
  }

  private async end(): Promise<void> {
    const { worker } = this;
    if (worker?.exitCode !== null || worker.signalCode !== null) return;
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
  }

  private fork(): void {
    const { name, asked, broken, appliedFile, endedByItself } = this.options;
    const { execArgv, env } = brokenSource(broken, appliedFile);
    const { PATH, HOME } = process.env;
    const file = path.join(root, 'test', 'support', 'agent-worker.ts');
    const worker = fork(path.join(root, 'scripts', 'run.cjs'), [file], {
      execArgv: [...execArgv, '--conditions=spendlock-source'],
      stdio: ['ignore', 'ignore', process.env.SPENDLOCK_CHAOS_LOG_LEVEL ? 'inherit' : 'ignore', 'ipc'],
      env: { PATH, HOME, AGENT_WORKER: JSON.stringify(asked), ...env },
    });
    this.worker = worker;
    const gone = once(worker, 'exit');
    let hasBeenUp = false;
    const up = once(worker, 'message').then(() => (hasBeenUp = true));
    this.up = Promise.race([up, gone]);
    void gone.then(async ([code, signal]) => {
      // Its server may have been away while it started.
      if (hasBeenUp && !this.isKilling && !this.isClosing) endedByItself(`${name}: ${String(code ?? signal)}`);
      await sleep(200);
      if (!this.isClosing) this.fork();
    });
  }
}
