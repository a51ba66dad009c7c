/**
 * What a start left running whose supervisor was killed, with nobody there to end it: Postgres and Temporal on this data folder. A second
 * of either would damage the data of the first, or be refused by it for ever, so it is ended before another one is started.
 *
 * A number alone tells no process from another that was given the same one later: each is known by what it works on.
 */
import { execFile } from 'node:child_process';
import { readFile, readlink, realpath } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** The processes of the services of a data folder, as its lock file names them: the supervisor, then Temporal. */
export const lockText = (pids: { supervisor: number; temporal?: number | undefined }): string =>
  [pids.supervisor, ...(pids.temporal === undefined ? [] : [pids.temporal])].join('\n');

export async function readLock(dataDir: string): Promise<{ supervisor: number; temporal: number }> {
  const text = await readFile(path.join(dataDir, 'services.pid'), 'utf8').catch(() => '');
  const [supervisor = NaN, temporal = NaN] = text.split('\n').map(Number);
  return { supervisor, temporal };
}

/**
 * Whether a supervisor runs under that number. One of another folder counts too, since a folder has many names: to refuse a start is
 * harmless, to end what somebody uses is not.
 */
export async function isSupervisor(pid: number): Promise<boolean> {
  const line = await commandLine(pid);
  // Where nobody says what a process is, it is taken for the one that it may be.
  return line === undefined ? isAlive(pid) : /embedded.supervisor/.test(line);
}

/** Ends what was left behind. Answers what it was. */
export async function endLeftBehind(dataDir: string): Promise<string[]> {
  const databaseDir = path.join(dataDir, 'postgres');
  const lock = await readFile(path.join(databaseDir, 'postmaster.pid'), 'utf8').catch(() => '');
  const found = [
    {
      name: 'Postgres',
      pid: Number(lock.split('\n')[0]),
      isIt: async (pid: number, line: string) =>
        line.includes('postgres') && (line.includes(databaseDir) || (await worksIn(pid, databaseDir))),
      // As the supervisor ends it: connections first, then without ceremony. What was committed is kept.
      signals: [
        ['SIGINT', 10_000],
        ['SIGQUIT', 8_000],
      ] as const,
    },
    {
      name: 'Temporal',
      pid: (await readLock(dataDir)).temporal,
      isIt: (_pid: number, line: string) =>
        isSame(/--db-filename (.*?temporal\.db)/.exec(line)?.[1] ?? '', path.join(dataDir, 'temporal.db')),
      signals: [['SIGTERM', 5_000]] as const,
    },
  ];
  const ended = await Promise.all(
    found.map(async ({ name, pid, isIt, signals }) => {
      const line = await commandLine(pid);
      if (line === undefined || !(await isIt(pid, line))) return [];
      await end(pid, [...signals, ['SIGKILL', 5_000]]);
      return [name];
    }),
  );
  return ended.flat();
}

async function end(pid: number, signals: readonly (readonly [NodeJS.Signals, number])[]): Promise<void> {
  for (const [signal, forMs] of signals) {
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    for (const untilMs = performance.now() + forMs; performance.now() < untilMs; await sleep(50))
      if (!isAlive(pid)) return;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** With what a process was started; undefined when there is none, or nobody says. */
async function commandLine(pid: number): Promise<string | undefined> {
  if (!(pid > 1)) return undefined;
  try {
    if (process.platform === 'linux')
      return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim() || undefined;
    return (await promisify(execFile)('ps', ['-o', 'args=', '-p', String(pid)])).stdout.trim();
  } catch {
    return undefined;
  }
}

const worksIn = async (pid: number, dir: string): Promise<boolean> =>
  isSame(await readlink(`/proc/${pid}/cwd`).catch(() => ''), dir);

/** Whether two names lead to the same file. */
async function isSame(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([one, other].map((name) => realpath(name).catch(() => undefined)));
  return one !== '' && first !== undefined && first === second;
}
