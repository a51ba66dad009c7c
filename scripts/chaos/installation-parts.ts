/** What an installation under chaos takes its parts by. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createPool, type Pool } from '../../store/pool';

export const adminPool = (url: string): Pool =>
  createPool(url, { max: 4, limits: { statementMs: 120_000, idleInTransactionMs: 120_000 } });

/** When the last of what a copy of Postgres has was committed, in milliseconds since 1970: it may lag behind the first. */
export async function lastOf(copy: Pool): Promise<number> {
  const { rows } = await copy.query<{ ms: number | null }>(
    'SELECT floor(extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000)::float8 AS ms',
  );
  return rows[0]?.ms ?? Infinity;
}

/** A port or a lock of a killed process may not be free at once. */
export async function insist<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 20) throw error;
      await sleep(500);
    }
  }
}

/** How long whoever takes alerts thinks about each. */
const webhookMs = 500;

/** Takes alerts, each by its id; one that is not taken is never answered. */
export function takeAlerts(webhook: Server, take: (alertId: string) => boolean): void {
  webhook.on('request', (request: IncomingMessage, response: ServerResponse) => {
    let body = '';
    request.on('data', (data: Buffer) => (body += data.toString()));
    request.on('end', () => {
      if (take((JSON.parse(body) as { alertId: string }).alertId)) setTimeout(() => response.end(), webhookMs);
    });
  });
}

/** Bundles the workflows of a checkout into a file. */
export async function bundleWorkflows(folder: string, file: string): Promise<void> {
  const programs = ['run.cjs', 'bundle.ts'].map((name) => path.join(folder, 'scripts', name));
  await promisify(execFile)(process.execPath, [...programs, file], { cwd: folder });
}

/** With what workers and APIs call tools on this machine. */
export const toolEnvironment = (): Record<string, string> => ({
  SPENDLOCK_TOOL_KEYS: `chaos:${randomBytes(32).toString('base64')}`,
  SPENDLOCK_TOOL_HOSTS: '127.0.0.1',
});
