/** What protects the API from its callers: rates, sizes and times, and requests that nobody would send on purpose. */
import { randomBytes, randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import fc from 'fast-check';
import { startApi } from '../../api/server';
import { createSpendlockClient } from '../../client';
import { createApiKey } from '../../store/api-keys';
import { isErrorCode } from '../../core/errors';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

const deepUsage = `{"costUsd":"1","usage":${'['.repeat(5_000)}${']'.repeat(5_000)}}`;

/** What a query can say of a value: an object may have a `toString` that is none, and no address is longer than a server reads. */
const asText = (value: unknown): string =>
  typeof value === 'string' ? value : ((JSON.stringify(value) as string | undefined) ?? '').slice(0, 500);

describe('limits of the API', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('a key that sends too much is told to wait, while another is served', async () => {
    const limited = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, rateLimitPerSecond: 20 });
    const tenantId = await stack.tenant('5');
    const [busy, calm] = await Promise.all([api.keyOf(tenantId), api.keyOf(tenantId)]);
    const ask = (key: string): Promise<Response> =>
      fetch(`${limited.url}/v1/tenants/${tenantId}/quotas`, { headers: { authorization: `Bearer ${key}` } });
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask(busy)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(20);
    expect(refused[0]?.headers.get('retry-after')).toBe('1');
    expect(await refused[0]?.json()).toMatchObject({ error: 'rate_limited', retryAfter: 1 });
    expect((await ask(calm)).status).toBe(200);
    // The typed client waits as it is told, and what it was to do is done once.
    const client = createSpendlockClient({ baseUrl: limited.url, apiKey: busy });
    await Promise.all(Array.from({ length: 60 }, () => ask(busy)));
    await client.release(randomUUID());
    await limited.close();
  });

  test('XE20: pages of the configured origins may call the API, and read its refusals too; no others may', async () => {
    const origin = 'https://app.example.com';
    const open = await startApi({
      ...stack.api,
      host: '127.0.0.1',
      port: 0,
      rateLimitPerSecond: 5,
      corsOrigins: [origin],
    });
    const key = await api.keyOf(await stack.tenant('5'));
    const ask = (from: string, url: string, headers: object = {}, method = 'GET'): Promise<Response> =>
      fetch(url, { method, headers: { origin: from, ...headers } });
    const asked = {
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,idempotency-key,last-event-id',
    };
    const preflight = await ask(origin, `${open.url}/v1/runs`, asked, 'OPTIONS');
    expect(preflight.status).toBe(204);
    const said = Object.fromEntries(preflight.headers);
    expect([said['access-control-allow-origin'], said.vary]).toEqual([origin, expect.stringContaining('Origin')]);
    for (const header of asked['access-control-request-headers'].split(','))
      expect(said['access-control-allow-headers']?.split(',')).toContain(header);
    expect(said['access-control-allow-methods']?.split(',')).toEqual(expect.arrayContaining(['GET', 'POST', 'PUT']));
    // Keys come in a header: no page makes a browser send what it keeps.
    expect(said).not.toHaveProperty('access-control-allow-credentials');

    const authorization = { authorization: `Bearer ${key}` };
    const many = () => Array.from({ length: 30 }, () => ask(origin, `${open.url}/v1/runs`, authorization));
    const answers = [
      await ask(origin, `${open.url}/v1/runs`),
      await ask(origin, `${open.url}/v1/runs`, { authorization: 'Bearer unknown' }),
      await ask(origin, `${open.url}/v1/runs?wrong=1`, authorization),
      ...(await Promise.all(many())),
    ];
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 400, 200, 429]));
    for (const { headers } of answers) {
      expect(headers.get('access-control-allow-origin')).toBe(origin);
      expect(headers.get('vary')).toContain('Origin');
      expect(headers.get('access-control-expose-headers')).toMatch(/retry-after.*x-request-id/);
    }

    // A page of another origin, of an API that was told of none, and what is no route of the API.
    for (const [from, url] of [
      ['https://other.example.com', `${open.url}/v1/runs`],
      ['null', `${open.url}/v1/runs`],
      [origin, `${api.url}/v1/runs`],
      [origin, `${open.url}/openapi.json`],
    ] as const) {
      const refused = await ask(from, url, asked, 'OPTIONS');
      expect(refused.status).toBeGreaterThanOrEqual(400);
      const answer = await ask(from, url, authorization);
      for (const { headers } of [refused, answer]) expect([...headers.keys()].join()).not.toContain('access-control');
    }
    expect((await ask(origin, `${open.url}/v1/runs`, {}, 'OPTIONS')).status).toBe(401);
    await open.close();
  });

  test('a client that never finishes its request loses its connection', async () => {
    const socket = connect(api.port, '127.0.0.1');
    socket.write('POST /v1/runs HTTP/1.1\r\nhost: x\r\n');
    const [text] = (await once(socket, 'data')) as [Buffer];
    expect(text.toString()).toMatch(/^HTTP\/1.1 408/);
    await once(socket, 'close');
  });

  test('no request that the description allows, and none that it forbids, makes the API fail', async () => {
    const described = (await (await api.request('/openapi.json', { key: '' })).json()) as OpenApi;
    const tenantId = await stack.tenant('1000');
    const keys = [api.adminKey, await api.keyOf(tenantId), (await createApiKey(stack.pool, { tenantId })).key];
    const routes = Object.entries(described.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, route]) => ({ method: method.toUpperCase(), path, route })),
    );
    const request = fc.constantFrom(...routes).chain(({ method, path, route }) => {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
      const body = route.requestBody?.content['application/json'].schema;
      return fc.record({
        method: fc.constant(method),
        path: fc
          .tuple(...names.map(() => fc.oneof(fc.constant(tenantId), spelledUuid, awkwardText)))
          .map((values) =>
            values.reduce(
              (to, value, at) => to.replace(`{${names[at]}}`, encodeURIComponent(Buffer.from(value).toString())),
              path,
            ),
          ),
        query: fc.record(
          Object.fromEntries(
            (route.parameters ?? [])
              .filter(({ in: where }) => where === 'query')
              .map((parameter) => [
                parameter.name,
                fc.oneof(fc.constant(tenantId), awkwardText, like(parameter.schema, described)),
              ]),
          ),
          { requiredKeys: [] },
        ),
        body:
          body === undefined
            ? fc.constant(undefined)
            : fc.oneof({ weight: 4, arbitrary: like(body, described) }, { weight: 1, arbitrary: fc.jsonValue() }),
        key: fc.constantFrom(...keys),
      });
    });
    const statuses = new Map<number, number>();
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path, query, body, key }) => {
        const gone = new AbortController();
        const given = Object.entries(query).map(([name, value]) => [name, asText(value)] as [string, string]);
        const address = `${api.url}${path}?${new URLSearchParams(given).toString()}`;
        // Node itself refuses a longer one, with its other headers, and without a word.
        fc.pre(address.length < 15_000);
        const response = await fetch(address, {
          method,
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
          ...(method === 'GET' ? {} : { body: JSON.stringify(body ?? {}) }),
          signal: gone.signal,
        });
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
        const type = response.headers.get('content-type') ?? '';
        if (type.includes('event-stream')) return gone.abort();
        const answer = await response.text();
        if (response.status >= 500) throw new Error(`${response.status}: ${answer}`);
        if (response.status < 400) return;
        const { error, jsonrpc } = JSON.parse(answer) as { error: string; jsonrpc?: string };
        // The MCP server's are of its protocol.
        if (!isErrorCode(error) && !(path === '/v1/mcp' && jsonrpc === '2.0')) throw new Error(answer);
      }),
      { numRuns: 4_000 },
    );
    // The requests were not all turned away at the door.
    expect((statuses.get(200) ?? 0) + (statuses.get(201) ?? 0)).toBeGreaterThan(50);
  });

  test('no method, content type or doubled key makes the API fail, on any route', async () => {
    const described = (await (await api.request('/openapi.json', { key: '' })).json()) as OpenApi;
    const tenantId = await stack.tenant('1000');
    const keys = [api.adminKey, await api.keyOf(tenantId), '', 'slk_none', 'x'.repeat(3_000)];
    const path = fc
      .constantFrom(...Object.keys(described.paths), '/', '/docs', '/nothing', '/v1/nothing')
      .chain((to) => fc.constantFrom(tenantId, randomUUID()).map((id) => to.replaceAll(/\{\w+\}/g, id)));
    const request = fc.record({
      path,
      method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'),
      type: fc.constantFrom(
        ...[
          'application/json',
          'application/json;',
          'application/json; charset=x; ;',
          'application/JSON',
          'text/plain',
        ],
        ...['', 'application/vnd.x+json', 'application/x1+json', 'multipart/form-data', 'application/json, text/html'],
      ),
      body: fc.constantFrom(
        ...['', '{}', 'null', '[]', '"x"', '1', '{"tenantId":"a","tenantId":"b"}', '{"__proto__":{"a":1}}', '\ufeff{}'],
        `{"amountUsd":"1","amountUsd":"2","operationId":"${randomUUID()}","resource":"llm","tenantId":"${tenantId}"}`,
        '['.repeat(100_000),
        `{"usage":${'['.repeat(5_000)}${']'.repeat(5_000)},"costUsd":"1"}`,
      ),
      key: fc.constantFrom(...keys),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ path: to, method, type, body, key }) => {
        const isSent = !['GET', 'HEAD', 'TRACE', 'OPTIONS'].includes(method);
        const answer = await raw(`${api.url}${to}`, {
          method,
          headers: {
            ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
            ...(type === '' ? {} : { 'content-type': type }),
            ...(isSent ? { 'content-length': String(Buffer.byteLength(body)) } : {}),
          },
          body: isSent ? body : '',
        });
        if (answer.status >= 500) throw new Error(`${answer.status}: ${answer.body}`);
      }),
      { numRuns: 1_500 },
    );
  });

  test.each([
    ['another Content-Type', { 'content-type': 'text/plain' }, '{}', 415, 'unsupported_media_type'],
    ['none', { 'content-type': '' }, '{}', 415, 'unsupported_media_type'],
    ['a nesting of 5,000', { 'content-type': 'application/json' }, deepUsage, 400, 'invalid_request'],
  ])('XC5: a body with %s is refused in words', async (_name, headers, body, status, error) => {
    const tenantId = await stack.tenant('1');
    const path = `/v1/reservations/${randomUUID()}/commit`;
    const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''));
    const answer = await raw(`${api.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await api.keyOf(tenantId)}`, ...given },
      body,
    });
    expect({ status: answer.status, error: (JSON.parse(answer.body) as { error: string }).error }).toEqual({
      status,
      error,
    });
  });

  test('XC5: what passes a column is refused in words', async () => {
    const tenantId = await stack.tenant('10');
    const topUp = () =>
      api.call('POST', `/v1/tenants/${tenantId}/topups`, {
        body: { resourceType: 'all', amountUsd: '999999999999', reason: 'a test' },
      });
    expect((await topUp()).status).toBe(200);
    const second = await topUp();
    expect([second.status, second.body.error]).toEqual([400, 'invalid_amount']);
    const run = await api.admin.conversations.create({ tenantId });
    const cursor = Buffer.from(JSON.stringify([2_147_483_648, 0])).toString('base64url');
    const { status, body } = await api.call(
      'GET',
      `/v1/conversations/${run.conversationId}/messages?cursor=${cursor}&tenantId=${tenantId}`,
    );
    expect([status, body.error]).toEqual([400, 'invalid_request']);
    const price = await api.call('POST', '/v1/sandbox-prices', {
      body: {
        tier: 'old',
        vcpu: 1,
        memoryMib: 512,
        vcpuSecondUsd: '0.1',
        gibSecondUsd: '0.1',
        source: 'a test',
        sourceDate: '2026-01-01',
        effectiveFrom: '0000-01-01T00:00:00Z',
      },
    });
    expect([price.status, price.body.error]).toEqual([400, 'invalid_request']);
  });

  test('XF8: commits and releases are not refused for their rate', async () => {
    const limited = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, rateLimitPerSecond: 5 });
    const key = await api.keyOf(await stack.tenant('5'));
    const send = async (path: string, body: object): Promise<number> => {
      const response = await fetch(`${limited.url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return response.status;
    };
    const many = <T>(work: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: 40 }, work));
    expect(await many(() => send('/v1/quota-checks', {}))).toContain(429);
    expect(await many(() => send(`/v1/reservations/${randomUUID()}/release`, {}))).not.toContain(429);
    expect(await many(() => send(`/v1/reservations/${randomUUID()}/commit`, { costUsd: '0' }))).not.toContain(429);
    await limited.close();
  });

  test('XB8: a large file arrives as it was sent, whole or in chunks, and a repeat is the same run', async () => {
    const tenantId = await stack.tenant('1000');
    // Text, since a file that is none is refused.
    const content = Buffer.from(randomBytes(2_250_000).toString('base64'));
    const body = JSON.stringify({
      tenantId,
      task: 'Say something \u00fc.',
      file: { name: 'large.txt', contentBase64: content.toString('base64') },
    });
    const key = api.adminKey;
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'idempotency-key': randomUUID(),
    };
    const send = async (sent: string | ReadableStream): Promise<Record<string, unknown>> => {
      const response = await fetch(`${api.url}/v1/runs`, {
        method: 'POST',
        headers,
        body: sent,
        duplex: 'half',
      } as never);
      expect(response.status).toBe(202);
      return (await response.json()) as Record<string, unknown>;
    };
    const { runId } = await send(body);
    expect(await send(new Blob([body]).stream() as ReadableStream)).toMatchObject({ runId });
    const { rows } = await stack.admin.query<{ content: Buffer; task: string }>(
      'SELECT f.content, r.task FROM copilot_internal.run_files f JOIN copilot_internal.runs r USING (run_id) WHERE run_id = $1',
      [runId],
    );
    expect(rows[0]?.content.equals(content)).toBe(true);
    expect(rows[0]?.task).toBe('Say something ü.');
    const broken = await api.call('POST', '/v1/runs', { body: `${body}}` });
    expect([broken.status, broken.body.error]).toEqual([400, 'invalid_json']);
    const other = { tenantId, task: 'x', file: { name: 'a.bin', contentBase64: '!'.repeat(600_000) } };
    const wrong = await api.call('POST', '/v1/runs', { body: other });
    expect([wrong.status, wrong.body.error]).toEqual([400, 'invalid_request']);
  });

  test('XB8: bodies have a bound of their own where no file is taken', async () => {
    const answer = await api.call('POST', '/v1/quota-checks', { body: ' '.repeat(3 * 1024 * 1024) });
    expect([answer.status, answer.body.error]).toEqual([413, 'payload_too_large']);
  });

  test('XB8: where large bodies of others take all the room, small ones are taken', async () => {
    const sockets = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const key = await api.keyOf(await stack.tenant('1'));
        const socket = connect(api.port, '127.0.0.1').on('error', () => undefined);
        // Of a body that is said to come nothing comes.
        socket.write(`POST /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n`);
        socket.write(`content-type: application/json\r\ncontent-length: ${29_000_000}\r\n\r\n`);
        return socket;
      }),
    );
    const [refused] = (await Promise.race(sockets.map((socket) => once(socket, 'data')))) as [Buffer];
    expect(refused.toString()).toMatch(/^HTTP\/1.1 429/);
    const key = await api.keyOf(await stack.tenant('1'));
    const answer = await api.call('POST', '/v1/quota-checks', { key, body: {} });
    for (const socket of sockets) socket.destroy();
    expect(answer).toMatchObject({ status: 200 });
  });

  test('XC6: answers tell a browser what it may do with them', async () => {
    for (const path of ['/', '/docs', '/openapi.json', '/healthz', '/v1/keys', '/nothing']) {
      const { headers } = await api.request(path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    }
  });
});

/** A request as it is, past what `fetch` would correct or refuse. */
const raw = (
  url: string,
  { method, headers, body }: { method: string; headers: Record<string, string>; body: string },
): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const sent = httpRequest(url, { method, headers, agent: false }, (answer) => {
      let text = '';
      const done = (): void => resolve({ status: answer.statusCode ?? 0, body: text });
      answer.on('data', (piece: Buffer) => (text += piece.toString()));
      answer.on('end', done).on('error', done);
      // What goes on is not waited for.
      if (answer.headers['content-type']?.includes('event-stream')) {
        done();
        sent.destroy();
      }
    });
    sent.on('error', reject);
    sent.end(body);
  });

interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  format?: string;
  pattern?: string;
  maximum?: number;
  minimum?: number;
  example?: unknown;
  const?: unknown;
}
interface OpenApi {
  paths: Record<
    string,
    Record<
      string,
      {
        parameters?: { name: string; in: string; schema: Schema }[];
        requestBody?: { content: { 'application/json': { schema: Schema } } };
      }
    >
  >;
  components?: { schemas?: Record<string, Schema> };
}

/** Spellings that Postgres takes for one id. */
const spelledUuid = fc
  .uuid()
  .chain((id) =>
    fc.constantFrom(id, id.toUpperCase(), `{${id}}`, id.replaceAll('-', ''), ` ${id}`, `${id}\n`, id.slice(0, -1)),
  );
const nested = fc.constantFrom(63, 64, 65, 1_000).map((depth) => {
  let value: unknown = 1;
  for (let at = 0; at < depth; at += 1) value = at % 2 === 0 ? [value] : { a: value };
  return value;
});
const bound = fc.constantFrom(
  ...[2 ** 31 - 1, 2 ** 31, -(2 ** 31) - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e308, -1, 0, 1.5, 5e-324],
);
const awkwardText = fc.constantFrom(
  '0000-01-01T00:00:00Z',
  '-000001-01-01T00:00:00Z',
  '+010000-01-01T00:00:00.000Z',
  '2026-11-26T23:59:60Z',
  '2147483648',
  '9223372036854775808',
  'a\u001b[2Jb',
  '',
  ' ',
  '\0',
  '%',
  "'; DROP TABLE tenants; --",
  '../../etc/passwd',
  '🙂'.repeat(10),
  'a'.repeat(5_000),
  '-1',
  '0',
  'NaN',
  '1e400',
  '99999999999999999999',
  'null',
  '2026-02-31',
  '2026-11-26T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '\ud800',
  '__proto__',
  '{}',
);
const awkwardValue = fc.oneof(
  awkwardText,
  nested,
  bound,
  fc.integer(),
  fc.double(),
  fc.constant(null),
  fc.boolean(),
  fc.jsonValue(),
);

/** Mostly what a schema asks for; now and then something else in one of its places. */
function like(schema: Schema, document: OpenApi): fc.Arbitrary<unknown> {
  const right = rightly(schema, document);
  return fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: awkwardValue });
}

function rightly(schema: Schema, document: OpenApi): fc.Arbitrary<unknown> {
  if (schema.$ref) return like(document.components?.schemas?.[schema.$ref.split('/').at(-1) ?? ''] ?? {}, document);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices) return fc.oneof(...choices.map((choice) => like(choice, document)));
  if (schema.example !== undefined) return fc.constant(schema.example);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type) {
    case 'object': {
      const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => [name, like(field, document)]);
      const optional = fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, {
        requiredKeys: schema.required ?? [],
      });
      return optional;
    }
    case 'array':
      return fc.array(like(schema.items ?? {}, document), { maxLength: 3 });
    case 'integer':
      return fc.integer({
        min: schema.minimum ?? 0,
        max: Math.max(schema.minimum ?? 0, Math.min(schema.maximum ?? 1_000, 100_000)),
      });
    case 'number':
      return fc.double({ min: 0, max: 1, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'string':
      if (schema.format === 'uuid') return fc.oneof({ weight: 4, arbitrary: fc.uuid() }, spelledUuid);
      if (schema.format === 'date-time')
        return fc
          .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
          .map((date) => date.toISOString());
      return fc.oneof(fc.constantFrom('0.25', '1', 'acme', 'claude-haiku-4-5', 'small'), fc.uuid(), awkwardText);
    default:
      return awkwardValue;
  }
}
