/** Commands that speak to Temporal or Postgres themselves, and that a signal ends, say what was done and leave nothing behind. */
import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('a command that is cut off', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** Runs a command that is ended once it is so far. */
  async function cutOff(
    words: string[],
    { environment, by, soFar }: { environment: NodeJS.ProcessEnv; by: NodeJS.Signals; soFar: () => unknown },
  ) {
    const bin = path.join(__dirname, '..', '..', 'cli', 'spendlock.cjs');
    const { PATH, HOME } = process.env;
    const child = spawn(process.execPath, [bin, ...words], { env: { PATH, HOME, ...environment }, stdio: 'pipe' });
    const said = { out: '', err: '' };
    child.stdout.on('data', (piece: Buffer) => (said.out += piece.toString()));
    child.stderr.on('data', (piece: Buffer) => (said.err += piece.toString()));
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    await until('it is so far', async () => Boolean(await soFar()));
    child.kill(by);
    return { status: await ended, ...said };
  }

  describe('by a Temporal that says nothing', () => {
    let silent: Server;
    let asked = 0;
    beforeAll(async () => {
      silent = createServer((socket) => {
        asked += 1;
        socket.on('error', () => undefined);
      });
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    });
    afterAll(() => silent.close());

    test.each([
      [['setup', '--create-namespace'], 'Ended by Ctrl-C. Nothing else was changed. Run it again'],
      [['workers', 'promote', '4f2c1ab'], 'Ended by Ctrl-C. Nothing was changed.'],
    ])('%j', async (words, says) => {
      const before = asked;
      const TEMPORAL_ADDRESS = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
      const seen = () => asked > before;
      const { status, err } = await cutOff(words, { environment: { TEMPORAL_ADDRESS }, by: 'SIGINT', soFar: seen });
      expect([status, err]).toEqual([130, expect.stringContaining(says)]);
    });
  });

  test('the first key of an installation is shown where it may have been made, and is none where it was not', async () => {
    await stack.admin.query('UPDATE copilot_internal.api_keys SET revoked_at = now() WHERE tenant_id IS NULL');
    const held = await stack.admin.connect();
    await held.query('BEGIN');
    await held.query('LOCK TABLE copilot_internal.api_keys IN SHARE MODE');
    const soFar = async () => {
      const { rowCount } = await stack.admin.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rowCount === 1;
    };
    const environment = { DATABASE_URL: stack.database.appUrl };
    const { status, out, err } = await cutOff(['keys', 'first'], { environment, by: 'SIGTERM', soFar });
    await held.query('ROLLBACK');
    held.release();
    expect([status, out]).toEqual([130, '']);
    const [, key = ''] = /^Ended by SIGTERM[.] The key may have been made[.].*:\n(slk_\S+)$/m.exec(err) ?? [];
    expect(key).not.toBe('');
    expect((await api.request('/v1/tenants', { key })).status).toBe(401);
    const { rowCount } = await stack.admin.query(`SELECT FROM copilot_internal.api_keys WHERE label = 'the first'`);
    expect(rowCount).toBe(0);
  });
});
