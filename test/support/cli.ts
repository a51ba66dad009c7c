/** The operators' command line, as its user calls it. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TestApi } from './api';

const run = promisify(execFile);

export interface CommandEnd {
  status: number;
  out: string;
  err: string;
}

export const spendlock = (api: TestApi, ...args: string[]): Promise<CommandEnd> =>
  command(args, { SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: api.adminKey });

/** The command in an environment of its own. */
export async function command(args: string[], environment: Record<string, string>): Promise<CommandEnd> {
  const bin = path.join(__dirname, '..', '..', 'cli', 'spendlock.cjs');
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    ...environment,
  };
  try {
    const { stdout, stderr } = await run(process.execPath, [bin, ...args], { env });
    return { status: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout, err: stderr };
  }
}
