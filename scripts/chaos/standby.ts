/**
 * A copy of Postgres that streams from the first and takes over when that is lost: made from a copied data folder, as a base backup
 * is, since the embedded package has no program for that. It streams by a proxy, so that its last moments can be kept from it.
 */
import { appendFile, chmod, chown, cp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { startPostgres, type RunningPostgres } from '../embedded/postgres';
import { startDatabaseProxy, type DatabaseProxy } from './database-proxy';

/** A copy of a chaos run's database is small: what takes longer than this does not come about. */
const catchUpMs = 60_000;

export interface Standby {
  /** What is committed from now on is not in the copy. */
  cutOff(): void;
  /** Becomes a server of its own, once the first is gone. */
  promote(): Promise<RunningPostgres>;
  /** Given up, when the first stays. */
  discard(): Promise<void>;
}

/** Makes a copy that has caught up with the first. */
export async function startStandby({
  primary,
  dataDir,
  standbyDir,
  flags,
}: {
  primary: RunningPostgres;
  /** The first one's folder, and where the copy is made. */
  dataDir: string;
  standbyDir: string;
  flags: readonly string[];
}): Promise<Standby> {
  const stream = await startDatabaseProxy(primary.port);
  const client = await connected(primary.adminUrl);
  let copy: RunningPostgres | undefined;
  const discard = async (): Promise<void> => {
    await client.end().catch(() => undefined);
    await Promise.all([copy?.stop(), stream.close()]);
    await rm(standbyDir, { recursive: true, force: true });
  };
  try {
    await copyData(client, { dataDir, standbyDir, primary, stream });
    copy = await startPostgres({ dataDir: standbyDir, preferredPort: 0, flags, log: () => undefined });
    await caughtUp(client);
  } catch (error) {
    await discard();
    throw error;
  }
  const running = copy;
  return {
    cutOff: () => stream.set('silent'),
    discard,
    async promote() {
      await client.end().catch(() => undefined);
      await stream.close();
      const admin = await connected(running.adminUrl);
      await admin.query('SELECT pg_promote(true, 60)');
      await admin.end();
      return running;
    },
  };
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 90_000 });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function copyData(
  client: Client,
  {
    dataDir,
    standbyDir,
    primary,
    stream,
  }: { dataDir: string; standbyDir: string; primary: RunningPostgres; stream: DatabaseProxy },
): Promise<void> {
  const [from, to] = [path.join(dataDir, 'postgres'), path.join(standbyDir, 'postgres')];
  const { uid, gid } = await stat(from);
  await client.query(`SELECT pg_backup_start('chaos', true)`);
  const left = new Set(['postmaster.pid', 'postmaster.opts']);
  // A file of a running server may go while it is copied.
  await cp(from, to, {
    recursive: true,
    preserveTimestamps: true,
    filter: (source) => !left.has(path.basename(source)),
  });
  await cp(path.join(dataDir, 'postgres-password'), path.join(standbyDir, 'postgres-password'));
  const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)');
  const { username, password } = new URL(primary.adminUrl);
  const source = `host=127.0.0.1 port=${stream.port} user=${username} password=${password} application_name=standby`;
  await writeFile(path.join(to, 'backup_label'), rows[0]?.labelfile ?? '');
  await writeFile(path.join(to, 'standby.signal'), '');
  await appendFile(path.join(to, 'postgresql.auto.conf'), `\nprimary_conninfo = '${source}'\n`);
  await handOver(to, { uid, gid });
  await chmod(to, 0o700);
}

/** The copy is its server's own, as the first one's folder is. */
async function handOver(folder: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  const entries = await readdir(folder, { recursive: true });
  await Promise.all([folder, ...entries.map((entry) => path.join(folder, entry))].map((one) => chown(one, uid, gid)));
}

async function caughtUp(client: Client): Promise<void> {
  for (const endMs = Date.now() + catchUpMs; Date.now() < endMs; await sleep(100)) {
    const { rows } = await client.query<{ streams: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming') AS streams`,
    );
    if (rows[0]?.streams) return;
  }
  throw new Error('The copy of Postgres did not come to stream.');
}
