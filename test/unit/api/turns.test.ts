/** Whose request is begun next. */
import { Hono } from 'hono';
import type { ApiEnv } from '../../../api/http/request';
import { takeTurns } from '../../../api/http/turns';

test('a request does not wait for all that another owner sent before it', async () => {
  const begun: string[] = [];
  const app = new Hono<ApiEnv>();
  app.use(async (c, next) => {
    c.set('caller', { tenantId: c.req.header('x-tenant'), apiKeyId: 'key' } as never);
    await next();
  });
  app.use(takeTurns());
  app.get('/', (c) => {
    begun.push(c.req.header('x-tenant') ?? '');
    return c.text('');
  });
  const ask = (tenant: string) => app.request('/', { headers: { 'x-tenant': tenant } });
  const flood = Array.from({ length: 200 }, () => ask('busy'));
  await Promise.all([...flood, ask('calm'), ask('calm')]);
  expect(begun).toHaveLength(202);
  expect(begun.lastIndexOf('calm')).toBeLessThan(10);
  // Nobody is forgotten, and the rest is begun in its order.
  expect(begun.filter((tenant) => tenant === 'busy')).toHaveLength(200);
});
