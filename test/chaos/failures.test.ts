/**
 * One failure at a time (V7): what callers are told during it, that nothing is granted or lost by it, and that the next request
 * after it is decided as if nothing had been.
 */
import { randomUUID } from 'node:crypto';
import { startDatabaseProxy, type DatabaseProxy } from '../../scripts/chaos/database-proxy';
import { startApi } from '../../api/server';
import { createPool } from '../../store/pool';
import { budgetWorkflowId } from '../../contracts/messages';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { TestStack, until, type TestWorker } from '../support/stack';

describe('when something fails', () => {
  let stack: TestStack;
  let api: TestApi;
  let proxy: DatabaseProxy;
  let worker: TestWorker;
  /** A worker whose database is behind the proxy; the API's is not. */
  const startWorker = (): Promise<TestWorker> => {
    const url = new URL(stack.database.appUrl);
    url.host = `127.0.0.1:${proxy.port}`;
    return stack.startWorker({ environment: { DATABASE_URL: url.toString() } });
  };
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    proxy = await startDatabaseProxy(Number(new URL(stack.database.appUrl).port));
    api = await startTestApi(stack);
    worker = await startWorker();
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
    await proxy.close();
  });

  const reserve = (tenantId: string, amountUsd = '1', operationId: string = randomUUID()): Promise<Answer> =>
    api.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd } });
  const commit = (tenantId: string, operationId: string, costUsd: string, more: object = {}): Promise<Answer> =>
    api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd, ...more } });
  const unavailable = { status: 503, body: { error: 'authority_unavailable' } };
  const count = (answers: readonly Answer[], status: number): number =>
    answers.filter((answer) => answer.status === status).length;
  const settled = (tenantId: string, reservedUsd: string): Promise<unknown> =>
    until(`$${reservedUsd} is held`, async () => (await stack.books(tenantId)).reservedUsd === reservedUsd);

  /** Recovery: asked again until it is granted, and the books then hold exactly that. */
  async function recovers(tenantId: string, heldUsd = 0): Promise<void> {
    await until('a reserve is granted again', async () => (await reserve(tenantId)).status === 201);
    await settled(tenantId, String(heldUsd + 1));
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: (await stack.books(tenantId)).ledgerUsd });
  }

  /** A trigger that lets nothing be written, or only what it is told, while the work lasts. */
  async function withTrigger(
    { table, event, body }: { table: string; event: string; body: string },
    work: () => Promise<void>,
  ): Promise<void> {
    await stack.admin.query(
      `CREATE FUNCTION copilot_internal.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN NEW; END $$;
       CREATE TRIGGER fail BEFORE ${event} ON copilot_internal.${table} FOR EACH ROW EXECUTE FUNCTION copilot_internal.fail()`,
    );
    try {
      await work();
    } finally {
      await stack.admin.query('DROP FUNCTION copilot_internal.fail() CASCADE');
    }
  }

  test('the check in the database fails: denied for safety, nothing held, and it recovers', async () => {
    const tenantId = await stack.tenantThat('deny');
    const check = 'EXECUTE ON FUNCTION copilot_internal.apply_quota_changes(text, jsonb)';
    await stack.admin.query(`REVOKE ${check} FROM spendlock_app`);
    try {
      expect(await reserve(tenantId)).toMatchObject(unavailable);
      expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', ledgerUsd: '0' });
    } finally {
      await stack.admin.query(`GRANT ${check} TO spendlock_app`);
    }
    await recovers(tenantId);
  });

  test('updates of balances fail: nothing of the decision is written, and it recovers', async () => {
    const tenantId = await stack.tenantThat('deny');
    await withTrigger(
      { table: 'cost_quotas', event: 'UPDATE', body: `RAISE 'no update' USING ERRCODE = 'XX000';` },
      async () => {
        expect(await reserve(tenantId)).toMatchObject(unavailable);
        const { rowCount } = await stack.admin.query(
          `SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'granted'`,
          [tenantId],
        );
        expect(rowCount).toBe(0);
        expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0' });
      },
    );
    await recovers(tenantId);
  });

  test('the ledger refuses: a cost that was acknowledged is not lost', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    expect((await reserve(tenantId, '2', operationId)).status).toBe(201);
    await withTrigger(
      { table: 'cost_records', event: 'INSERT', body: `RAISE 'no ledger' USING ERRCODE = 'XX000';` },
      async () => {
        expect(await commit(tenantId, operationId, '1.5')).toMatchObject({ status: 200 });
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', spentUsd: '0', reservedUsd: '2' });
      },
    );
    await until('it is in the ledger', async () => (await stack.books(tenantId)).ledgerUsd === '1.5');
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '1.5', reservedUsd: '0', openReservations: 0 });
  });

  test('corrupted balances: what cannot be is refused by the table, what can be is never to the good of the spender', async () => {
    const tenantId = await stack.tenant('10');
    const corrupt = (assignment: string): Promise<unknown> =>
      stack.admin.query(`UPDATE copilot_internal.cost_quotas SET ${assignment} WHERE tenant_id = $1`, [tenantId]);
    for (const nonsense of ["limit_usd = 'NaN'", 'limit_usd = -1', 'reserved_usd = -1', 'period_end = period_start'])
      await expect(corrupt(nonsense)).rejects.toMatchObject({ code: '23514' });
    await corrupt('current_spend_usd = 999');
    expect(await reserve(tenantId)).toMatchObject({ status: 429, body: { quotaDetails: { remainingUsd: 0 } } });
    await corrupt('current_spend_usd = 0');
    await recovers(tenantId);
  });

  test('negative costs are refused, by the API and past it', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    await reserve(tenantId, '2', operationId);
    expect(await commit(tenantId, operationId, '-5')).toMatchObject({ status: 400, body: { error: 'invalid_amount' } });
    await expect(
      stack.admin.query(
        `UPDATE copilot_internal.reservations SET outcome = 'billed', outcome_usd = -5, outcome_at = now() WHERE operation_id = $1`,
        [operationId],
      ),
    ).rejects.toMatchObject({ code: '23514' });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '2', ledgerUsd: '0' });
  });

  test('an extreme cost is recorded to the last digit, as an overrun, and then nothing more is granted', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    await reserve(tenantId, '1', operationId);
    const costUsd = '999999999999.999999999999';
    expect(await commit(tenantId, operationId, costUsd)).toMatchObject({ status: 422 });
    expect(await commit(tenantId, operationId, costUsd, { confirm: true, reason: 'on the bill' })).toMatchObject({
      status: 200,
    });
    await until('it is folded', async () => (await stack.books(tenantId)).openReservations === 0);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: costUsd, spentUsd: costUsd, reservedUsd: '0' });
    expect(await reserve(tenantId, '0.000000000001')).toMatchObject({ status: 429 });
  });

  test('a database that takes five seconds: denied for safety in time, and nothing is held afterwards', async () => {
    const tenantId = await stack.tenantThat('deny');
    const client = await stack.admin.connect();
    await client.query('BEGIN');
    await client.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
    let isFree = false;
    const free = new Promise<void>((resolve) =>
      setTimeout(() => {
        isFree = true;
        void client.query('ROLLBACK').then(() => resolve());
      }, 5_000),
    );
    expect(await reserve(tenantId, '3')).toMatchObject(unavailable);
    expect(isFree).toBe(false);
    await free;
    client.release();
    await recovers(tenantId);
  });

  test('every second write fails: every request is answered, exactly the limit is granted', async () => {
    const tenantId = await stack.tenantThat('wait', 30_000);
    await stack.admin.query('CREATE SEQUENCE copilot_internal.tosses; GRANT ALL ON copilot_internal.tosses TO PUBLIC');
    const body = `IF NEW.resource_type = 'all' AND nextval('copilot_internal.tosses') % 2 = 0 THEN RAISE 'now and then' USING ERRCODE = 'XX000'; END IF;`;
    await withTrigger({ table: 'cost_quotas', event: 'UPDATE', body }, async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => reserve(tenantId)));
      expect([count(answers, 201), count(answers, 429)]).toEqual([10, 10]);
    });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '10', openReservations: 10 });
  });

  test('one command of a batch fails: it is told so, the others are granted', async () => {
    const tenantId = await stack.tenantThat('deny', 10_000);
    const bad = randomUUID();
    const body = `IF NEW.operation_id = '${bad}' THEN RAISE 'not this one' USING ERRCODE = '23514'; END IF;`;
    await withTrigger({ table: 'reservations', event: 'INSERT', body }, async () => {
      const [refused, ...others] = await Promise.all([
        reserve(tenantId, '1', bad),
        ...Array.from({ length: 8 }, () => reserve(tenantId)),
      ]);
      expect(refused).toMatchObject({ status: 500, body: { error: 'command_failed' } });
      expect(count(others, 201)).toBe(8);
    });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '8', openReservations: 8 });
  });

  test('the authority is down while Postgres works: denied for safety, quotas can still be read, and it recovers', async () => {
    const tenantId = await stack.tenantThat('deny');
    await worker.kill();
    expect(await reserve(tenantId, '4')).toMatchObject(unavailable);
    expect(await api.call('GET', `/v1/tenants/${tenantId}/quotas`)).toMatchObject({ status: 200 });
    worker = await startWorker();
    await recovers(tenantId);
  });

  test('the authority is down and the policy is `allow`: the call goes on, on record, and counts once it is back', async () => {
    const tenantId = await stack.tenantThat('allow');
    await worker.kill();
    const operationId = randomUUID();
    expect(await reserve(tenantId, '4', operationId)).toMatchObject({ status: 201, body: { unreserved: true } });
    expect(await commit(tenantId, operationId, '3')).toMatchObject({ status: 200 });
    worker = await startWorker();
    await until('it is in the ledger', async () => (await stack.books(tenantId)).ledgerUsd === '3');
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '3', reservedUsd: '0', openReservations: 0 });
    await until('it counts', async () => (await reserve(tenantId, '8')).status === 429);
  });

  test.each(['refuse', 'disk-full'] as const)(
    'Postgres is away from the authority (%s): denied for safety, and it recovers',
    async (mode) => {
      const tenantId = await stack.tenantThat('deny');
      proxy.set(mode);
      try {
        expect(await reserve(tenantId, '4')).toMatchObject(unavailable);
      } finally {
        proxy.set('pass');
      }
      await recovers(tenantId);
    },
  );

  test('Postgres is away from the API: it says that it is not available, and goes on after it', async () => {
    const url = new URL(stack.database.appUrl);
    url.host = `127.0.0.1:${proxy.port}`;
    const pool = createPool(url.toString());
    const away = await startApi({ ...stack.api, pool, host: '127.0.0.1', port: 0 });
    const tenantId = await stack.tenant('10');
    const ask = async (where: string, body: object): Promise<Answer> => {
      const headers = { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json' };
      // Whatever does not answer is told by the request, not by the end of the test's time.
      const signal = AbortSignal.timeout(60_000);
      const response = await fetch(`${away.url}${where}`, {
        ...{ method: 'POST', headers, signal },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const operationId = randomUUID();
    const body = { operationId, tenantId, resource: 'llm', amountUsd: '1' };
    try {
      expect((await ask('/v1/reservations', body)).status).toBe(201);
      for (const mode of ['refuse', 'disk-full'] as const) {
        proxy.set(mode);
        const committed = await ask(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '1' });
        expect({ mode, ...committed }).toMatchObject({ mode, status: 503, body: { error: 'unavailable' } });
        proxy.set('pass');
      }
      const again = (): Promise<Answer> => ask(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '1' });
      await until('the commit is taken', async () => (await again()).status === 200);
      await until('it is in the ledger', async () => (await stack.books(tenantId)).ledgerUsd === '1');
    } finally {
      proxy.set('pass');
      await away.close();
      await pool.end();
    }
  });

  test('books agree at every look while the database comes and goes', async () => {
    const tenantId = await stack.tenantThat('wait', 30_000);
    const pairs = Promise.all(
      Array.from({ length: 12 }, async () => {
        const operationId = randomUUID();
        const { status } = await reserve(tenantId, '0.5', operationId);
        if (status === 201) await commit(tenantId, operationId, '0.25');
        return status;
      }),
    );
    let done = false;
    void pairs.finally(() => (done = true));
    for (let look = 0; !done && look < 40; look += 1) {
      proxy.set(look % 4 === 1 ? 'refuse' : 'pass');
      const { ledgerUsd, spentUsd, reservedUsd } = await stack.books(tenantId);
      expect(spentUsd).toBe(ledgerUsd);
      expect(Number(spentUsd) + Number(reservedUsd)).toBeLessThanOrEqual(10);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    proxy.set('pass');
    expect(await pairs).toEqual(Array.from({ length: 12 }, () => 201));
    await until('all is folded', async () => (await stack.books(tenantId)).openReservations === 0);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '3', spentUsd: '3', reservedUsd: '0' });
  });

  test('a run that meets an outage waits for its grant, goes on after it, and is charged once', async () => {
    const tenantId = await stack.tenantThat('wait');
    proxy.set('refuse');
    const started = await stack.start({ tenantId });
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    proxy.set('pass');
    const run = await stack.finish({ tenantId, ...started });
    expect(run).toMatchObject({ status: 'completed', steps: [{ settlement: 'actual' }] });
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: run.costUsd,
      spentUsd: run.costUsd,
      reservedUsd: '0',
      openReservations: 0,
    });
  });

  test('the authority is terminated with requests under way: each is answered, none is granted twice', async () => {
    const tenantId = await stack.tenantThat('wait', 30_000);
    await reserve(tenantId);
    const asking = Promise.all(Array.from({ length: 15 }, () => reserve(tenantId)));
    await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).terminate('by a test');
    const answers = await asking;
    // What is neither is told in full.
    expect(answers.filter(({ status }) => status !== 201 && status !== 429)).toEqual([]);
    expect([count(answers, 201), count(answers, 429)]).toEqual([9, 6]);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '10', openReservations: 10 });
  });
});
