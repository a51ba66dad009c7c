/** What protects the API from its callers: rates, sizes and times, and requests that nobody would send on purpose. */
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { once } from 'node:events';
import fc from 'fast-check';
import { startApi } from '../../api/server';
import { createSpendlockClient } from '../../api/client';
import { createApiKey } from '../../store/api-keys';
import { isErrorCode } from '../../core/errors';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

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
          .tuple(...names.map(() => fc.oneof(fc.constant(tenantId), fc.uuid(), awkwardText)))
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
        const given = Object.entries(query).map(([name, value]) => [name, String(value)] as [string, string]);
        const response = await fetch(`${api.url}${path}?${new URLSearchParams(given).toString()}`, {
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
        if (response.status >= 400 && !isErrorCode((JSON.parse(answer) as { error: string }).error))
          throw new Error(answer);
      }),
      { numRuns: 4_000 },
    );
    // The requests were not all turned away at the door.
    expect((statuses.get(200) ?? 0) + (statuses.get(201) ?? 0)).toBeGreaterThan(50);
  });
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

const awkwardText = fc.constantFrom(
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
const awkwardValue = fc.oneof(awkwardText, fc.integer(), fc.double(), fc.constant(null), fc.boolean(), fc.jsonValue());

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
      if (schema.format === 'uuid') return fc.uuid();
      if (schema.format === 'date-time')
        return fc
          .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
          .map((date) => date.toISOString());
      return fc.oneof(fc.constantFrom('0.25', '1', 'acme', 'claude-haiku-4-5', 'small'), fc.uuid(), awkwardText);
    default:
      return awkwardValue;
  }
}
