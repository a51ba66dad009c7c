/**
 * The typed client knows the whole API. Each of its methods is called as a browser would call it, and what it asks for is held
 * against the API's own document: an operation without a method fails here, and so does a method without an operation.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createApp } from '../../../api/app';
import type { ApiDependencies } from '../../../api/http/context';
import type { SpendlockClient } from '../../../client';
import { bundledClient, type BrowserClient } from '../../support/browser-client';

const id = '0b7a3b8d-2a8e-4b8e-8f0e-0d6d9a1f9c11';
const price = { provider: 'openai', model: 'm', inputUsd: '1', outputUsd: '2', source: 's', sourceDate: '2026-01-01' };
const tier = { tier: 'large', vcpu: 1, memoryMib: 512, vcpuSecondUsd: '0.1', gibSecondUsd: '0.1' };
const why = { reason: 'a test' };
const quota = { resourceType: 'all', limitUsd: '5' } as const;

/** To its end, so that nothing of it stays open. */
async function read(stream: AsyncIterable<unknown> | Promise<ReadableStream>): Promise<void> {
  for await (const _piece of (await stream) as AsyncIterable<unknown>);
}

/** Each operation of the API, and how the client asks for it. */
const operations: Record<string, (client: SpendlockClient) => Promise<unknown>> = {
  'GET /v1/approvals': (client) => client.approvals.list({ runId: id }),
  'POST /v1/approvals/{id}': (client) => client.approvals.refuse(id, why),
  'GET /v1/conversations': (client) => client.conversations.list(),
  'POST /v1/conversations': (client) =>
    client.conversations.create({ file: { name: 'a.csv', content: new Uint8Array([1, 2, 255]) } }),
  'GET /v1/conversations/{id}': (client) => client.conversations.get(id),
  'POST /v1/conversations/{id}/close': (client) => client.conversations.close(id),
  'GET /v1/conversations/{id}/events': (client) => read(client.conversations.events(id)),
  'POST /v1/conversations/{id}/interrupt': (client) => client.conversations.interrupt(id),
  'GET /v1/conversations/{id}/messages': (client) => client.conversations.messages(id),
  'POST /v1/conversations/{id}/messages': (client) => client.conversations.send(id, { message: 'Hello' }),
  'GET /v1/cost-records': (client) => client.usage.records(),
  'GET /v1/keys': (client) => client.keys.list(),
  'POST /v1/keys': (client) => client.keys.create({ tenantId: 'acme' }),
  'GET /v1/keys/current': (client) => client.keys.current(),
  'POST /v1/keys/{id}/revoke': (client) => client.keys.revoke(id),
  'POST /v1/keys/{id}/rotate': (client) => client.keys.rotate(id),
  'GET /v1/platform/quotas': (client) => client.platform.quotas(),
  'PUT /v1/platform/quotas': (client) => client.platform.setQuotas({ quotas: [quota] }),
  'GET /v1/prices': (client) => client.prices.list({ all: true }),
  'POST /v1/prices': (client) => client.prices.add({ prices: [price] }),
  'POST /v1/sandbox-prices': (client) => client.prices.addSandbox({ ...tier, source: 's', sourceDate: '2026-01-01' }),
  'POST /v1/quota-checks': (client) => client.checkQuota({ estimatedUsd: '1' }),
  'POST /v1/reservations': (client) => client.reserve({ resource: 'llm', amountUsd: '1' }),
  'GET /v1/reservations/{operationId}': (client) => client.reservation(id),
  'POST /v1/reservations/{operationId}/claim': (client) => client.claim(id),
  'POST /v1/reservations/{operationId}/commit': (client) => client.commit(id, { costUsd: '1' }),
  'POST /v1/reservations/{operationId}/extend': (client) => client.extend(id, { ttlSeconds: 60 }),
  'POST /v1/reservations/{operationId}/release': (client) => client.release(id),
  'GET /v1/runs': (client) => client.runs.list({ tenantId: 'acme' }),
  'POST /v1/runs': (client) => client.runs.start({ task: 'Say hello.' }),
  'GET /v1/runs/{id}': (client) => client.runs.get(id),
  'POST /v1/runs/{id}/cancel': (client) => client.runs.cancel(id),
  'GET /v1/runs/{id}/events': (client) => read(client.runs.events(id)),
  'GET /v1/tenants': (client) => client.tenants.list(),
  'POST /v1/tenants': (client) => client.tenants.create({ tenantId: 'acme' }),
  'GET /v1/tenants/events': (client) => read(client.tenants.events()),
  'POST /v1/tenants/{id}/adjustments': (client) =>
    client.budget.adjust('acme', { operationId: id, costUsd: '1', ...why }),
  'GET /v1/tenants/{id}/books': (client) => client.budget.books('acme'),
  'POST /v1/tenants/{id}/books/repair': (client) => client.budget.repairBooks('acme', why),
  'POST /v1/tenants/{id}/delete': (client) => client.tenants.delete('acme', { confirm: 'acme', ...why }),
  'GET /v1/tenants/{id}/export': (client) => read(client.tenants.export('acme')),
  'POST /v1/tenants/{id}/freeze': (client) => client.budget.freeze('acme', why),
  'GET /v1/tenants/{id}/holds': (client) => client.budget.holds('acme', { unverified: true }),
  'POST /v1/tenants/{id}/holds/{operationId}/release': (client) => client.budget.releaseHold('acme', id, why),
  'GET /v1/tenants/{id}/overview': (client) => client.tenants.overview('acme'),
  'GET /v1/tenants/{id}/overview/events': (client) => read(client.tenants.overviewEvents('acme')),
  'POST /v1/tenants/{id}/policy': (client) => client.budget.setPolicy('acme', { onUnavailable: 'deny' }),
  'GET /v1/tenants/{id}/quotas': (client) => client.tenants.quotas('acme', { userId: 'ada' }),
  'PUT /v1/tenants/{id}/quotas': (client) => client.tenants.setQuotas('acme', [quota]),
  'POST /v1/tenants/{id}/topups': (client) => client.budget.topUp('acme', { amountUsd: '1', ...why }),
  'POST /v1/tenants/{id}/unfreeze': (client) => client.budget.unfreeze('acme'),
  'POST /v1/tenants/{id}/user-defaults': (client) => client.budget.setUserDefaults('acme', { quotas: [] }),
  'GET /v1/usage': (client) => client.usage.summary({ groupBy: 'day' }),
};

interface Described {
  parameters?: { in: string; name: string }[];
  requestBody?: { content: { 'application/json': { schema: { properties?: Record<string, object> } } } };
}
interface Asked {
  method: string;
  path: string;
  query: string[];
  body: object;
}

describe('the typed client', () => {
  let bundled: BrowserClient;
  let server: Server;
  let baseUrl: string;
  const asked: Asked[] = [];
  const app = createApp({ closing: new AbortController().signal } as ApiDependencies);
  const document = app.getOpenAPI31Document({ openapi: '3.1.0', info: { title: 'Spendlock', version: '1' } });
  const described = new Map(
    Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
      Object.entries(methods as Record<string, Described>)
        .filter(() => path.startsWith('/v1/'))
        .map(([method, operation]): [string, Described] => [`${method.toUpperCase()} ${path}`, operation]),
    ),
  );

  beforeAll(async () => {
    bundled = await bundledClient();
    server = createServer((request, response) => {
      let text = '';
      request.on('data', (piece: Buffer) => (text += piece.toString()));
      request.on('end', () => {
        const { pathname: path, searchParams } = new URL(request.url ?? '', 'http://here');
        const body = JSON.parse(text || '{}') as object;
        asked.push({ method: request.method ?? '', path, query: [...searchParams.keys()], body });
        const isStream = path.endsWith('/events');
        response.setHeader('content-type', isStream ? 'text/event-stream' : 'application/json');
        response.end(isStream ? 'event: done\ndata: {}\n\n' : '{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('has a method for each operation of the API', () => {
    expect(Object.keys(operations).sort()).toEqual([...described.keys()].sort());
  });

  test.each(Object.keys(operations))('asks for %s with what it takes', async (name) => {
    const client = bundled.client.createSpendlockClient({ baseUrl, apiKey: 'a key' });
    asked.length = 0;
    await operations[name]?.(client);
    const [method, path = ''] = name.split(' ');
    const { parameters = [], requestBody } = described.get(name) ?? {};
    const [request] = asked;
    expect(request?.method).toBe(method);
    expect(request?.path).toMatch(new RegExp(`^${path.replace(/[{]\w+[}]/g, '[\\w-]+')}$`));
    const queries = parameters.filter((one) => one.in === 'query').map((one) => one.name);
    expect(queries).toEqual(expect.arrayContaining(request?.query ?? []));
    const fields = Object.keys(requestBody?.content['application/json'].schema.properties ?? {});
    expect(fields).toEqual(expect.arrayContaining(Object.keys(request?.body ?? {})));
  });

  test('is small, and has nothing of a server in it: it runs where there is no Node', () => {
    const outside = Object.keys(bundled.inputs).filter((file) => !/^(client|core)\//.test(file));
    expect(outside).toEqual([]);
    expect(bundled.bytes).toBeLessThan(100_000);
  });
});
