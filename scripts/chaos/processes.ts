/**
 * The workers and APIs of an installation under chaos. Each is started again when it ends, as whoever runs processes does. The first of
 * each can be of another version: of a checkout that is somewhere else.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { brokenSource, type BrokenBuild } from './breaking';

const root = path.join(__dirname, '..', '..');

export interface ProcessesOptions {
  /** What each is told, as it is when it starts. */
  environment: () => Record<string, string | undefined>;
  /** What an API is told beside that. */
  apiEnvironment: () => Record<string, string | undefined>;
  broken: Partial<BrokenBuild>;
  /** Where they note what they read in its broken form. */
  appliedFile: string;
  workers: number;
  /** One API on each. */
  apiPorts: readonly number[];
  /** The workflows, bundled. */
  bundle: string;
  /** Another checkout, and its workflows. */
  older?: { folder: string; bundle: string } | undefined;
  /** A worker is killed, or stands still. */
  workerSuffers: () => void;
  /** Where they write what they log; on this process's own stderr where it is absent. */
  logFile: string | undefined;
}

const lastWordsBytes = 64 * 1024;
/** What was said last beside the log, as by a process that ends by itself. */
const lastWordsIn = (logged: Buffer = Buffer.alloc(0)): string =>
  logged
    .subarray(-lastWordsBytes)
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('{'))
    .slice(-10)
    .join(' | ');

export class Processes {
  /** Children that ended without being told to, as an operator would see. */
  readonly unexpectedEnds: string[] = [];
  private readonly workers: ChildProcess[] = [];
  private readonly apis: ChildProcess[] = [];
  private closing = false;
  private asked = 0;

  constructor(private readonly options: ProcessesOptions) {}

  async start(): Promise<void> {
    const { workers, apiPorts } = this.options;
    await Promise.all([
      ...apiPorts.map((_, place) => this.startApi(place)),
      ...Array.from({ length: workers }, (_, place) => this.startWorker(place)),
    ]);
  }

  /** Where an API is, each in turn; of those that are not the process of this id, where one is named. */
  apiUrl(notOf?: number): string {
    const { apiPorts } = this.options;
    this.asked += 1;
    const next = this.asked % apiPorts.length;
    const place = this.apis[next]?.pid === notOf ? (next + 1) % apiPorts.length : next;
    return `http://127.0.0.1:${apiPorts[place]}`;
  }

  /** Where one of them is. */
  apiAt(place: number): string {
    const { apiPorts } = this.options;
    return `http://127.0.0.1:${apiPorts[place % apiPorts.length]}`;
  }

  /** All that they have logged, where it was kept. */
  logged(): Buffer | undefined {
    const { logFile } = this.options;
    return logFile === undefined ? undefined : readFileSync(logFile);
  }

  killWorker(place: number): void {
    this.signal(this.workers[place % this.workers.length], 'SIGKILL');
  }

  killApi(place: number): void {
    this.signal(this.apis[place % this.apis.length], 'SIGKILL');
  }

  /** Takes a process's time away, as a machine that sleeps does, and gives it back. */
  async stopFor(which: 'worker' | 'API', place: number, forMs: number): Promise<void> {
    const children = which === 'API' ? this.apis : this.workers;
    const child = children[place % children.length];
    this.signal(child, 'SIGSTOP');
    await sleep(forMs);
    child?.kill('SIGCONT');
  }

  /** A signal to one of these processes, by its id. */
  signalTo(processId: number, signal: NodeJS.Signals): void {
    this.signal(
      [...this.workers, ...this.apis].find(({ pid }) => pid === processId),
      signal,
    );
  }

  async stop(): Promise<void> {
    this.closing = true;
    await Promise.all(
      [...this.workers, ...this.apis].map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }),
    );
  }

  private signal(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
    if (!child) return;
    if (this.workers.includes(child) && signal !== 'SIGCONT') this.options.workerSuffers();
    child.kill(signal);
  }

  private spawn(name: string, file: string, { place, again }: { place: number; again: () => void }): ChildProcess {
    const { broken, appliedFile, environment, apiEnvironment, older, bundle, apiPorts, logFile } = this.options;
    const isOlder = older !== undefined && place === 0;
    const { execArgv, env } = brokenSource(isOlder ? {} : broken, appliedFile);
    const folder = isOlder ? older.folder : root;
    const log = logFile === undefined ? undefined : openSync(logFile, 'a');
    const child = fork(path.join(folder, 'scripts', 'run.cjs'), [path.join(folder, file)], {
      cwd: folder,
      execArgv,
      env: {
        ...environment(),
        ...(name === 'API' ? apiEnvironment() : {}),
        API_PORT: String(apiPorts[place]),
        SPENDLOCK_TEST_BUNDLE: isOlder ? older.bundle : bundle,
        ...env,
      },
      stdio: ['ignore', log ?? process.stderr, log ?? 'inherit', 'ipc'],
    });
    if (log !== undefined) closeSync(log);
    child.once('exit', (code, signal) => {
      if (this.closing) return;
      if (signal !== 'SIGKILL')
        this.unexpectedEnds.push(`${name} ended with ${signal ?? code ?? 'nothing'}: ${lastWordsIn(this.logged())}`);
      again();
    });
    return child;
  }

  private async startWorker(place: number): Promise<void> {
    const again = (): void => void this.startWorker(place);
    const worker = this.spawn('worker', 'test/support/worker-process.ts', { place, again });
    this.workers[place] = worker;
    await Promise.race([once(worker, 'message'), once(worker, 'exit')]);
  }

  private async startApi(place: number): Promise<void> {
    const again = (): void => void this.startApi(place);
    this.apis[place] = this.spawn('API', 'api/main.ts', { place, again });
    for (let look = 0; look < 300 && !this.closing; look += 1) {
      const response = await fetch(`http://127.0.0.1:${this.options.apiPorts[place]}/healthz`).catch(() => undefined);
      if (response) return;
      await sleep(100);
    }
  }
}
