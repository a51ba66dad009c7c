/** A request with an Idempotency-Key whose process ends, or stands still, at the worst moment: its repeat does nothing twice. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { startDatabaseProxy } from '../../scripts/chaos/database-proxy';
import { readPrices } from '../../store/prices';
import { signallingConnection } from '../../temporal/connection';
import { spendlock } from '../support/cli';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('a repeated request', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** Nothing was heard of what is not answered for longer than a repeat waits. */
  const longAgo = (): Promise<unknown> =>
    stack.admin.query(
      `UPDATE copilot_internal.idempotent_requests SET created_at = created_at - interval '40 seconds'
       WHERE response_status IS NULL`,
    );

  /** Carries a request out, and loses its answer before it is kept, as a process does that is killed there; then repeats it. */
  const loseAnswer = async (send: () => Promise<Answer>): Promise<{ lost: Answer; repeat: Answer }> => {
    await stack.admin.query(`
      CREATE FUNCTION public.lose_answer() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '57P01'; END $$;
      CREATE TRIGGER lose_answer BEFORE UPDATE OF response_status ON copilot_internal.idempotent_requests
        FOR EACH ROW EXECUTE FUNCTION public.lose_answer()`);
    const lost = await send();
    await stack.admin.query('DROP FUNCTION public.lose_answer CASCADE');
    await longAgo();
    return { lost, repeat: await send() };
  };

  const waiting = (count: number): Promise<unknown> =>
    until(`${count} wait for a lock`, async () => {
      const { rowCount } = await stack.admin.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rowCount === count;
    });

  const topUpOf = async (tenantId: string): Promise<unknown> => {
    const { quotas } = (await api.call('GET', `/v1/tenants/${tenantId}/quotas`)).body as {
      quotas: { resourceType: string; topupUsd: string }[];
    };
    return quotas.find(({ resourceType }) => resourceType === 'all')?.topupUsd;
  };
  const topUp = (tenantId: string, key: string, through = api): Promise<Answer> =>
    through.call('POST', `/v1/tenants/${tenantId}/topups`, {
      headers: { 'idempotency-key': key },
      body: { amountUsd: '5', reason: 'more' },
    });

  test('of a top-up whose answer was lost with its process lifts the limit once', async () => {
    const tenantId = await stack.tenant('10');
    const key = randomUUID();
    const { lost, repeat } = await loseAnswer(() => topUp(tenantId, key));
    expect(lost.status).toBe(503);
    expect(repeat).toMatchObject({ status: 200, body: { tenantId, amountUsd: '5' } });
    expect(await topUpOf(tenantId)).toBe('5');
    expect(await topUp(tenantId, key)).toMatchObject({ status: 200, body: { amountUsd: '5' } });
    expect(await topUpOf(tenantId)).toBe('5');
    const { rows } = await stack.admin.query(
      `SELECT FROM copilot_internal.audit_entries WHERE tenant_id = $1 AND action = 'top_up'`,
      [tenantId],
    );
    expect(rows).toHaveLength(1);
  });

  test('of a correction that waits for longer than a repeat does is the same correction', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    await api.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd: '1' } });
    await api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd: '0.5' } });
    await until('it is in the ledger', async () => (await stack.books(tenantId)).ledgerUsd === '0.5');
    const adjust = (costUsd: string, key: string): Promise<Answer> =>
      api.call('POST', `/v1/tenants/${tenantId}/adjustments`, {
        headers: { 'idempotency-key': key },
        body: { operationId, costUsd, reason: 'looked up' },
      });
    const key = randomUUID();
    const locked = await stack.admin.connect();
    await locked.query('BEGIN');
    await locked.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
    const still = adjust('0.6', key);
    await waiting(1);
    await longAgo();
    const repeat = adjust('0.6', key);
    await waiting(2);
    await locked.query('ROLLBACK');
    locked.release();
    expect(await repeat).toEqual(await still);
    expect(await repeat).toMatchObject({ status: 200, body: { costUsd: '0.6', differenceUsd: '0.1' } });
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.6' });
  });

  test('of a claim whose answer was lost with its process is told the token', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    await api.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd: '1' } });
    const end = (verb: string, body: object): Promise<Answer> =>
      api.call('POST', `/v1/reservations/${operationId}/${verb}`, {
        headers: { 'idempotency-key': `${verb} ${operationId}` },
        body: { tenantId, ...body },
      });
    const { lost, repeat } = await loseAnswer(() => end('claim', {}));
    expect(lost.status).toBe(503);
    expect(repeat).toMatchObject({ status: 200, body: { operationId } });
    expect(await end('claim', {})).toEqual(repeat);
    const { claimToken } = repeat.body;
    expect(await end('commit', { costUsd: '0.5', claimToken })).toMatchObject({ status: 200 });
  });

  test('of a reservation whose caller went away before its answer is told of a grant that is there', async () => {
    const tenantId = await stack.tenant('1');
    const order = { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd: '0.9' };
    const headers = { 'idempotency-key': randomUUID() };
    const locked = await stack.admin.connect();
    await locked.query('BEGIN');
    await locked.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
    const caller = new AbortController();
    const first = fetch(`${api.url}/v1/reservations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(order),
      signal: caller.signal,
    }).catch(() => undefined);
    await waiting(1);
    caller.abort();
    await first;
    // Until the API has seen its connection end.
    await sleep(300);
    const repeat = api.call('POST', '/v1/reservations', { headers, body: order });
    await locked.query('ROLLBACK');
    locked.release();
    expect(await repeat).toMatchObject({ status: 201, body: { grantedUsd: '0.9' } });
    // Whatever is sent of the caller that went is decided before another one is.
    const other = { ...order, operationId: randomUUID() };
    expect((await api.call('POST', '/v1/reservations', { body: other })).status).toBe(429);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0.9', openReservations: 1 });
  });

  /** Somebody else took the request over while the first process stood still: `goOn` lets it go on, `first` is what it answers then. */
  const standStill = async (
    send: (through: TestApi) => Promise<Answer>,
    { taken }: { taken: () => Promise<unknown> },
  ): Promise<{ second: Answer; first: Answer }> => {
    let goOn = (): void => undefined;
    let isStill = false;
    const still = new Promise<void>((resolve) => (goOn = resolve));
    const prices = async (): ReturnType<typeof readPrices> => {
      isStill = true;
      await still;
      return readPrices(stack.pool);
    };
    const other = await startTestApi(stack, { prices });
    const first = send(other);
    await until('it stands still', () => isStill);
    await longAgo();
    const second = await send(api);
    await taken();
    goOn();
    const late = await first;
    await other.close();
    return { second, first: late };
  };

  test('is not forgotten by the process that stood still before it, whatever that finds when it goes on', async () => {
    const tenantId = await stack.tenant('10');
    const key = randomUUID();
    const send = (through: TestApi): Promise<Answer> =>
      through.call('POST', '/v1/runs', {
        headers: { 'idempotency-key': key },
        body: { tenantId, task: 'Say something.' },
      });
    const steer = (what: string): Promise<Answer> =>
      api.call('POST', `/v1/tenants/${tenantId}/${what}`, { body: what === 'freeze' ? { reason: 'a test' } : {} });
    const { first, second } = await standStill(send, { taken: () => steer('freeze') });
    expect(second.status).toBe(202);
    expect(first).toEqual(second);
    await steer('unfreeze');
    expect(await send(api)).toEqual(second);
    const { runs } = (await api.call('GET', `/v1/runs?tenantId=${tenantId}`)).body as { runs: unknown[] };
    expect(runs).toHaveLength(1);
  });

  test('of what Temporal took no notice of, or did not answer, is answered in time, and its repeat goes on with it', async () => {
    const { hostname, port } = new URL(`tcp://${process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? ''}`);
    // It passes on whatever comes.
    const proxy = await startDatabaseProxy(Number(port));
    const connection = await Connection.connect(signallingConnection({ address: `${hostname}:${proxy.port}` }));
    const hung = await startTestApi(stack, { temporal: new Client({ connection }) });
    const tenantId = await stack.tenant('10');
    const talk = await api.call('POST', '/v1/conversations', { body: { tenantId } });
    const { conversationId } = talk.body as { conversationId: string };
    const keys = { run: randomUUID(), conversation: randomUUID() };
    const start = (through: TestApi, what: keyof typeof keys): Promise<Answer> =>
      through.call('POST', `/v1/${what}s`, {
        headers: { 'idempotency-key': keys[what] },
        body: { tenantId, ...(what === 'run' ? { task: 'Say something.' } : {}) },
      });
    proxy.set('silent');
    const byCommand = spendlock(hung, 'runs', 'start', tenantId, '--task', 'Say something.');
    const startedMs = performance.now();
    const answers = await Promise.all([
      start(hung, 'run'),
      start(hung, 'conversation'),
      hung.call('POST', `/v1/conversations/${conversationId}/close`, { body: { tenantId } }),
    ]);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
    const [run, conversation, closing] = answers.map(({ body }) => String(body.message));
    const named = (message: string | undefined, what: string): string | undefined =>
      new RegExp(`The ${what} ([0-9a-f-]{36}) is stored, and may have begun`).exec(message ?? '')?.[1];
    expect((await start(api, 'run')).body).toMatchObject({ runId: named(run, 'run') });
    expect((await start(api, 'conversation')).body).toMatchObject({
      conversationId: named(conversation, 'conversation'),
    });
    expect(closing).toContain('may have taken it or not');
    // Who sits at a terminal is told what to do there.
    const told = await byCommand;
    expect(told).toMatchObject({ status: 1, out: '' });
    const commandRun = named(told.err, 'run');
    expect(told.err).toContain(`see what became of it: npx spendlock runs show ${tenantId} ${commandRun}\n`);
    expect(told.err).not.toMatch(/Idempotency-Key|\/v1\//);
    await hung.close();
    await connection.close();
    await proxy.close();
  });
});
