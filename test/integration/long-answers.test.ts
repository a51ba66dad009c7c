/** Answers that go on, and who else stands still meanwhile: HEAD, exports that nobody reads, streams, revoked keys (XB3, XB4, XC2). */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { longLimits } from '../../api/http/long-answers';
import { startApi } from '../../api/server';
import { createApiKey, revokeApiKey } from '../../store/api-keys';
import { createPool } from '../../store/pool';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('long answers', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });

  /** A connection that sends a request and reads nothing of the answer after its first bytes. */
  const unread = async (path: string, key: string, to = api.port): Promise<Socket> => {
    const socket = connect(to, '127.0.0.1');
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n\r\n`);
    await once(socket, 'readable');
    return socket;
  };
  const statusOf = async (path: string, key: string, method = 'GET'): Promise<number> => {
    const response = await api.request(path, { key, method });
    await response.text();
    return response.status;
  };
  const inTransaction = async (): Promise<number> => {
    const { rows } = await stack.admin.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM pg_stat_activity
       WHERE datname = current_database() AND state = 'idle in transaction' AND backend_type = 'client backend'`,
    );
    return rows[0]?.count ?? 0;
  };
  /** Rows that are many megabytes, so that an export of them waits for its reader. */
  const fill = async (tenantId: string, files: number, megabytes: number): Promise<void> => {
    await stack.admin.query(
      `WITH made AS (
         INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options, type, status, ended_at)
         SELECT gen_random_uuid(), $1, 'none/' || gen_random_uuid(), 'm', 'x', '{}', 'task', 'completed', now()
         FROM generate_series(1, $2) RETURNING run_id)
       INSERT INTO copilot_internal.run_files (run_id, tenant_id, name, content)
       SELECT run_id, $1, 'large.bin', decode(repeat('00ff10', $3 * 349526), 'hex') FROM made`,
      [tenantId, files, megabytes],
    );
  };

  test('XB3: HEAD runs no export and no stream, and takes no connection', async () => {
    const tenantId = await stack.tenant('10');
    const other = await stack.tenant('10');
    const [key, others] = await Promise.all([api.keyOf(tenantId), api.keyOf(other)]);
    const described = (await (await api.request('/openapi.json', { key: '' })).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const gets = Object.entries(described.paths).flatMap(([path, { get }]) => (get ? [path] : []));
    expect(gets).toContain('/v1/tenants/{id}/export');
    for (const path of gets) {
      const at = path.replace(/\{\w+\}/, tenantId);
      const statuses = await Promise.all(Array.from({ length: 8 }, () => statusOf(at, key, 'HEAD')));
      expect(statuses.filter((status) => status >= 500)).toEqual([]);
      expect(await statusOf(`/v1/tenants/${other}/quotas`, others)).toBe(200);
    }
    await until('no transaction is left open', async () => (await inTransaction()) === 0);
    const { headers, status } = await api.request(`/v1/tenants/${tenantId}/export`, { key, method: 'HEAD' });
    expect({ status, type: headers.get('content-type') }).toEqual({ status: 200, type: 'application/x-ndjson' });
  });

  test('XB3: a stream that HEAD asks for asks nothing of Postgres afterwards', async () => {
    const tenantId = await stack.tenant('10');
    const commits = async (): Promise<number> => {
      const { rows } = await stack.admin.query<{ count: string }>(
        'SELECT xact_commit::text AS count FROM pg_stat_database WHERE datname = current_database()',
      );
      return Number(rows[0]?.count);
    };
    for (let at = 0; at < 40; at += 1) {
      await statusOf(`/v1/tenants/${tenantId}/overview/events`, api.adminKey, 'HEAD');
      await statusOf('/v1/tenants/events', api.adminKey, 'HEAD');
    }
    // Statistics are told when a connection rests; before, eighty streams asked sixty times a second.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const before = await commits();
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect((await commits()) - before).toBeLessThan(100);
  });

  test('XB4: exports that nobody reads stop nobody, one a tenant is open, and they end', async () => {
    const limits = { ...longLimits, export: { ...longLimits.export, unreadMs: 2_000 } };
    const limited = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, longLimits: limits });
    const tenants = await Promise.all(Array.from({ length: 4 }, () => stack.tenant('10')));
    const keys = await Promise.all(tenants.map((tenantId) => api.keyOf(tenantId)));
    for (const tenantId of tenants) await fill(tenantId, 1, 18);
    const calm = await stack.tenant('10');
    const calmKey = await api.keyOf(calm);
    const ask = (path: string, key: string): Promise<Response> =>
      fetch(`${limited.url}${path}`, { headers: { authorization: `Bearer ${key}` } });
    const open = await Promise.all(
      tenants.map((tenantId, at) => unread(`/v1/tenants/${tenantId}/export`, keys[at] ?? '', limited.port)),
    );
    const ends = open.map((socket) =>
      once(
        socket.on('error', () => undefined),
        'close',
      ),
    );
    const again = await ask(`/v1/tenants/${tenants[0]}/export`, keys[0] ?? '');
    expect(again.status).toBe(429);
    expect(again.headers.get('retry-after')).not.toBeNull();
    expect(await again.json()).toMatchObject({ error: 'too_much_at_once' });
    const answers = await Promise.all(
      Array.from({ length: 40 }, async () => (await ask(`/v1/tenants/${calm}/quotas`, calmKey)).status),
    );
    expect(answers.filter((status) => status !== 200)).toEqual([]);
    for (const socket of open) socket.resume();
    // Cut, not ended as if it were whole.
    await Promise.all(ends);
    await until('an export is let in again', async () => {
      const response = await ask(`/v1/tenants/${calm}/export`, calmKey);
      const text = await response.text();
      return response.status === 200 && /"end":true/.test(text);
    });
    await until('no transaction is left open', async () => (await inTransaction()) === 0);
    await limited.close();
  });

  test('XB4: large files are exported in pieces, and come out as they are', async () => {
    const tenantId = await stack.tenant('10');
    await fill(tenantId, 3, 18);
    await stack.admin.query(
      `UPDATE copilot_internal.run_files SET content = 'small'::bytea WHERE run_id = (
         SELECT run_id FROM copilot_internal.run_files WHERE tenant_id = $1 LIMIT 1)`,
      [tenantId],
    );
    const { rows } = await stack.admin.query<{ run_id: string; md5: string }>(
      'SELECT run_id, md5(content) AS md5 FROM copilot_internal.run_files WHERE tenant_id = $1',
      [tenantId],
    );
    const response = await api.request(`/v1/tenants/${tenantId}/export`);
    const pieces: number[] = [];
    let text = '';
    const decoder = new TextDecoder();
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      pieces.push(piece.length);
      text += decoder.decode(piece, { stream: true });
    }
    expect(Math.max(...pieces)).toBeLessThan(2 * 1024 * 1024);
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { table?: string; row?: Record<string, string>; end?: true; rows?: number });
    const files = lines.filter(({ table }) => table === 'run_files').map(({ row }) => row ?? {});
    const { createHash } = await import('node:crypto');
    const found = files.map(({ run_id, content = '' }) => ({
      run_id,
      md5: createHash('md5')
        .update(Buffer.from(content.slice(2), 'hex'))
        .digest('hex'),
    }));
    const byRun = (some: { run_id?: string | undefined }[]) =>
      [...some].sort((a, b) => ((a.run_id ?? '') < (b.run_id ?? '') ? -1 : 1));
    expect(byRun(found)).toEqual(byRun(rows));
    expect(lines.at(-1)).toEqual({ end: true, rows: lines.length - 2 });
  });

  test('XB3: a tenant whose requests all wait leaves connections to the others', async () => {
    const [tenantId, other] = [await stack.tenant('10'), await stack.tenant('10')];
    const [key, others] = [await api.keyOf(tenantId), await api.keyOf(other)];
    const locker = await stack.admin.connect();
    await locker.query('BEGIN; LOCK TABLE copilot_internal.runs IN EXCLUSIVE MODE');
    const stuck = Array.from({ length: 24 }, () =>
      api.call('POST', '/v1/runs', { key, body: { task: 'Say something.' } }),
    );
    try {
      // Six where nobody else asked within the last second, two otherwise.
      await until('they wait', async () => {
        const { rows } = await stack.admin.query<{ count: number }>(
          `SELECT count(*)::integer AS count FROM pg_stat_activity
           WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO copilot_internal.runs%'`,
        );
        return (rows[0]?.count ?? 0) >= 2;
      });
      const startedMs = performance.now();
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => statusOf(`/v1/tenants/${other}/quotas`, others)),
      );
      expect(answers.filter((status) => status !== 200)).toEqual([]);
      expect(performance.now() - startedMs).toBeLessThan(3_000);
    } finally {
      await locker.query('ROLLBACK');
      locker.release();
    }
    await Promise.all(stuck);
  });

  test('XC6: open streams of a tenant have a bound, and give their places back', async () => {
    const limits = { ...longLimits, events: { ...longLimits.events, perOwner: 3 } };
    const limited = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, longLimits: limits });
    const [tenantId, other] = [await stack.tenant('10'), await stack.tenant('10')];
    const [key, second, others] = [await api.keyOf(tenantId), await api.keyOf(tenantId), await api.keyOf(other)];
    const open = await Promise.all(
      [key, second, key].map((one) => unread(`/v1/tenants/${tenantId}/overview/events`, one, limited.port)),
    );
    const ask = async (whose: string, by: string): Promise<number> => {
      const gone = new AbortController();
      const { status } = await fetch(`${limited.url}/v1/tenants/${whose}/overview/events`, {
        headers: { authorization: `Bearer ${by}` },
        signal: gone.signal,
      });
      gone.abort();
      return status;
    };
    expect(await ask(tenantId, second)).toBe(429);
    expect(await ask(other, others)).toBe(200);
    for (const socket of open) socket.destroy();
    await until('a place is free', async () => (await ask(tenantId, key)) === 200);
    await limited.close();
  });

  test('XC2: a revocation reaches every process at once, and ends the streams that are open under the key', async () => {
    const pool = createPool(stack.database.appUrl);
    const second = await startApi({ ...stack.api, pool, host: '127.0.0.1', port: 0 });
    const tenantId = await stack.tenant('10');
    const { key, apiKeyId } = await createApiKey(stack.pool, { tenantId });
    const urls = [api.url, second.url];
    const ask = (url: string): Promise<Response> =>
      fetch(`${url}/v1/tenants/${tenantId}/quotas`, { headers: { authorization: `Bearer ${key}` } });
    const streams = await Promise.all(
      urls.map((url) =>
        fetch(`${url}/v1/tenants/${tenantId}/overview/events`, { headers: { authorization: `Bearer ${key}` } }),
      ),
    );
    // Both remember the key.
    for (const url of urls) expect((await ask(url)).status).toBe(200);
    for (const url of urls) expect((await ask(url)).status).toBe(200);
    await revokeApiKey(stack.pool, { tenantId, apiKeyId });
    const revokedMs = performance.now();
    for (const url of urls) await until('it is refused', async () => (await ask(url)).status === 401, 2_000);
    expect(performance.now() - revokedMs).toBeLessThan(2_000);
    await Promise.all(streams.map(async (stream) => stream.text().catch(() => '')));
    expect(performance.now() - revokedMs).toBeLessThan(5_000);
    await second.close();
    await pool.end();
  });

  test('XC2: while nobody would hear of a revocation no key is remembered', async () => {
    const pool = createPool(stack.database.appUrl);
    const second = await startApi({ ...stack.api, pool, host: '127.0.0.1', port: 0 });
    const tenantId = await stack.tenant('10');
    const { key, apiKeyId } = await createApiKey(stack.pool, { tenantId });
    const ask = async (): Promise<number> =>
      (await fetch(`${second.url}/v1/tenants/${tenantId}/quotas`, { headers: { authorization: `Bearer ${key}` } }))
        .status;
    expect(await ask()).toBe(200);
    // A trigger that tells nothing is as good as a connection that hears nothing.
    const { rows } = await stack.admin.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'spendlock-listener spendlock_keys'`,
    );
    const ended = stack.admin.query('SELECT pg_terminate_backend(pid) FROM unnest($1::integer[]) AS t (pid)', [
      rows.map(({ pid }) => pid),
    ]);
    await ended;
    await revokeApiKey(stack.pool, { tenantId, apiKeyId });
    await until('it is refused', async () => (await ask()) === 401, 2_000);
    await second.close();
    await pool.end();
  });
});
