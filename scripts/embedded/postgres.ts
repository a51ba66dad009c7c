/** An embedded Postgres 18 that listens on loopback only, with a random superuser password kept beside its data. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, chmod, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from './ports';
import { findPrograms } from './postgres-programs';
import { handOver, ownerOf, postgresUser, type PostgresUser } from './postgres-user';
import { secretIn } from './secret-file';
import { stopChild } from './stop-child';

export interface PostgresOptions {
  /** Its data, which is kept. */
  dataDir: string;
  preferredPort: number;
  /** More flags of the server, such as `-c`, `max_connections=300`. */
  flags?: readonly string[];
  log: (line: string) => void;
}

export interface RunningPostgres {
  /** Connection string of the superuser. */
  adminUrl: string;
  port: number;
  /** The postmaster, whose children serve the connections. */
  child: ChildProcess;
  pid: number;
  /** Ends it within half a minute, whatever its connections do. What was committed is kept, however it ends. */
  stop(): Promise<void>;
}

/** A port that was free is taken later: now and then another process is faster, and Postgres ends. */
const startsMax = 3;
/** A database that was killed recovers first, which takes its time. */
const startMaxMs = 600_000;
/** An end in three ways: connections are ended; without ceremony, and what was committed is recovered at the next start; killed. */
const stopSteps = [
  { signal: 'SIGINT', forMs: 10_000 },
  // Of children that do not end Postgres itself kills what is left after 5 s.
  { signal: 'SIGQUIT', forMs: 8_000 },
] as const;

/** What is logged: the server's own life. Neither statements nor the values that errors quote, which are users' data. */
const quietFlags = Object.entries({
  // Errors of statements are told to who sent them; above them are the server's own messages.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_statement: 'none',
  log_min_duration_statement: '-1',
  log_min_duration_sample: '-1',
  log_transaction_sample_rate: '0',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
}).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

export async function startPostgres({
  dataDir,
  preferredPort,
  flags = [],
  log,
}: PostgresOptions): Promise<RunningPostgres> {
  const databaseDir = path.join(dataDir, 'postgres');
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  let user = await postgresUser();
  const bin = await findPrograms(user, log);
  if (user && !reachesByOwnFolder) await checkReach(dataDir);
  const password = await secretIn(path.join(dataDir, 'postgres-password'), () => randomBytes(24).toString('base64url'));
  let said = '';
  const hear = (message: unknown): void => {
    const line = String(message).trim();
    said = `${said}\n${line}`.slice(-4_000);
    log(line);
  };
  if (await exists(path.join(databaseDir, 'PG_VERSION'))) user = await ownerOf(databaseDir, user);
  else await initialise(databaseDir, { bin, user, password, hear });
  for (let start = 1; ; start += 1) {
    const port = await freePort(preferredPort);
    said = '';
    const child = run(path.join(bin, 'postgres'), databaseDir, user, [
      ...['-D', folderFor(databaseDir, user), '-p', String(port)],
      ...['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', ...quietFlags, ...flags],
    ]);
    if (!(await isReady(child, hear))) {
      if (start >= startsMax) throw new Error(`Postgres ended while it started. Its data is kept. It said:${said}`);
      log(`Postgres ended while it started; starting it again (${start} of ${startsMax - 1})`);
      continue;
    }
    return {
      adminUrl: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      port,
      child,
      pid: child.pid ?? 0,
      stop: () => stopChild(child, stopSteps),
    };
  }
}

/**
 * A process's own folder by a name that leads there from anywhere, as Linux has one. Postgres, started in the folder of its
 * database, opens it by that name, and so needs no right to enter the folders above, of which only the last is its own.
 */
const ownFolder = '/proc/self/cwd';
const reachesByOwnFolder = process.platform === 'linux';

const folderFor = (databaseDir: string, user: PostgresUser | undefined): string =>
  user && reachesByOwnFolder ? ownFolder : path.resolve(databaseDir);

/** Runs a program in a folder that its user owns, with nothing of the surrounding environment that could hold a secret. */
function run(program: string, cwd: string, user: PostgresUser | undefined, args: string[]): ChildProcess {
  const passed = process.platform === 'win32' ? /^(PATH|SYSTEMROOT|TEMP|TMP)$/i : /^(PATH|TZ|LD_LIBRARY_PATH)$/;
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => passed.test(name)));
  return spawn(program, args, {
    ...user,
    cwd,
    // What it says is read below, and so has to be said in English.
    env: { ...environment, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Makes the database beside its place and then puts it there: one that broke off is made anew. */
async function initialise(
  databaseDir: string,
  {
    bin,
    user,
    password,
    hear,
  }: { bin: string; user: PostgresUser | undefined; password: string; hear: (message: unknown) => void },
): Promise<void> {
  const scratch = `${databaseDir}-new`;
  const fresh = path.join(scratch, 'data');
  await rm(scratch, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true, mode: 0o700 });
  await writeFile(path.join(scratch, 'password'), `${password}\n`, { mode: 0o600 });
  if (user) await handOver(scratch, user);
  const child = run(path.join(bin, 'initdb'), fresh, user, [
    ...[`--pgdata=${folderFor(fresh, user)}`, '--username=postgres', '--auth=scram-sha-256'],
    ...[`--pwfile=${path.join('..', 'password')}`, '--encoding=UTF8', '--locale=C'],
  ]);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data: Buffer) => {
      said = (said + data.toString()).slice(-4_000);
      hear(data);
    });
  const [status] = (await Promise.race([once(child, 'close'), once(child, 'error')])) as [unknown];
  if (status !== 0)
    throw new Error(`Postgres could not make its database in ${databaseDir} (${String(status)}). It said:\n${said}`);
  await rename(fresh, databaseDir);
  await rm(scratch, { recursive: true, force: true });
}

/** Whether it takes connections; false when it ended instead. */
async function isReady(child: ChildProcess, hear: (message: unknown) => void): Promise<boolean> {
  let said = '';
  return new Promise((resolve, reject) => {
    const giveUp = setTimeout(() => {
      child.kill('SIGQUIT');
      reject(new Error(`Postgres took no connections within ${startMaxMs / 60_000} minutes. Its data is kept.`));
    }, startMaxMs);
    const end = (isUp: boolean): void => {
      clearTimeout(giveUp);
      resolve(isUp);
    };
    child.stderr?.on('data', (data: Buffer) => {
      hear(data);
      said = (said + data.toString()).slice(-4_000);
      if (/database system is ready to accept (read-only )?connections/.test(said)) end(true);
    });
    child.stdout?.on('data', hear);
    child.once('error', (error) => {
      hear(error.message);
      end(false);
    });
    child.once('close', () => end(false));
  });
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/** Where a process cannot name its own folder, the user that Postgres runs as has to get through to its data. */
async function checkReach(dataDir: string): Promise<void> {
  await chmod(dataDir, 0o711);
  for (let dir = path.resolve(dataDir); ; dir = path.dirname(dir)) {
    const { mode } = await stat(dir);
    if ((mode & 0o001) === 0) {
      throw new Error(
        `Postgres cannot run as root, and the user it runs as cannot enter ${dir}. ` +
          'Run as another user, or name another folder with SPENDLOCK_DATA_DIR. Nothing was started.',
      );
    }
    if (dir === path.dirname(dir)) return;
  }
}
