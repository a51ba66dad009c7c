/** Whose answers make room when they are left unread: never those of others, and nobody else is refused anything for them. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { startApi, type RunningApi } from '../../api/server';
import { socketLimits, type SocketLimits } from '../../api/http/sockets';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { spendInLargeRows } from '../support/large-rows';
import { until, type TestStack } from '../support/stack';

const MiB = 1024 * 1024;

describe('answers that are left unread', () => {
  let stack: TestStack;
  let api: TestApi;
  let limited: RunningApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  afterEach(() => limited.close());

  const serve = async (limits: Partial<SocketLimits>): Promise<void> => {
    const all = { ...socketLimits, takenMs: 600_000, ...limits };
    limited = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, socketLimits: all });
  };
  const statusOf = async (path: string, key?: string): Promise<number> => {
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const response = await fetch(`${limited.url}${path}`, { headers });
    await response.arrayBuffer();
    return response.status;
  };
  /** Asks for all of these in one write, and reads nothing yet. */
  const unread = (paths: string[], { key, from = '127.0.0.1' }: { key?: string; from?: string } = {}): Socket => {
    const socket = connect({ port: limited.port, host: '127.0.0.1', localAddress: from });
    socket.on('error', () => undefined).pause();
    const authorization = key === undefined ? '' : `authorization: Bearer ${key}\r\n`;
    socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n${authorization}\r\n`).join(''));
    return socket;
  };
  const times = (count: number, path: string): string[] => Array.from({ length: count }, () => path);
  /** Reads on. Answers how many answers there were to the end of the connection, or to the last of them. */
  const readOn = async (socket: Socket, all: number): Promise<number> => {
    let [count, tail] = [0, ''];
    socket.on('data', (data: Buffer) => {
      const parts = (tail + data.toString('latin1')).split('HTTP/1.1 200');
      count += parts.length - 1;
      tail = (parts.at(-1) ?? '').slice(-11);
    });
    socket.resume();
    await until('all came, or it was ended', () => count >= all || socket.closed);
    socket.destroy();
    return count;
  };
  /** A tenant whose ledger comes in pages of eight megabytes. */
  const tenantOfLargePages = async (): Promise<string> => {
    const tenantId = await stack.tenant('10');
    await spendInLargeRows(stack, tenantId, 9);
    return tenantId;
  };

  test('pages that many addresses ask for without a key: everybody is served, and the oldest of whoever leaves most end', async () => {
    // The kernel takes some megabytes of each connection by itself: so many pages pass what it takes, and are less than the room for all.
    const page = await api.request('/openapi.json', {});
    const pages = Math.floor((30 * MiB) / (await page.arrayBuffer()).byteLength);
    await serve({ pipelinedMax: pages, allBytes: 40 * MiB, keylessBytes: 40 * MiB });
    const key = await api.keyOf(await stack.tenant('10'));
    const slowPages = 30;
    const slow = unread(times(slowPages, '/openapi.json'), { from: '127.0.0.20' });
    const sockets = Array.from({ length: 8 }, (_, at) =>
      unread(times(pages, '/openapi.json'), { from: `127.0.0.${at + 2}` }),
    );
    for (let round = 0; round < 20; round += 1) {
      expect([await statusOf('/v1/usage', key), await statusOf('/docs')]).toEqual([200, 200]);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await readOn(slow, slowPages)).toBe(slowPages);
    const read = await Promise.all(sockets.map((socket) => readOn(socket, pages)));
    expect(read.filter((count) => count < pages).length).toBeGreaterThan(0);
    expect(read.filter((count) => count === pages).length).toBeGreaterThan(0);
  });

  test('pages of one tenant, asked for at once: no other is refused anything, and what passes the room for all ends', async () => {
    await serve({ perOwnerBytes: 4 * MiB, allBytes: 24 * MiB });
    const [key, others] = [await api.keyOf(await tenantOfLargePages()), await api.keyOf(await stack.tenant('10'))];
    const sockets = Array.from({ length: 8 }, () => unread(times(2, '/v1/cost-records?limit=1000'), { key }));
    await until('it is refused more', async () => {
      expect(await statusOf('/v1/usage', others)).toBe(200);
      return (await statusOf('/v1/usage', key)) === 429;
    });
    for (let round = 0; round < 20; round += 1) {
      expect([await statusOf('/v1/usage', others), await statusOf('/docs')]).toEqual([200, 200]);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const read = await Promise.all(sockets.map((socket) => readOn(socket, 2)));
    expect(read.some((count) => count < 2)).toBe(true);
    await until('it is let in again', async () => (await statusOf('/v1/usage', key)) === 200);
  });

  test('behind a stream that goes on they end too', async () => {
    await serve({ takenMs: 2_000 });
    const tenantId = await tenantOfLargePages();
    const runId = randomUUID();
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options, status)
       VALUES ($1::uuid, $2, 'none/' || $1::text, 'm', 'x', '{}', 'running')`,
      [runId, tenantId],
    );
    const key = await api.keyOf(tenantId);
    const socket = unread([`/v1/runs/${runId}/events`, ...times(3, '/v1/cost-records?limit=1000')], { key });
    const [begun] = (await once(socket.resume(), 'data')) as [Buffer];
    expect(begun.toString('latin1')).toContain('text/event-stream');
    await until('the connection is ended', () => socket.closed);
  });
});
