/**
 * Callers over HTTP that go away before they hear of their grant, and come back through another process or later: a grant that somebody
 * was told of stays theirs (docs/decisions/0052).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSpendlockClient } from '../../client';
import { startDatabaseProxy } from '../../scripts/chaos/database-proxy';
import { startTestApi, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

describe.each([
  ['whoever asks decides', true],
  ['only authorities decide', false],
])('where %s', (_how, mandates) => {
  let stack: TestStack;
  let api: TestApi;
  let other: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: mandates ? 'on' : 'off' });
    [api, other] = await Promise.all([startTestApi(stack, { mandates }), startTestApi(stack, { mandates })]);
  });
  afterAll(async () => {
    await Promise.all([api.close(), other.close()]);
    await stack.stop();
  });

  const order = (tenantId: string, operationId: string) => ({ tenantId, operationId, resource: 'llm', amountUsd: '1' });
  const statusOf = async (operationId: string, tenantId: string): Promise<unknown> =>
    (await api.call('GET', `/v1/reservations/${operationId}?tenantId=${tenantId}`)).body.status;

  /** Asks, and goes away after that long. */
  const cut = async (tenantId: string, operationId: string, afterMs: number, at = api): Promise<number | 'cut'> =>
    fetch(`${at.url}/v1/reservations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(order(tenantId, operationId)),
      signal: AbortSignal.timeout(afterMs),
    }).then(
      ({ status }) => status,
      () => 'cut' as const,
    );

  test.each(['another process', 'the same process'])(
    'a repeat at %s is told what holds from then on',
    async (where) => {
      const tenantId = await stack.tenant('1000');
      const ends: string[] = [];
      for (let round = 0; round < 40; round += 1) {
        const operationId = randomUUID();
        const first = await cut(tenantId, operationId, 2 + (round % 20));
        await sleep(round % 4 === 3 ? 40 : 0);
        const repeat = await (where === 'another process' ? other : api).call('POST', '/v1/reservations', {
          body: order(tenantId, operationId),
        });
        // What the first leaves behind has come by then.
        await sleep(150);
        if (first === 'cut') ends.push(`${repeat.status} ${String(await statusOf(operationId, tenantId))}`);
      }
      expect(ends.length).toBeGreaterThan(0);
      // Told of a grant, it is there; or told that it was given back.
      expect(new Set([...ends, '201 granted', '409 released'])).toEqual(new Set(['201 granted', '409 released']));
    },
  );

  test('a grant that nobody else was told of is given back', async () => {
    const tenantId = await stack.tenant('1000');
    for (let round = 0; round < 10; round += 1) await cut(tenantId, randomUUID(), 2 + round);
    await until('nothing is held', async () => (await stack.books(tenantId)).openReservations === 0);
  });

  test('a grant that is told by the record to two who are both gone by then is given back', async () => {
    const tenantId = await stack.tenant('1000');
    // Decided once, so that nothing has to be made first.
    await api.call('POST', '/v1/reservations', { body: order(tenantId, randomUUID()) });
    const locked = await stack.admin.connect();
    const operations = Array.from({ length: 5 }, () => randomUUID());
    try {
      await locked.query('BEGIN');
      await locked.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
      // Long enough for all to have come in: what nobody heard of is not given back.
      const asked = operations.flatMap((operationId) => [
        cut(tenantId, operationId, 1_500),
        cut(tenantId, operationId, 1_600, other),
      ]);
      expect(new Set(await Promise.all(asked))).toEqual(new Set(['cut']));
    } finally {
      await locked.query('ROLLBACK');
      locked.release();
    }
    const statuses = () => Promise.all(operations.map((operationId) => statusOf(operationId, tenantId)));
    const areAllBack = async (): Promise<boolean> => (await statuses()).every((status) => status === 'released');
    await until('all are decided and given back', areAllBack, 30_000).catch(() => undefined);
    expect(await statuses()).toEqual(operations.map(() => 'released'));
  });

  test('the client, whose first answers are lost, works with a grant that is there', async () => {
    const tenantId = await stack.tenant('1000');
    const proxy = await startDatabaseProxy(Number(new URL(api.url).port));
    const client = createSpendlockClient({ baseUrl: `http://127.0.0.1:${proxy.port}`, apiKey: api.adminKey });
    try {
      for (let round = 0; round < 20; round += 1) {
        const working = client.withReservation(
          { tenantId, resource: 'llm', amountUsd: '1' },
          async ({ operationId }) => {
            await sleep(150);
            return { costUsd: '0.5', value: await statusOf(operationId, tenantId) };
          },
        );
        await sleep(2 + (round % 10));
        // Whatever is under way is cut off.
        proxy.set('refuse');
        proxy.set('pass');
        expect(await working).toBe('granted');
      }
    } finally {
      await proxy.close();
    }
    await until('all is recorded', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await stack.books(tenantId)).ledgerUsd).toBe('10');
  });
});
