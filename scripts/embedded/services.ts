/** Postgres and Temporal for one machine: started together, stopped together, never left behind. */
import { fork, type ChildProcess } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { openDataFolder } from '../data-folder';
import { endLeftBehind, isSupervisor, lockText, readLock } from './left-behind';
import { stopChild } from './stop-child';

export interface ServicesOptions {
  /** Where their data and their log are kept. */
  dataDir: string;
  /** Preferred ports; a busy one is replaced by a free one. 0 means any. */
  ports: { postgres: number; temporal: number; temporalUi?: number };
  postgresFlags?: readonly string[];
  /** Whether Temporal keeps its data in memory, and all data is removed when the services stop, however they do. */
  ephemeral?: boolean;
  /** More settings of Temporal's server (its dynamic configuration). */
  temporalSettings?: Record<string, number>;
  onProgress?: (line: string) => void;
}

export interface ServiceAddresses {
  postgres: { adminUrl: string; pid: number };
  temporal: { address: string; uiUrl?: string; pid: number };
}

export interface Services extends ServiceAddresses {
  supervisorPid: number;
  /** Ends them within a minute, whatever hangs. */
  stop(): Promise<void>;
  /** Has them end at once, and does not wait. What Postgres has committed is kept. */
  abandon(): void;
  /** Calls back when a service ends by itself. */
  onFailure(listener: (message: string) => void): void;
}

/** Within this the supervisor has ended what it started, by asking or by killing it. */
export const supervisorStopMaxMs = 40_000;
/** Tells the supervisor to end everything at once. */
export const abandonSignal = 'SIGQUIT';

export type SupervisorMessage =
  | { type: 'progress'; line: string }
  | { type: 'ready'; services: ServiceAddresses }
  | { type: 'failed'; message: string };

/** Starts both. @throws Error when one does not start, or when another process runs on the same data. */
export async function startServices({ onProgress, ...options }: ServicesOptions): Promise<Services> {
  await openDataFolder(options.dataDir);
  const lockFile = path.join(options.dataDir, 'services.pid');
  await refuseSecond(options.dataDir, onProgress);
  for (const name of await endLeftBehind(options.dataDir))
    onProgress?.(`${name} was still running: the start before was killed. It was ended; its data is kept.`);
  const supervisor = fork(
    path.join(__dirname, '..', 'run.cjs'),
    [path.join(__dirname, 'supervisor.ts'), JSON.stringify(options)],
    {
      detached: true,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  );
  const supervisorPid = supervisor.pid ?? 0;
  await writeFile(lockFile, lockText({ supervisor: supervisorPid }), { mode: 0o600 });
  const addresses = await ready(supervisor, onProgress);
  await writeFile(lockFile, lockText({ supervisor: supervisorPid, temporal: addresses.temporal.pid }));
  const failure = new FirstFailure();
  supervisor.on('message', (message: SupervisorMessage) => {
    if (message.type === 'failed') failure.note(message.message);
  });
  supervisor.once('exit', (code, signal) =>
    failure.note(
      `The process that runs Postgres and Temporal ended (${signal ?? `status ${code}`}). Start again: what was paid for is kept.`,
    ),
  );
  return {
    ...addresses,
    supervisorPid,
    onFailure: (listener) => failure.tell(listener),
    async stop() {
      await stopChild(supervisor, [{ ask: () => supervisor.send('stop'), forMs: supervisorStopMaxMs + 5_000 }]);
      // Of one that was killed before it could end them.
      await endLeftBehind(options.dataDir);
      await rm(lockFile, { force: true });
    },
    abandon: () => void supervisor.kill(abandonSignal),
  };
}

function ready(supervisor: ChildProcess, onProgress?: (line: string) => void): Promise<ServiceAddresses> {
  return new Promise((resolve, reject) => {
    supervisor.once('exit', (code) =>
      reject(new Error(`The services ended while they started (status ${code ?? 'none'}).`)),
    );
    supervisor.on('message', (message: SupervisorMessage) => {
      if (message.type === 'progress') onProgress?.(message.line);
      else if (message.type === 'ready') resolve(message.services);
      else reject(new Error(message.message));
    });
  });
}

/** The first failure of the services, for whoever listens, early or late. */
class FirstFailure {
  private message: string | undefined;
  private readonly listeners: ((message: string) => void)[] = [];

  note(message: string): void {
    if (this.message !== undefined) return;
    this.message = message;
    for (const listener of this.listeners) listener(message);
  }

  tell(listener: (message: string) => void): void {
    if (this.message === undefined) this.listeners.push(listener);
    else listener(this.message);
  }
}

/** One set of services per data directory: a second would damage the data of the first. */
async function refuseSecond(dataDir: string, onProgress?: (line: string) => void): Promise<void> {
  const { supervisor } = await readLock(dataDir);
  if (!supervisor) return;
  for (let look = 0; look < 50; look += 1) {
    if (!(await isSupervisor(supervisor))) return;
    if (look === 0) onProgress?.(`Process ${supervisor} still runs on these data: waiting up to 5 s for it to end.`);
    // The one before may be stopping at this moment.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(
    `Spendlock already runs on the data in ${dataDir} (process ${supervisor}). Use that one, stop it with Ctrl-C, or choose another ` +
      'folder with SPENDLOCK_DATA_DIR. Nothing was started.',
  );
}
