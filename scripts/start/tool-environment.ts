/** With what `npm start` calls tools: a key of its own, kept beside the data, and what runs on this machine. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { secretIn } from '../embedded/secret-file';

/** What the environment says goes first. */
export async function toolEnvironment(
  dataDir: string,
  environment: NodeJS.ProcessEnv,
): Promise<Record<string, string>> {
  const { SPENDLOCK_TOOL_KEYS: keys, SPENDLOCK_TOOL_HOSTS: hosts } = environment;
  const own = async (): Promise<string> =>
    `local:${await secretIn(path.join(dataDir, 'tool-key'), () => randomBytes(32).toString('base64'))}`;
  return {
    SPENDLOCK_TOOL_KEYS: keys || (await own()),
    SPENDLOCK_TOOL_HOSTS: hosts ?? 'localhost,127.0.0.1,[::1]',
  };
}
