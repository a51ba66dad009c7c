/** Whom the embedded Postgres runs as: whoever started it; of root, who must not run it, a user that has nothing else to do. */
import { execFile } from 'node:child_process';
import { lchown, lstat, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

export interface PostgresUser {
  uid: number;
  gid: number;
}

const run = promisify(execFile);
const name = 'postgres';

/** Undefined: whoever runs this process. @throws Error when root started it and there is no user for Postgres. */
export async function postgresUser(): Promise<PostgresUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const found = await find();
  if (found) return found;
  const add = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/bin/false'];
  // Of two first starts one finds the other's.
  const failure = await run('useradd', [...add, name]).then(
    () => undefined,
    (error: Error) => error.message.trim(),
  );
  const made = await find();
  if (made) return made;
  throw new Error(
    `Postgres does not run as root, and no user "${name}" could be made for it (${failure ?? 'it was not found afterwards'}). ` +
      `Make one (useradd --system ${name}), or start as another user. Nothing was started.`,
  );
}

async function find(): Promise<PostgresUser | undefined> {
  try {
    const [uid, gid] = await Promise.all(
      ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, name])).stdout)),
    );
    return uid && gid ? { uid, gid } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Who opens a database that is there: its owner, since Postgres takes no other. What belongs to root (a copy that root made)
 * is handed to Postgres' user.
 */
export async function ownerOf(databaseDir: string, user: PostgresUser | undefined): Promise<PostgresUser | undefined> {
  if (!user) return undefined;
  const { uid, gid } = await stat(databaseDir);
  if (uid !== 0) return { uid, gid };
  await handOver(databaseDir, user);
  return user;
}

/** Gives a folder and all that is in it to Postgres' user. Links are given, not followed. */
export async function handOver(file: string, user: PostgresUser): Promise<void> {
  await lchown(file, user.uid, user.gid);
  if (!(await lstat(file)).isDirectory()) return;
  for (const entry of await readdir(file)) await handOver(path.join(file, entry), user);
}
