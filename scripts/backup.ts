/**
 * Backup and restore of an embedded installation's Postgres, which holds all that money hangs on: `npm run backup -- --to FOLDER`,
 * while it serves or while it rests, and `npm run restore -- --from FOLDER`. The files are copied as Postgres' own low-level backup
 * has it (pg_backup_start, pg_backup_stop); a Postgres elsewhere is backed up by its own tools, such as pg_basebackup.
 */
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import type { Client } from 'pg';
import { version } from '../package.json';
import { connectTo as connectToPostgres, databaseLimits } from '../store/connections';
import { dataDirOf } from '../cli/data-dir';
import { openDataFolder } from './data-folder';
import { handOver, postgresUser } from './embedded/postgres-user';

/** What a backup is made of, beside the database's files. */
const passwords = ['postgres-password', 'app-password'];
/** Of the process that runs, or made anew when it starts. */
const leftOut = new Set([
  'postmaster.pid',
  'postmaster.opts',
  'pg_wal',
  'pg_replslot',
  'pg_stat_tmp',
  'pg_dynshmem',
  'pg_notify',
  'pg_subtrans',
]);

interface Manifest {
  spendlock: string;
  at: string;
  /** Whether Postgres was running: then it recovers from its log when it is first started. */
  wasRunning: boolean;
}

/** Copies the installation's Postgres to a folder that is not there yet. */
export async function backUp(dataDir: string, to: string): Promise<Manifest> {
  const source = path.join(dataDir, 'postgres');
  if (!existsSync(path.join(source, 'PG_VERSION')))
    throw new Error(`There is no installation in ${dataDir}. Nothing was copied.`);
  if (existsSync(to)) throw new Error(`${to} is there already. Nothing was copied; name another folder.`);
  await mkdir(to, { mode: 0o700 });
  try {
    const target = path.join(to, 'postgres');
    const client = await connectTo(dataDir);
    if (client) await copyWhileItRuns(client, source, target);
    else await copyTree(source, target, new Set(['postmaster.pid', 'postmaster.opts']));
    for (const file of passwords) await copyWithOwner(path.join(dataDir, file), path.join(to, file)).catch(ignoreGone);
    const manifest = { spendlock: version, at: new Date().toISOString(), wasRunning: client !== undefined };
    // Written last: a backup without it is not whole.
    await writeFile(path.join(to, 'manifest.json'), JSON.stringify(manifest, null, 2));
    return manifest;
  } catch (error) {
    await rm(to, { recursive: true, force: true });
    throw error;
  }
}

/** Copies a backup to where an installation keeps its data, which has none yet. */
export async function restore(from: string, dataDir: string): Promise<Manifest> {
  const text = await readFile(path.join(from, 'manifest.json'), 'utf8').catch(() => undefined);
  if (text === undefined) throw new Error(`${from} is no backup, or one that broke off. Nothing was restored.`);
  if (existsSync(path.join(dataDir, 'postgres')))
    throw new Error(
      `${dataDir} has a database already. Move it away first, or set SPENDLOCK_DATA_DIR. Nothing was restored.`,
    );
  await openDataFolder(dataDir);
  await copyTree(path.join(from, 'postgres'), path.join(dataDir, 'postgres'), new Set());
  // On another machine its number may be somebody else's.
  const user = await postgresUser();
  if (user) await handOver(path.join(dataDir, 'postgres'), user);
  for (const file of passwords) await copyWithOwner(path.join(from, file), path.join(dataDir, file)).catch(ignoreGone);
  return JSON.parse(text) as Manifest;
}

/** A superuser's connection to the installation's Postgres; undefined when it is not running. */
async function connectTo(dataDir: string): Promise<Client | undefined> {
  const lock = await readFile(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').catch(() => undefined);
  if (lock === undefined) return undefined;
  const port = Number(lock.split('\n')[3]);
  const password = (await readFile(path.join(dataDir, 'postgres-password'), 'utf8')).trim();
  try {
    const to = { host: '127.0.0.1', port, user: 'postgres', password, database: 'postgres' };
    // A backup begins with a checkpoint.
    return await connectToPostgres(to, { statementMs: databaseLimits.longStatementMs });
  } catch (error) {
    // A lock that was left behind by a process that is gone.
    if ((error as { code?: string }).code === 'ECONNREFUSED') return undefined;
    throw error;
  }
}

async function copyWhileItRuns(client: Client, source: string, target: string): Promise<void> {
  try {
    await client.query("SELECT pg_backup_start('spendlock', true)");
    await copyTree(source, target, leftOut);
    const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)');
    await writeFile(path.join(target, 'backup_label'), rows[0]?.labelfile ?? '');
    await takeOwner(path.join(source, 'PG_VERSION'), path.join(target, 'backup_label'));
    // What was written while the files were copied; without it they do not fit each other.
    await copyTree(path.join(source, 'pg_wal'), path.join(target, 'pg_wal'), new Set());
    for (const folder of leftOut) {
      if (folder.startsWith('pg_') && !existsSync(path.join(target, folder))) {
        await mkdir(path.join(target, folder), { mode: 0o700 });
        await takeOwner(path.join(source, folder), path.join(target, folder));
      }
    }
  } finally {
    await client.end();
  }
}

/** Copies a folder with its owners. A file that goes meanwhile is none that is needed. */
async function copyTree(source: string, target: string, without: ReadonlySet<string>): Promise<void> {
  await mkdir(target, { mode: 0o700 });
  await takeOwner(source, target);
  for (const entry of await readdir(source, { withFileTypes: true })) {
    if (without.has(entry.name)) continue;
    const [from, to] = [path.join(source, entry.name), path.join(target, entry.name)];
    if (entry.isDirectory()) await copyTree(from, to, new Set()).catch(ignoreGone);
    else if (entry.isFile()) await copyWithOwner(from, to).catch(ignoreGone);
  }
}

async function copyWithOwner(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  await takeOwner(from, to);
  await chmod(to, 0o600);
}

/** Postgres runs as another user where root started it. */
async function takeOwner(from: string, to: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(from);
  await chown(to, uid, gid);
}

function ignoreGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

async function main(): Promise<void> {
  const here = (folder: string): string => path.resolve(process.env.SPENDLOCK_CALLER_DIR ?? '.', folder);
  const dataDir = dataDirOf(process.env);
  const program = new Command('npm run').description('Backup and restore of an embedded installation.');
  program
    .command('backup')
    .requiredOption('--to <folder>', 'where to; it must not be there yet')
    .addHelpText('after', '\nExample: npm run backup -- --to ../backup-of-today')
    .action(async ({ to }: { to: string }) => {
      const { wasRunning } = await backUp(dataDir, here(to));
      console.log(
        `The installation in ${dataDir} is in ${here(to)}${wasRunning ? ', as of the end of the copy' : ''}.`,
      );
    });
  program
    .command('restore')
    .requiredOption('--from <folder>', 'a backup')
    .addHelpText('after', '\nExample: SPENDLOCK_DATA_DIR=/srv/spendlock npm run restore -- --from ../backup-of-today')
    .action(async ({ from }: { from: string }) => {
      const { at } = await restore(here(from), dataDir);
      console.log(
        `The backup of ${at} is in ${dataDir}. npm start goes on with it. docs/operations.md says what to look at.`,
      );
    });
  await program.parseAsync();
}

if (require.main === module) {
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  });
}
