/** A secret of an installation: made once, and kept in a file that is its user's alone. */
import { open, readFile, rename } from 'node:fs/promises';

/**
 * What the file holds. One that is not there is made, and so is one that is empty, as a start that was killed may have left it.
 * It is written beside its place and then put there: whoever is killed meanwhile leaves a whole one or none.
 */
export async function secretIn(file: string, make: () => string): Promise<string> {
  const kept = await readIfThere(file);
  if (kept !== '') return kept;
  const fresh = await open(`${file}-new`, 'w', 0o600);
  try {
    await fresh.writeFile(make());
    await fresh.sync();
  } finally {
    await fresh.close();
  }
  await rename(`${file}-new`, file);
  return readIfThere(file);
}

async function readIfThere(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
