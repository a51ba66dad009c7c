/** Postgres and Temporal for one machine: started together, stopped together, never left behind. */
import { fork, type ChildProcess } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { openDataFolder } from '../data-folder';
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
  await refuseSecond(lockFile, options.dataDir);
  const supervisor = fork(path.join(__dirname, 'supervisor.ts'), [JSON.stringify(options)], {
    detached: true,
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  await writeFile(lockFile, String(supervisor.pid), { mode: 0o600 });
  const addresses = await ready(supervisor, onProgress);
  return {
    ...addresses,
    supervisorPid: supervisor.pid ?? 0,
    onFailure(listener) {
      supervisor.on('message', (message: SupervisorMessage) => {
        if (message.type === 'failed') listener(message.message);
      });
    },
    async stop() {
      await stopChild(supervisor, [{ ask: () => supervisor.send('stop'), forMs: supervisorStopMaxMs + 5_000 }]);
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

/** One set of services per data directory: a second would damage the data of the first. */
async function refuseSecond(lockFile: string, dataDir: string): Promise<void> {
  const pid = Number(await readFile(lockFile, 'utf8').catch(() => ''));
  if (!pid) return;
  for (let look = 0; look < 50; look += 1) {
    if (!(await isSupervisor(pid))) return;
    // The one before may be stopping at this moment.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(
    `Spendlock already runs on the data in ${dataDir} (process ${pid}). Use that one, stop it with Ctrl-C, or choose another ` +
      'folder with SPENDLOCK_DATA_DIR. Nothing was started.',
  );
}

/** Whether it is alive and may be a supervisor: after a crash or in a new container another process may have its number. */
async function isSupervisor(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  // Where there is no /proc nothing tells them apart.
  return line === undefined || line.includes('supervisor');
}
