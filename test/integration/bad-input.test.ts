/** What is asked wrongly: each has its own code, says that nothing was done, and changes nothing. */
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { errorCatalogue } from '../../core/errors';
import { createLog } from '../../telemetry/log';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

describe('bad input', () => {
  let stack: TestStack;
  let api: TestApi;
  let tenantId: string;
  let other: string;
  /** Granted to `tenantId`: $2 of its $10. */
  let held: string;
  beforeAll(async () => {
    stack = await TestStack.start();
    api = await startTestApi(stack);
    tenantId = await stack.tenant('10');
    other = await stack.tenant('10');
    held = randomUUID();
    await reserve({ operationId: held, amountUsd: '2' });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const reserve = (more: object): Promise<Answer> =>
    api.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '1', ...more },
    });
  const end = (verb: string, operationId: string, more: object = {}): Promise<Answer> =>
    api.call('POST', `/v1/reservations/${operationId}/${verb}`, { body: { tenantId, ...more } });
  const limit = (more: object): Promise<Answer> =>
    api.call('PUT', `/v1/tenants/${tenantId}/quotas`, {
      body: { quotas: [{ resourceType: 'all', limitUsd: '10', ...more }] },
    });

  test('a cursor that no list gave out is no failure of any list, whatever is in it (XE13)', async () => {
    const { paths } = (await (await api.request('/openapi.json', { key: '' })).json()) as {
      paths: Record<string, { get?: { parameters?: { name: string }[] } }>;
    };
    const lists = Object.entries(paths).filter(([, { get }]) => get?.parameters?.some(({ name }) => name === 'cursor'));
    expect(lists.length).toBeGreaterThanOrEqual(8);
    const parts = ['', '\u0000', 'x', -1, 1.5, 2 ** 53, null, '2026-99-99 00:00:00', '::::::::::', '9'.repeat(40)];
    const forged = parts.flatMap((part) => [[part], [part, part], [part, randomUUID()]]);
    const cursors = ['!', 'bm9uZQ', ...forged.map((place) => Buffer.from(JSON.stringify(place)).toString('base64url'))];
    for (const [path] of lists)
      for (const cursor of cursors) {
        const id = path.startsWith('/v1/tenants/') ? tenantId : randomUUID();
        const query = new URLSearchParams({ cursor, ...(/^.v1.(tenants|platform)/.test(path) ? {} : { tenantId }) });
        const { status } = await api.request(`${path.replace('{id}', id)}?${query.toString()}`);
        // Where an entry is a name, any is a place to begin at.
        expect([path, cursor, [200, 400, 404].includes(status) || status]).toEqual([path, cursor, true]);
      }
  });

  const amounts: [string, unknown][] = [
    ['negative', '-1'],
    ['NaN', 'NaN'],
    ['infinite', 'Infinity'],
    ['negative infinity', '-Infinity'],
    ['absurdly large', '1000000000000'],
    ['of a thousand digits', '9'.repeat(1_000)],
    ['over-precise', '0.0000000000001'],
    ['in scientific notation', '1e3'],
    ['with a sign', '+1'],
    ['with a comma', '1,5'],
    ['in hexadecimal', '0x10'],
    ['with a currency', '$1'],
    ['blank', ' '],
    ['empty', ''],
    ['in other digits', '١٢'],
  ];
  const invalidAmounts: [string, () => Promise<Answer>][] = amounts.flatMap(([name, amount]) => [
    [`reserving an amount that is ${name}`, () => reserve({ amountUsd: amount })],
    [`a least amount that is ${name}`, () => reserve({ minimumUsd: amount })],
    [`a cost that is ${name}`, () => end('commit', held, { costUsd: amount })],
    [`a limit that is ${name}`, () => limit({ limitUsd: amount })],
    [
      `a top-up that is ${name}`,
      () =>
        api.call('POST', `/v1/tenants/${tenantId}/topups`, {
          body: { resourceType: 'all', amountUsd: amount, reason: 'a test' },
        }),
    ],
    [
      `a correction to a cost that is ${name}`,
      () =>
        api.call('POST', `/v1/tenants/${tenantId}/adjustments`, {
          body: { operationId: held, costUsd: amount, reason: 'a test' },
        }),
    ],
  ]);
  test.each(invalidAmounts)('invalid_amount: %s', async (_name, send) => {
    const { status, body } = await send();
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_amount' });
    expect(body.message).toContain('Nothing was');
  });

  const others: [keyof typeof errorCatalogue, string, () => Promise<Answer>][] = [
    ['invalid_request', 'an amount as a JSON number', () => reserve({ amountUsd: 1 })],
    ['invalid_request', 'an amount that is missing', () => reserve({ amountUsd: undefined })],
    ['invalid_amount', 'a least amount above the amount', () => reserve({ minimumUsd: '2' })],
    ['invalid_request', 'an operation id that is none', () => reserve({ operationId: 'mine' })],
    ['invalid_request', 'a resource that is none', () => reserve({ resource: 'Gold' })],
    ['invalid_request', 'a field that is not known', () => reserve({ amount: '1' })],
    ['invalid_request', 'a hold of no time', () => reserve({ ttlSeconds: 0 })],
    ['invalid_request', 'a hold for ever', () => reserve({ ttlSeconds: 1e9 })],
    ['invalid_request', 'a period that is none', () => limit({ period: 'decade' })],
    ['invalid_request', 'a threshold above all', () => limit({ warningThreshold: 1.5 })],
    ['invalid_request', 'a tenant id that is none', () => reserve({ tenantId: '../etc' })],
    ['invalid_json', 'half a JSON object', () => api.call('POST', '/v1/reservations', { body: '{"a": ' })],
    ['unknown_tenant', 'a tenant that is not there', () => reserve({ tenantId: 'nobody' })],
    ['unknown_operation', 'a commit of what was never reserved', () => end('commit', randomUUID(), { costUsd: '1' })],
    ['unknown_operation', 'a claim of what was never reserved', () => end('claim', randomUUID())],
    [
      'unknown_operation',
      'an extension of what was never reserved',
      () => end('extend', randomUUID(), { ttlSeconds: 9 }),
    ],
    ['unknown_operation', 'a commit by another tenant', () => end('commit', held, { tenantId: other, costUsd: '1' })],
    [
      'operation_conflict',
      'a used operation id with another amount',
      () => reserve({ operationId: held, amountUsd: '3' }),
    ],
    [
      'operation_conflict',
      'a used operation id with another resource',
      () => reserve({ operationId: held, amountUsd: '2', resource: 'e2b' }),
    ],
    [
      'unpriced_model',
      'a model without a price',
      () => api.call('POST', '/v1/runs', { body: { tenantId, task: 'x', model: 'no-such-model' } }),
    ],
    [
      'forbidden',
      'an order on another tenant',
      async () =>
        api.call('POST', `/v1/tenants/${tenantId}/freeze`, { body: { reason: 'a test' }, key: await api.keyOf(other) }),
    ],
  ];
  test.each(others)('%s: %s', async (code, _name, send) => {
    const { status, body } = await send();
    expect({ status, error: body.error }).toEqual({ status: errorCatalogue[code].httpStatus, error: code });
    expect(String(body.message).length).toBeGreaterThan(20);
    expect([body.action, body.requestId]).toEqual([expect.stringMatching(/^[A-Z].+[.]$/), expect.any(String)]);
  });

  test('a typing error in a field, a moment without its zone and a missing body are answered with what is right', async () => {
    const told = async (method: string, path: string, body?: object) => {
      const answer = await api.call(method, path, body === undefined ? {} : { body });
      return `${answer.status} ${String(answer.body.message)}`;
    };
    const field = { tenantId, resource: 'llm', amountUsd: '1', operationId: randomUUID(), user_id: 'ada' };
    expect(await told('POST', '/v1/reservations', field)).toMatch(
      /^400 the request: has no field "user_id"; it takes operationId, tenantId, userId, .*[a-z][.] Nothing was done[.]$/,
    );
    const inside = { tenantId, task: 'Profile it.', file: { name: 'a.csv', contentBase64: 'YQ==', type: 'csv' } };
    expect(await told('POST', '/v1/runs', inside)).toMatch(
      /^400 file: has no field "type"; it takes name, contentBase64[.]/,
    );
    expect(await told('GET', `/v1/usage?tenantId=${tenantId}&from=2026-11-28T09:00:00`)).toMatch(
      /^400 from: must be a moment such as 2026-12-01T08:00:00Z, [^;]+$/,
    );
    expect(await told('GET', `/v1/usage?tenantId=${tenantId}&from=yesterday`)).toMatch(/^400 from: [^;]+$/);
    const headers = { authorization: `Bearer ${api.adminKey}` };
    const bare = await fetch(`${api.url}/v1/reservations/${randomUUID()}/claim`, { method: 'POST', headers });
    expect([bare.status, await bare.json()]).toMatchObject([
      415,
      {
        message: 'The request came without a body. Nothing was done.',
        action: expect.stringContaining('`{}`') as string,
      },
    ]);
  });

  test('unsupported_media_type: a body that is compressed, and it says so', async () => {
    const body = gzipSync(JSON.stringify({ tenantId, task: 'Say something.' }));
    const headers = {
      authorization: `Bearer ${api.adminKey}`,
      'content-type': 'application/json',
      'content-encoding': 'gzip',
    };
    const answer = await fetch(`${api.url}/v1/runs`, { method: 'POST', headers, body });
    expect(answer.status).toBe(415);
    expect(((await answer.json()) as { message: string }).message).toContain('gzip');
  });

  test('a body whose sender goes before its end is no failure of the API, and its log has no word of it', async () => {
    const failures: unknown[] = [];
    const log = createLog({ name: 'api', level: 'silent' });
    log.error = (...failure: unknown[]) => void failures.push(failure);
    const own = await startTestApi(stack, { log });
    for (const head of ['content-length: 100', 'transfer-encoding: chunked']) {
      const socket = connect(own.port, '127.0.0.1');
      socket.write(
        `POST /v1/runs HTTP/1.1\r\nhost: api\r\nauthorization: Bearer ${own.adminKey}\r\ncontent-type: application/json\r\n${head}\r\n\r\n5\r\n{"tas`,
      );
      await sleep(200);
      socket.destroy();
    }
    await sleep(200);
    expect((await own.request('/healthz')).status).toBe(200);
    expect(failures).toEqual([]);
    await own.close();
  });

  test('the same operation id and body is the same operation, not an error', async () => {
    expect(await reserve({ operationId: held, amountUsd: '2' })).toMatchObject({
      status: 201,
      body: { grantedUsd: '2' },
    });
  });

  test('none of it changed anything', async () => {
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: '0',
      spentUsd: '0',
      reservedUsd: '2',
      openReservations: 1,
    });
    expect(await stack.books(other)).toMatchObject({ ledgerUsd: '0', reservedUsd: '0', openReservations: 0 });
    const { body } = await api.call('GET', `/v1/tenants/${tenantId}/quotas`);
    expect(
      (body.quotas as { limitUsd: string; topupUsd: string }[]).map((quota) => [quota.limitUsd, quota.topupUsd]),
    ).toEqual(expect.arrayContaining([['10', '0']]));
  });

  test.each([
    ['negative', '-1'],
    ['NaN', 'NaN'],
    ['infinite', 'Infinity'],
    ['absurdly large', '1000000000000'],
    ['over-precise', '0.0000000000001'],
  ])('past the API, a signal whose amount is %s is set aside, and the others are decided', async (_name, amountUsd) => {
    const mine = await stack.tenant('10');
    const [bad, good] = [randomUUID(), randomUUID()];
    await stack.signal(mine, [
      {
        type: 'reserve',
        operationId: bad,
        resource: 'llm',
        amountUsd,
        priceVersion: 'test',
        ttlSeconds: 60,
        kind: 'test',
      },
      {
        type: 'reserve',
        operationId: good,
        resource: 'llm',
        amountUsd: '1',
        priceVersion: 'test',
        ttlSeconds: 60,
        kind: 'test',
      },
    ]);
    await until('the good one is decided', async () => (await stack.books(mine)).reservedUsd === '1');
    expect(await stack.books(mine)).toMatchObject({ reservedUsd: '1', openReservations: 1, ledgerUsd: '0' });
  });

  test('a limit below what is spent is taken, and nothing more is granted', async () => {
    const mine = await stack.tenant('10');
    const operationId = randomUUID();
    expect((await reserve({ tenantId: mine, operationId, amountUsd: '8' })).status).toBe(201);
    expect((await end('commit', operationId, { tenantId: mine, costUsd: '8' })).status).toBe(200);
    const lower = { quotas: [{ resourceType: 'all', limitUsd: '5' }] };
    expect((await api.call('PUT', `/v1/tenants/${mine}/quotas`, { body: lower })).status).toBe(200);
    expect(await reserve({ tenantId: mine, amountUsd: '0.01' })).toMatchObject({
      status: 429,
      body: { error: 'quota_exceeded', quotaDetails: { limitUsd: 5, currentSpendUsd: 8, remainingUsd: 0 } },
    });
  });

  test('a price of zero is free, and no price is refused', async () => {
    await stack.priceModel('claude-free', '0');
    const mine = await stack.tenant('1');
    const run = await stack.run({ tenantId: mine, model: 'claude-free' });
    expect(run).toMatchObject({ status: 'completed', costUsd: '0' });
    await expect(stack.run({ tenantId: mine, model: 'claude-freely' })).rejects.toMatchObject({
      code: 'unpriced_model',
    });
    expect(await stack.books(mine)).toMatchObject({ ledgerUsd: '0', reservedUsd: '0' });
  });
});
