/**
 * Connections to Postgres that go silent without a reset, and processes that stop in the middle of a transaction: who has to do
 * with neither is served again within seconds, and no lock outlasts its bound (XB1).
 */
import { randomUUID } from 'node:crypto';
import { startDatabaseProxy, type DatabaseProxy } from '../../scripts/chaos/database-proxy';
import { listenTo } from '../../store/listener';
import { asTenant, createPool, inTransaction } from '../../store/pool';
import { startTestApi, type TestApi } from '../support/api';
import { createTestDatabase } from '../support/database';
import { TestStack, until, type TestWorker } from '../support/stack';

describe('a database that goes silent', () => {
  let stack: TestStack;
  let api: TestApi;
  let proxy: DatabaseProxy;
  let worker: TestWorker;

  beforeAll(async () => {
    const database = await createTestDatabase();
    const url = new URL(database.appUrl);
    proxy = await startDatabaseProxy(Number(url.port));
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    stack = await TestStack.start({ worker: false, database: { ...database, appUrl: url.toString() } });
    worker = await stack.startWorker();
    api = await startTestApi(stack);
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
    await proxy.close();
  });

  const tenant = (): Promise<string> => stack.tenantThat('wait', 3_000);
  const reserve = async (tenantId: string): Promise<number> => {
    const body = { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '0.01' };
    const response = await api.request('/v1/reservations', { method: 'POST', body });
    await response.body?.cancel();
    return response.status;
  };
  const isServed = (tenantId: string): Promise<unknown> =>
    until(`${tenantId} is served`, async () => (await reserve(tenantId)) === 201);
  /** How long until nobody holds a tenant's row. */
  const msUntilFree = async (tenantId: string): Promise<number> => {
    const startedMs = performance.now();
    await stack.admin.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
    return performance.now() - startedMs;
  };

  test('another tenant is served again within seconds of its coming back, with no socket reset (XB1)', async () => {
    const [busy, other] = [await tenant(), await tenant()];
    await Promise.all([isServed(busy), isServed(other)]);
    const calls = Array.from({ length: 30 }, () => reserve(busy));
    proxy.set('silent');
    // Every connection of the pools is in use, and hears nothing any more.
    calls.push(...Array.from({ length: 30 }, () => reserve(busy)));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    proxy.set('pass');
    const startedMs = performance.now();
    await isServed(other);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    // Who waited on the silent ones is answered too.
    expect((await Promise.all(calls)).every((status) => [201, 503].includes(status))).toBe(true);
    await isServed(busy);
  });

  test('a host that is lost between reading and recording gives its lock up within its bound (XB1)', async () => {
    const tenantId = await tenant();
    await isServed(tenantId);
    const lost = proxy.silenceAt('record_budget_batch');
    const call = reserve(tenantId);
    await lost;
    expect(await msUntilFree(tenantId)).toBeLessThan(10_000);
    await isServed(tenantId);
    expect([201, 503]).toContain(await call);
  });

  test('a transaction that decides nothing gives its locks up too when its host is lost, and its caller goes on (XB1)', async () => {
    const tenantId = await tenant();
    const lost = proxy.silenceAt('more of this transaction');
    const startedMs = performance.now();
    const call = asTenant(stack.pool, tenantId, async (client) => {
      await client.query('SELECT copilot_internal.lock_quotas($1, $2)', [tenantId, []]);
      await client.query(`SELECT 'more of this transaction'`);
    });
    const refused = expect(call).rejects.toThrow(/timeout|terminated/i);
    await lost;
    // The statement's time, a second more, and that of the ROLLBACK.
    await refused;
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(await msUntilFree(tenantId)).toBeLessThan(20_000);
  });

  test('who finds a connection silent waits once, and who comes next does not (XB1)', async () => {
    const pool = createPool(stack.database.appUrl, { max: 4 });
    const ask = async (): Promise<number> => {
      const startedMs = performance.now();
      await inTransaction(pool, (client) => client.query('SELECT')).catch(() => undefined);
      return performance.now() - startedMs;
    };
    // Four idle connections.
    await Promise.all(Array.from({ length: 4 }, () => pool.query('SELECT pg_sleep(0.5)')));
    expect(pool.idleCount).toBe(4);
    proxy.set('silent');
    proxy.set('pass');
    // The statement's six seconds, and one for its ROLLBACK.
    expect(await ask()).toBeLessThan(10_000);
    expect(await ask()).toBeLessThan(5_000);
    expect(pool.idleCount).toBe(1);
    await pool.end();
  });

  test('each connection asks, and is asked by Postgres, whether the other side is there (XB1)', async () => {
    const kept = await asTenant(stack.pool, 'any', async (client) => {
      const { rows } = await client.query<Record<string, string>>(
        `SELECT current_setting('tcp_keepalives_idle') AS idle, current_setting('tcp_keepalives_interval') AS interval,
           current_setting('tcp_keepalives_count') AS count, current_setting('tcp_user_timeout') AS unacknowledged`,
      );
      return rows;
    });
    expect(kept).toEqual([{ idle: '10', interval: '5', count: '3', unacknowledged: '30000' }]);
    expect(stack.pool.options).toMatchObject({ keepAlive: true, keepAliveInitialDelayMillis: 10_000 });
  });

  test('a worker that is stopped inside its transaction holds nobody up beyond its bound (XB1)', async () => {
    const tenantId = await tenant();
    await isServed(tenantId);
    const second = await stack.startWorker();
    const stopped = proxy.silenceAt('record_budget_batch');
    const call = reserve(tenantId);
    await stopped;
    const workers = [worker, second];
    for (const { process: child } of workers) child.kill('SIGSTOP');
    try {
      expect(await msUntilFree(tenantId)).toBeLessThan(10_000);
    } finally {
      for (const { process: child } of workers) child.kill('SIGCONT');
    }
    await call;
    await isServed(tenantId);
  });

  test('who listens for notifications hears them again (XB1)', async () => {
    let heard = 0;
    const listener = listenTo(stack.pool, { channel: 'of_this_test', onPayload: () => (heard += 1) });
    await listener.listening;
    const isHeard = (): Promise<unknown> =>
      until('it is heard', async () => {
        await stack.admin.query('NOTIFY of_this_test');
        return heard > 0;
      });
    await isHeard();
    proxy.set('silent');
    proxy.set('pass');
    heard = 0;
    await isHeard();
    await listener.stop();
  });
});
