/** Whose request is begun next. */
import { Hono } from 'hono';
import { ApiError } from '../../../api/http/errors';
import type { ApiEnv } from '../../../api/http/request';
import { takeTurns } from '../../../api/http/turns';

/** What was begun, and a way to ask as a tenant, by a client that may be gone by the time of its turn. */
function scene() {
  const begun: string[] = [];
  const app = new Hono<ApiEnv>();
  app.use(async (c, next) => {
    c.set('caller', { tenantId: c.req.header('x-tenant'), apiKeyId: 'key' } as never);
    await next();
  });
  app.use(takeTurns());
  app.all('/', (c) => {
    begun.push(c.req.header('x-tenant') ?? '');
    return c.text('');
  });
  app.onError((error, c) => c.text('', (error instanceof ApiError ? error.status : 500) as 500));
  const ask = async (tenant: string, { method = 'GET', isGone = false } = {}): Promise<number> => {
    const incoming = { socket: { destroyed: isGone } };
    return (await app.request('/', { method, headers: { 'x-tenant': tenant } }, { incoming })).status;
  };
  const askOften = (count: number, tenant: string, how: { method?: string; isGone?: boolean } = {}) =>
    Array.from({ length: count }, () => ask(tenant, how));
  return { begun, ask, askOften };
}

test('a request does not wait for all that another owner sent before it', async () => {
  const { begun, ask, askOften } = scene();
  await Promise.all([...askOften(200, 'busy'), ask('calm'), ask('calm')]);
  expect(begun).toHaveLength(202);
  expect(begun.lastIndexOf('calm')).toBeLessThan(10);
  // Nobody is forgotten, and the rest is begun in its order.
  expect(begun.filter((tenant) => tenant === 'busy')).toHaveLength(200);
});

test('reads whose clients have gone are not begun, and what they were to write is', async () => {
  const { begun, askOften } = scene();
  await Promise.all([
    ...askOften(500, 'reads', { isGone: true }),
    ...askOften(50, 'writes', { method: 'POST', isGone: true }),
    ...askOften(20, 'reads'),
  ]);
  expect(begun.filter((tenant) => tenant === 'writes')).toHaveLength(50);
  // The first ones are begun before anybody waits.
  expect(begun.filter((tenant) => tenant === 'reads')).toHaveLength(22);
});

test('very many that wait for their turn are refused, and others are not', async () => {
  const { begun, ask, askOften } = scene();
  const flood = askOften(6_000, 'busy', { method: 'POST' });
  expect(await ask('calm')).toBe(200);
  const statuses = await Promise.all(flood);
  expect(statuses.filter((status) => status === 429)).toHaveLength(998);
  expect(begun.filter((tenant) => tenant === 'busy')).toHaveLength(5_002);
});
