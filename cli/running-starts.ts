/**
 * The `npm start`s that run on this machine for its user, of whichever checkout: each leaves the path of its data folder, and no secret, in
 * the user's state folder while it runs. `npx spendlock env` of a project that has the package finds them there.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { localInstallation, localInstallationFile, type LocalInstallation } from './target';

/** An API on loopback that does not answer by then does not run: its start was killed. */
const answerMsMax = 3_000;

const notesOf = (environment: NodeJS.ProcessEnv): string =>
  path.join(environment.XDG_STATE_HOME || path.join(homedir(), '.local', 'state'), 'spendlock', 'running');

/** Tells the command line of a start, whose file of it goes with what is answered. A state folder that cannot be written is done without. */
export async function tellOfStart(
  dataDir: string,
  local: LocalInstallation,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<() => Promise<void>> {
  const whole = path.resolve(dataDir);
  const note = path.join(notesOf(environment), createHash('sha256').update(whole).digest('hex').slice(0, 16));
  await writeFile(localInstallationFile(dataDir), JSON.stringify(local), { mode: 0o600 });
  await mkdir(path.dirname(note), { recursive: true, mode: 0o700 })
    .then(() => writeFile(note, whole, { mode: 0o600 }))
    .catch(() => undefined);
  return async () => {
    await rm(localInstallationFile(dataDir), { force: true });
    await rm(note, { force: true }).catch(() => undefined);
  };
}

/** A start that runs, and where its data is. */
export interface RunningStart {
  dataDir: string;
  local: LocalInstallation;
}

/** Those that answer. */
export async function runningStarts(environment: NodeJS.ProcessEnv): Promise<RunningStart[]> {
  const folder = notesOf(environment);
  const names = await readdir(folder).catch(() => []);
  const found = await Promise.all(
    names.map(async (name) => {
      const note = path.join(folder, name);
      const dataDir = await readFile(note, 'utf8').catch(() => '');
      const local = dataDir === '' ? undefined : localInstallation({ SPENDLOCK_DATA_DIR: dataDir });
      // Of one that was killed, and whose data went since.
      if (!local) await rm(note, { force: true }).catch(() => undefined);
      return local && (await answers(local)) ? { dataDir, local } : undefined;
    }),
  );
  return found.filter((one) => one !== undefined).sort((a, b) => (a.dataDir < b.dataDir ? -1 : 1));
}

const answers = ({ apiUrl }: LocalInstallation): Promise<boolean> =>
  fetch(`${apiUrl}/healthz`, { signal: AbortSignal.timeout(answerMsMax) }).then(
    ({ ok }) => ok,
    () => false,
  );
