/**
 * What one tenant's keys do is not felt by another: its p99 does not triple, and none of its requests fails. Each is measured in
 * pairs within this run, quiet and beside the other's doing, so that the machine's own noise is on both sides.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { LoadOrder, Statuses } from '../support/load-process';
import { until, type TestStack } from '../support/stack';

describe('shares of tenants', () => {
  let stack: TestStack;
  let api: TestApi;
  let calm: { tenantId: string; key: string };
  let busy: { tenantId: string; key: string };
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  beforeAll(async () => {
    const tenant = async () => {
      const tenantId = await stack.tenant('1000');
      return { tenantId, key: await api.keyOf(tenantId) };
    };
    [calm, busy] = [await tenant(), await tenant()];
    await stack.admin.query(
      `WITH made AS (
         INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options, type, status, ended_at)
         SELECT gen_random_uuid(), $1, 'none/' || gen_random_uuid(), 'm', 'x', '{}', 'task', 'completed', now()
         FROM generate_series(1, 12) RETURNING run_id)
       INSERT INTO copilot_internal.run_files (run_id, tenant_id, name, content)
       SELECT run_id, $1, 'large.bin', decode(repeat('00ff10', 6640994), 'hex') FROM made`,
      [busy.tenantId],
    );
    await measure(100);
  });

  const quantile = (sample: number[], share: number): number =>
    [...sample].sort((a, b) => a - b)[Math.min(sample.length - 1, Math.floor(share * sample.length))] ?? NaN;

  /** The calm tenant's p99 over so many requests, two at a time. */
  const measure = async (count: number): Promise<number> => {
    const tookMs: number[] = [];
    const failed: number[] = [];
    const one = async (): Promise<void> => {
      for (let at = 0; at < count / 2; at += 1) {
        const startedMs = performance.now();
        const { status } = await api.call('POST', '/v1/quota-checks', {
          key: calm.key,
          body: { resource: 'llm', estimatedUsd: '0.01' },
        });
        tookMs.push(performance.now() - startedMs);
        if (status !== 200) failed.push(status);
      }
    };
    await Promise.all([one(), one()]);
    expect(failed).toEqual([]);
    return quantile(tookMs, 0.99);
  };

  /** The median of three pairs. */
  const ratioBeside = async (begin: () => Promise<() => Promise<void>>): Promise<number> => {
    const ratios: number[] = [];
    for (let pair = 0; pair < 3; pair += 1) {
      const quietMs = await measure(400);
      const end = await begin();
      const besideMs = await measure(400);
      await end();
      // Below some milliseconds a triple is the clock's, not the product's.
      ratios.push(besideMs / Math.max(quietMs, 8));
    }
    return quantile(ratios, 0.5);
  };

  /** The busy tenant's caller, in a process of its own: what it needs to send is not the API's doing. */
  const withCaller = async <T>(
    port: number,
    use: (tell: (order: LoadOrder) => void, caller: ChildProcess) => Promise<T>,
  ): Promise<T> => {
    const runner = path.join(__dirname, '..', '..', 'scripts', 'run.cjs');
    const program = path.join(__dirname, '..', 'support', 'load-process.ts');
    const caller = fork(runner, [program, String(port), busy.key], { execArgv: [] });
    const gone = once(caller, 'exit');
    await once(caller, 'message');
    try {
      return await use((order) => void caller.send(order), caller);
    } finally {
      caller.kill();
      await gone;
    }
  };
  /** How often each status came, when a load has ended. */
  const statusesOf = async (caller: ChildProcess): Promise<Statuses> =>
    ((await once(caller, 'message')) as [Statuses])[0];

  const socketFor = (head: string): Socket => {
    const socket = connect(api.port, '127.0.0.1').on('error', () => undefined);
    socket.write(`${head} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${busy.key}\r\n`);
    return socket;
  };
  const closeAll = async (sockets: Socket[]): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await until('the places are given back', async () => {
      const response = await api.request(`/v1/tenants/${busy.tenantId}/export`, { key: busy.key });
      await response.body?.cancel();
      return response.status === 200;
    });
  };

  test('XB3: exports and streams that HEAD asks for are not felt', async () => {
    const ratio = await ratioBeside(async () => {
      for (let at = 0; at < 24; at += 1) {
        const paths = [`/v1/tenants/${busy.tenantId}/export`, `/v1/tenants/${busy.tenantId}/overview/events`];
        await Promise.all(paths.map((path) => api.request(path, { key: busy.key, method: 'HEAD' })));
      }
      return () => Promise.resolve();
    });
    expect(ratio).toBeLessThan(3);
  });

  test('XB4: exports that nobody reads are not felt', async () => {
    const ratio = await ratioBeside(async () => {
      const sockets = Array.from({ length: 8 }, () => {
        const socket = socketFor(`GET /v1/tenants/${busy.tenantId}/export`);
        socket.write('\r\n');
        return socket;
      });
      await Promise.all(sockets.map((socket) => once(socket, 'readable')));
      return () => closeAll(sockets);
    });
    expect(ratio).toBeLessThan(3);
  });

  test('XB8: twenty large bodies at once are refused in words beyond a bound, and are not felt', async () => {
    const all: Statuses = {};
    let rssMaxBytes = 0;
    const rssBytes = process.memoryUsage().rss;
    const watch = setInterval(() => (rssMaxBytes = Math.max(rssMaxBytes, process.memoryUsage().rss)), 20);
    const ratio = await withCaller(api.port, (tell, caller) =>
      ratioBeside(() => {
        const answered = statusesOf(caller);
        tell({ kind: 'bodies', count: 20, bytes: 25 * 1024 * 1024 });
        return Promise.resolve(async () => add(all, await answered));
      }),
    );
    clearInterval(watch);
    // One of each twenty goes through, unless another is done before it comes.
    expect(Object.keys(all).sort()).toEqual(['202', '429']);
    expect(all[429]).toBeGreaterThan(30);
    // Before, each of them was in the process several times.
    expect((rssMaxBytes - rssBytes) / 2 ** 20).toBeLessThan(500);
    expect(ratio).toBeLessThan(3);
  });

  test('two hundred open streams are not felt', async () => {
    const ratio = await ratioBeside(async () => {
      const sockets = Array.from({ length: 200 }, () => {
        const socket = socketFor(`GET /v1/tenants/${busy.tenantId}/overview/events`);
        socket.write('\r\n');
        socket.on('data', () => undefined);
        return socket;
      });
      await Promise.all(sockets.map((socket) => once(socket, 'data')));
      return () => closeAll(sockets);
    });
    expect(ratio).toBeLessThan(3);
  });
});

const add = (all: Statuses, more: Statuses): void => {
  for (const [status, count] of Object.entries(more)) all[Number(status)] = (all[Number(status)] ?? 0) + count;
};
