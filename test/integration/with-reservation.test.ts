/** A call of the typed client with a grant, where what stands between it and the API answers in its place, or loses the answers. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CostNotRecordedError, createSpendlockClient, NotBilledError, UnreachableError } from '../../client';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

/** What becomes of a request: its status when it is answered without the API (below 0: after it), or its answer lost after the API has given it. */
type Fate = number | 'lost' | 'passed';

describe('a call with a grant', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  let gateway: Server;
  let fateOf: (path: string) => Fate;

  beforeAll(async () => {
    gateway = createServer((request, response) => {
      void (async () => {
        const fate = fateOf(request.url ?? '');
        if (typeof fate === 'number' && fate > 0) {
          response.writeHead(fate, { 'content-type': 'text/html' }).end('<html>Bad gateway</html>');
          return;
        }
        const body = Buffer.concat((await request.toArray()) as Buffer[]);
        const { authorization = '' } = request.headers;
        const answer = await fetch(`${api.url}${request.url}`, {
          method: request.method ?? '',
          headers: { authorization, 'content-type': 'application/json' },
          ...(request.method === 'GET' ? {} : { body }),
        });
        const text = await answer.text();
        if (fate === 'lost') request.socket.destroy();
        else if (typeof fate === 'number')
          response.writeHead(-fate, { 'content-type': 'text/html' }).end('<html></html>');
        else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
      })();
    }).listen(0, '127.0.0.1');
    await once(gateway, 'listening');
  });
  beforeEach(() => (fateOf = () => 'passed'));
  afterAll(() => void gateway.close());

  const clientOf = async (tenantId: string) => {
    const { port } = gateway.address() as AddressInfo;
    return createSpendlockClient({ baseUrl: `http://127.0.0.1:${port}`, apiKey: await api.keyOf(tenantId) });
  };
  const asked = { resource: 'llm' as const, amountUsd: '2' };
  const works = () => Promise.resolve({ costUsd: '0.5', value: 'bought' });
  test.each([500, 502, 503, 504])(
    'whose cost meets a %d twice is recorded all the same, and answers',
    async (status) => {
      const tenantId = await stack.tenant('10');
      let left = 2;
      fateOf = (path) => (path.endsWith('/commit') && (left -= 1) >= 0 ? status : 'passed');
      expect(await (await clientOf(tenantId)).withReservation(asked, works)).toBe('bought');
      expect(left).toBeLessThan(0);
      await until('it is in the books', async () => (await stack.books(tenantId)).openReservations === 0);
      expect((await stack.books(tenantId)).ledgerUsd).toBe('0.5');
    },
  );

  test('takes its money from an envelope, and beyond that from the limits, and is no envelope itself', async () => {
    const tenantId = await stack.tenant('10');
    const client = await clientOf(tenantId);
    const job = await client.reserve({ resource: 'llm', amountUsd: '3', envelope: true });
    const of = { ...asked, parentOperationId: job.operationId, orBeyond: true };
    const from = (parent: string | undefined) => (grant: { parentOperationId?: string }) => {
      expect(grant.parentOperationId).toBe(parent);
      return works();
    };
    expect(await client.withReservation(of, from(job.operationId))).toBe('bought');
    await until(
      'the rest is back',
      async () => (await client.reservation(job.operationId)).envelope?.restUsd === '2.5',
    );
    expect(await client.withReservation({ ...of, amountUsd: '4' }, from(undefined))).toBe('bought');
    await expect(client.withReservation({ ...of, amountUsd: '4', orBeyond: false }, works)).rejects.toMatchObject({
      code: 'envelope_exceeded',
    });
    await client.release(job.operationId);
    await until('all has ended', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await stack.books(tenantId)).ledgerUsd).toBe('1');
    // @ts-expect-error An envelope is spent in parts: none is a call.
    const mistaken: Parameters<typeof client.withReservation>[0] = { ...asked, envelope: true };
    expect(mistaken).toBeDefined();
  });

  test('of whose grant nobody heard is not made, and its money comes back', async () => {
    const tenantId = await stack.tenant('10');
    const releases: string[] = [];
    fateOf = (path) => {
      if (path.endsWith('/release')) return releases.push(path) === 1 ? 503 : 'passed';
      return path === '/v1/reservations' ? 'lost' : 'passed';
    };
    let works = 0;
    const call = (await clientOf(tenantId)).withReservation(asked, () => Promise.reject(new Error(String(works++))));
    await expect(call).rejects.toBeInstanceOf(UnreachableError);
    await until('nothing is held', async () => {
      const { openReservations } = await stack.books(tenantId);
      return releases.length > 1 && openReservations === 0;
    });
    expect([works, (await stack.books(tenantId)).ledgerUsd]).toEqual([0, '0']);
  });

  test('that goes on without one costs once, though its reserve was decided', async () => {
    const tenantId = await stack.tenantThat('allow');
    fateOf = (path) => (path === '/v1/reservations' ? 'lost' : 'passed');
    expect(await (await clientOf(tenantId)).withReservation({ ...asked, onUnavailable: 'allow' }, works)).toBe(
      'bought',
    );
    await until('all has ended', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await stack.books(tenantId)).ledgerUsd).toBe('0.5');
  });

  test.each([429, 500, 529])('whose grant a gateway answered with a %d gives it back', async (status) => {
    const tenantId = await stack.tenant('10');
    fateOf = (path) => (path === '/v1/reservations' ? -status : 'passed');
    const call = (await clientOf(tenantId)).withReservation(asked, works);
    await expect(call).rejects.toMatchObject({ status });
    await until('it is given back', async () => {
      const { rows } = await stack.admin.query<{ status: string }>(
        'SELECT status FROM copilot_internal.reservations WHERE tenant_id = $1',
        [tenantId],
      );
      return rows.length > 0 && rows.every((row) => row.status === 'released');
    });
  });

  test('that nobody heard was denied is one cost under one other id, however often that is sent', async () => {
    const tenantId = await stack.tenantThat('allow');
    await api.call('PUT', `/v1/tenants/${tenantId}/quotas`, {
      body: { quotas: [{ scope: 'tenant', resourceType: 'all', period: 'month', limitUsd: '1' }] },
    });
    const commits: string[] = [];
    fateOf = (path) => {
      if (path === '/v1/reservations') return 'lost';
      if (!path.endsWith('/commit')) return 'passed';
      commits.push(path);
      // The second id's answers are lost, each after it was recorded.
      return commits.length > 1 && commits.length < 4 ? -503 : 'passed';
    };
    const client = await clientOf(tenantId);
    expect(await client.withReservation({ ...asked, onUnavailable: 'allow' }, works)).toBe('bought');
    expect(new Set(commits).size).toBe(2);
    await until('all is in the books', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await stack.books(tenantId)).ledgerUsd).toBe('0.5');
  });

  test('whose cost is refused hands over what it bought, with what to do', async () => {
    const tenantId = await stack.tenant('10');
    fateOf = (path) => (path === '/v1/reservations' ? 502 : 'passed');
    const call = (await clientOf(tenantId)).withReservation({ ...asked, onUnavailable: 'allow' }, works);
    const error = await call.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CostNotRecordedError);
    expect(error).toMatchObject({ value: 'bought', costUsd: '0.5', cause: { code: 'unknown_operation' } });
    expect((error as Error).message).toContain('does not let calls go on without one');
  });

  test('whose use of it cannot be written hands over what it bought at once', async () => {
    const tenantId = await stack.tenant('10');
    const call = (await clientOf(tenantId)).withReservation(asked, () =>
      Promise.resolve({ costUsd: '0.5', usage: { tokens: 1n }, value: 'bought' }),
    );
    await expect(call).rejects.toMatchObject({ name: 'CostNotRecordedError', value: 'bought' });
  });

  test('that says before it begins that it is not billed gives its grant back', async () => {
    const tenantId = await stack.tenant('10');
    const client = await clientOf(tenantId);
    const notBegun = () => {
      throw new NotBilledError('no connection');
    };
    await expect(client.withReservation(asked, notBegun)).rejects.toThrow(NotBilledError);
    await until('nothing is held', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await stack.books(tenantId)).ledgerUsd).toBe('0');
  });

  test('that was not billed after its grant ran out is corrected, and says that it was not billed', async () => {
    const tenantId = await stack.tenant('10');
    const call = (await clientOf(tenantId)).withReservation({ ...asked, ttlSeconds: 1 }, async () => {
      await until('it is charged', async () => (await stack.books(tenantId)).ledgerUsd === '2');
      throw new NotBilledError('no connection');
    });
    await expect(call).rejects.toThrow(NotBilledError);
    await until('it is corrected', async () => (await stack.books(tenantId)).ledgerUsd === '0');
  });

  test('that had none counts for the limit of the run that it names, and its limit’s alert is raised when it is passed', async () => {
    const tenantId = await stack.tenantThat('allow');
    const { runId } = await stack.run({ tenantId, limits: { maxCostUsd: '0.9' } });
    fateOf = (path) => (path === '/v1/reservations' ? 502 : 'passed');
    const client = await clientOf(tenantId);
    const call = () =>
      client.withReservation({ ...asked, runId, onUnavailable: 'allow' }, () =>
        Promise.resolve({ costUsd: '6', value: 'bought' }),
      );
    expect(await call()).toBe('bought');
    // With what was spent, two of these come to more than twice the limit of $10, however many come at once.
    const many = await Promise.allSettled(Array.from({ length: 20 }, call));
    const refused = many.flatMap((one) => (one.status === 'rejected' ? [one.reason as CostNotRecordedError] : []));
    expect(refused).toHaveLength(18);
    expect(refused[0]?.cause).toMatchObject({
      code: 'cost_unconfirmed',
      message: expect.stringContaining('twice a limit') as string,
    });
    const reserve = async () => {
      const body = { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd: '0.01', runId };
      const { body: answer } = await api.call('POST', '/v1/reservations', { body });
      return (answer as { error?: string }).error;
    };
    await until('all is in the books', async () => (await stack.books(tenantId)).openReservations === 0);
    expect(await reserve()).toBe('run_limit_exceeded');
    const { alerts } = await client.alerts.list({ tenantId });
    const passed = alerts.filter(({ kind }) => kind === 'quota_exceeded');
    expect(passed.map(({ details }) => details.resourceType).sort()).toEqual(['all', 'llm']);
  });
});
