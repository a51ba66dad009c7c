/**
 * Keeps the bundle of the workflows from one start to the next: making it takes most of what a worker's start takes. What is kept
 * is taken up only by the very sources and packages that it was made of, so it is never older than they are. It lies with the packages
 * (`node_modules/.cache`), where whoever could change it could change them.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';

export interface BundleOrigin {
  /** The folder that holds `node_modules` and the sources. */
  root: string;
  /** The folders that a bundle is made of, beside packages. */
  folders: readonly string[];
  /** Whatever else it depends on. */
  options: string;
}

/** So many are kept, the newest: with encryption and without, of a version and the one before. */
const keptMax = 4;
const hashOf = (...parts: (string | Buffer)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}\n`).update(part);
  return hash.digest('hex');
};

/** A bundle as it is kept, with a last line that tells whether it is all there. */
const whole = (code: string): string => `${code}\n// ${hashOf(code)}`;

/** The bundle of these sources: as kept, or made now and kept. What cannot be read or kept is made, at each start. */
export async function keptBundle(origin: BundleOrigin, make: () => Promise<string>): Promise<string> {
  const cache = path.join(origin.root, 'node_modules', '.cache', 'spendlock');
  const key = await keyOf(origin).catch(() => undefined);
  if (key === undefined) return make();
  const file = path.join(cache, `workflows-${key}.js`);
  const kept = await readFile(file, 'utf8').catch(() => '');
  // A machine that lost its power may have left a part.
  const code = kept.slice(0, Math.max(0, kept.lastIndexOf('\n')));
  if (kept === whole(code)) return code;
  const made = await make();
  // Sources that changed while it was made may be in it or not.
  if ((await keyOf(origin).catch(() => undefined)) === key) await keep(file, whole(made)).catch(() => undefined);
  return made;
}

/** What a bundle is made of: the names and texts of all sources, which packages are installed, and by which Node it is made. */
async function keyOf({ root, folders, options }: BundleOrigin): Promise<string> {
  const files: string[] = [];
  for (const folder of folders) {
    const entries = await readdir(path.join(root, folder), { recursive: true, withFileTypes: true });
    for (const entry of entries) if (entry.isFile()) files.push(path.join(entry.parentPath, entry.name));
  }
  files.push(path.join(root, 'node_modules', '.package-lock.json'), path.join(root, 'package.json'));
  const texts = await Promise.all(files.sort().map(async (file) => [file, await readFile(file)] as const));
  return hashOf(process.version, root, options, ...texts.flat());
}

/** Whoever is killed meanwhile leaves a whole one or none. */
async function keep(file: string, text: string): Promise<void> {
  const cache = path.dirname(file);
  await mkdir(cache, { recursive: true });
  const fresh = `${file}-${process.pid}`;
  await writeFile(fresh, text, { mode: 0o600 });
  await rename(fresh, file);
  const all = await Promise.all(
    (await readdir(cache))
      .filter((name) => name.startsWith('workflows-'))
      .map(async (name) => ({ name, writtenMs: (await stat(path.join(cache, name))).mtimeMs })),
  );
  all.sort((one, other) => other.writtenMs - one.writtenMs);
  await Promise.all(all.slice(keptMax).map(({ name }) => rm(path.join(cache, name), { force: true })));
}
