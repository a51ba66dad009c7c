/**
 * The environment of a test file: Node's, and workers in a process that runs them for one file after another (worker-host.ts).
 * That process outlives the files: it begins with the first file that asks for workers, and ends with the process that runs files.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TestEnvironment } from 'jest-environment-node';
import type { HostAnswer, HostRequest } from './worker-host';

/** Workers that share a process with those of other files. */
export interface HostedWorkers {
  stop(): Promise<void>;
  /** Everything that they logged. */
  logged(): string;
}
type StartHosted = (environment: NodeJS.ProcessEnv) => Promise<HostedWorkers>;

declare global {
  var spendlockStartHosted: StartHosted;
}

/** A process keeps something of all workers that it ran, so another follows it after so many. */
const startsMax = 30;

class WorkerHost {
  private readonly child: ChildProcess;
  private readonly folder = mkdtempSync(path.join(tmpdir(), 'spendlock-host-'));
  private readonly listeners = new Map<number, (answer: HostAnswer) => void>();
  private starts = 0;
  private isGone = false;

  constructor() {
    const program = path.join(__dirname, 'worker-host.ts');
    this.child = fork(path.join(__dirname, '..', '..', 'scripts', 'run.cjs'), [program], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { PATH: process.env.PATH, HOME: process.env.HOME },
    });
    let written = '';
    this.child.stderr?.on('data', (data: Buffer) => (written += data.toString()));
    this.child.on('message', (answer: HostAnswer) => this.listeners.get(answer.id)?.(answer));
    this.child.once('exit', (code, signal) => {
      this.isGone = true;
      const why = `The process of the workers ended with ${signal ?? code}.\n${written}`;
      for (const [id, tell] of this.listeners) tell({ id, state: 'failed', why });
    });
    process.once('exit', () => rmSync(this.folder, { recursive: true, force: true }));
    // It keeps nobody from ending, and then ends too.
    this.child.unref();
    this.child.channel?.unref();
    (this.child.stderr as Socket | null)?.unref();
  }

  get isOpen(): boolean {
    return !this.isGone && this.starts < startsMax;
  }

  /** @throws Error with what was logged when they fail, also when they do so before they are stopped. */
  async startWorkers(environment: NodeJS.ProcessEnv): Promise<HostedWorkers> {
    const id = (this.starts += 1);
    const logFile = path.join(this.folder, `${id}.log`);
    const logged = (): string => readFileSync(logFile, 'utf8');
    const answers = { started: defer(), ended: defer() };
    this.listeners.set(id, (answer) => {
      if (answer.state === 'started') return answers.started.resolve();
      this.listeners.delete(id);
      if (this.listeners.size === 0 && !this.isOpen && !this.isGone) this.child.disconnect();
      if (answer.state !== 'failed') return answers.ended.resolve();
      const failed = new Error(`The workers failed: ${answer.why}\n${logged()}`);
      answers.started.reject(failed);
      answers.ended.reject(failed);
    });
    const send = (request: HostRequest): boolean => this.child.send(request);
    const workflowBundle = process.env.SPENDLOCK_TEST_BUNDLE ?? '';
    send({ id, order: 'start', environment, workflowBundle, logFile });
    await answers.started.promise;
    return {
      logged,
      async stop() {
        send({ id, order: 'stop' });
        await answers.ended.promise;
      },
    };
  }
}

interface Deferred {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
}

function defer(): Deferred {
  const deferred = {} as Deferred;
  deferred.promise = new Promise<void>((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  // Whoever waits for it is told; nobody need wait.
  deferred.promise.catch(() => undefined);
  return deferred;
}

let host: WorkerHost | undefined;

export default class HostEnvironment extends TestEnvironment {
  private readonly started: HostedWorkers[] = [];

  override async setup(): Promise<void> {
    await super.setup();
    const start: StartHosted = async (environment) => {
      if (!host?.isOpen) host = new WorkerHost();
      const workers = await host.startWorkers(environment);
      this.started.push(workers);
      return workers;
    };
    this.global.spendlockStartHosted = start;
  }

  override async teardown(): Promise<void> {
    // A file that failed before it stopped its own leaves nothing to the next.
    await Promise.all(this.started.map((workers) => workers.stop().catch(() => undefined)));
    await super.teardown();
  }
}
