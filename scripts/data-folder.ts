/** The folder of an installation's data, which is its user's alone: it holds passwords, and what people asked and were answered. */
import { chmod, mkdir, readdir, stat } from 'node:fs/promises';
import path from 'node:path';

/** What an installation keeps there. */
const folders = /^postgres(-new)?$/;
const files = /^(temporal\.db.*|.*\.log|services\.pid|(api|ports)\.json|(postgres|app)-password(-new)?)$/;

/** Makes it, or closes what an earlier version left open. A folder that holds other things too is left as its user has it. */
export async function openDataFolder(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const names = await readdir(dataDir);
  for (const name of names.filter((one) => files.test(one)))
    await chmod(path.join(dataDir, name), 0o600).catch(ignoreGone);
  const { uid } = await stat(dataDir);
  const isOwn = uid === (process.getuid?.() ?? uid) && names.every((name) => folders.test(name) || files.test(name));
  if (isOwn) await chmod(dataDir, 0o700);
}

/** Of another start, which is ending at this moment. */
function ignoreGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
