/** The API as a Hono application: routes, authentication, errors and the OpenAPI document. */
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { randomUUID } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { isDatabaseAway } from '../store/pool';
import { createApiKey, type KeyOwner } from '../store/api-keys';
import { createTenant, readBudget, setQuotas } from '../store/tenants';
import { requireAdministration, tenantFor, type ApiDependencies, type ApiEnv } from './context';
import { booksRoutes } from './books-routes';
import { conversationRoutes } from './conversation-routes';
import { controlRoutes } from './control-routes';
import { overviewRoutes } from './overview-routes';
import { limitRate } from './rate-limit';
import { priceRoutes } from './price-routes';
import { denialEvents, Denied } from './denials';
import { dashboard } from './dashboard';
import { docsPage } from './docs-page';
import { ApiError, errorBody } from './errors';
import { streamRunEvents } from './events';
import { once } from './idempotency';
import { keyRoutes } from './key-routes';
import { eventStream, failures, idempotencyHeader, idParam, json, security, streamHeaders, uuidParam } from './openapi';
import { health, readiness } from './readiness';
import { requestSpan } from './request-span';
import { reservationRoutes } from './reservation-routes';
import { cancelRun, findRunOrFail, showQuota, showRun, showRuns, startRun } from './runs';
import * as schemas from './schemas';
import { tenantEndRoutes } from './tenant-end-routes';
import { usageRoutes } from './usage-routes';

export function createApp(dependencies: ApiDependencies): OpenAPIHono<ApiEnv> {
  const app = new OpenAPIHono<ApiEnv>({
    defaultHook: (result) => {
      if (result.success) return;
      const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'the request'}: ${issue.message}`);
      const onlyAmounts = result.error.issues.every(
        (issue) => issue.code === 'custom' && issue.params?.code === 'invalid_amount',
      );
      throw new ApiError(
        onlyAmounts ? 'invalid_amount' : 'invalid_request',
        `${problems.map((problem) => problem.replace(/[.]$/, '')).join('; ')}. Nothing was done.`,
      );
    },
  });
  app.use(async (c, next) => {
    c.set('requestId', randomUUID());
    c.header('x-request-id', c.get('requestId'));
    await next();
    // A process that ends keeps no connection: its client comes back to another.
    if (dependencies.closing.aborted) c.res.headers.set('connection', 'close');
  });
  app.use('/v1/*', requestSpan);
  app.use('/v1/*', async (c, next) => {
    const key = /^Bearer (\S+)$/.exec(c.req.header('authorization') ?? '')?.[1];
    const caller = key === undefined ? undefined : await dependencies.callers.of(key);
    if (!caller)
      throw new ApiError(
        'unauthorized',
        key === undefined ? 'No API key came with the request.' : 'The API key is not known.',
      );
    c.set('caller', caller);
    await next();
  });
  if (dependencies.rateLimitPerSecond !== undefined) app.use('/v1/*', limitRate(dependencies.rateLimitPerSecond));
  // Base64 makes a file a third larger.
  const maxSize = Math.ceil(schemas.fileBytesMax * 1.4) + 1024 * 1024;
  app.use('/v1/*', limitBody(maxSize));
  app.use('/v1/*', async (c, next) => {
    if (c.req.url.includes('%00')) throw unstorable('The address');
    if (['POST', 'PUT'].includes(c.req.method)) checkJson(await c.req.text(), c.req.path);
    await next();
  });
  app.onError((error, c) => {
    const requestId = c.get('requestId');
    if (error instanceof Denied) {
      const { retryAfter } = error.body;
      const headers: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
      if (c.req.header('accept')?.includes('text/event-stream')) {
        return c.body(denialEvents(error.body), 429, { ...headers, 'content-type': 'text/event-stream' });
      }
      return c.json(error.body, 429, headers);
    }
    if (!(error instanceof ApiError))
      dependencies.log.error(
        {
          requestId,
          tenantId: (c.get('caller') as KeyOwner | undefined)?.tenantId,
          path: c.req.path,
          error,
        },
        'a request failed',
      );
    const known = knownError(error);
    return c.json(errorBody(known, requestId), known.status as 400);
  });
  app.notFound((c) =>
    c.json(errorBody(new ApiError('not_found', `There is nothing at ${c.req.path}.`), c.get('requestId')), 404),
  );

  tenantRoutes(app, dependencies);
  runRoutes(app, dependencies);
  conversationRoutes(app, dependencies);
  usageRoutes(app, dependencies);
  reservationRoutes(app, dependencies);
  controlRoutes(app, dependencies);
  booksRoutes(app, dependencies);
  priceRoutes(app, dependencies);
  keyRoutes(app, dependencies);
  overviewRoutes(app, dependencies);
  tenantEndRoutes(app, dependencies);
  app.openapi(
    createRoute({
      method: 'get',
      path: '/healthz',
      responses: { 200: json(z.object({ status: z.string() }), 'The process lives') },
    }),
    (c) => c.json(health(), 200),
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/readyz',
      responses: { 200: json(z.any(), 'Everything answers'), 503: json(z.any(), 'What does not') },
    }),
    async (c) => {
      const state = await readiness(dependencies);
      return c.json(state, state.status === 'ready' ? 200 : 503);
    },
  );
  dashboard(app);
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' });
  const document = {
    openapi: '3.1.0',
    info: { title: 'Spendlock', version: '1', description: 'Agent runs that cannot overspend.' },
  };
  app.doc31('/openapi.json', document);
  app.get('/docs', (c) => c.html(docsPage(app.getOpenAPI31Document(document))));
  return app;
}

/** A body that says how long it is is measured by that: reading it through a stream costs most of a small request. */
function limitBody(maxSize: number): MiddlewareHandler<ApiEnv> {
  const whileReading = bodyLimit({ maxSize, onError: () => tooLarge(maxSize) });
  return async (c, next) => {
    const length = c.req.header('content-length');
    if (length === undefined || c.req.header('transfer-encoding') !== undefined) return whileReading(c, next);
    if (Number(length) > maxSize) tooLarge(maxSize);
    return next();
  };
}

/** What a caller may know of an error that nobody foresaw. */
function knownError(error: Error): ApiError {
  if (error instanceof ApiError) return error;
  return isDatabaseAway(error)
    ? new ApiError(
        'unavailable',
        'Postgres could not do it at the moment. What the request had stored by then is kept.',
      )
    : new ApiError('internal', 'The request failed. What it had stored by then is kept.');
}

function tooLarge(bytes: number): never {
  throw new ApiError('payload_too_large', `The body is larger than ${bytes} bytes. Nothing was stored.`);
}

function checkJson(text: string, path: string): void {
  if (text === '' && path.endsWith('/cancel')) return;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new ApiError('invalid_json', `The body is not JSON: ${(error as Error).message}. Nothing was done.`);
  }
  // Only what is written as an escape can be wrong, so that most bodies are not walked.
  if (/\\u(0000|d[89a-f])/i.test(text) && hasUnstorableText(body)) throw unstorable('The body');
}

/** Characters that are none: Postgres cannot keep NUL, nor half of a surrogate pair. */
const hasUnstorableText = (value: unknown): boolean => {
  if (typeof value === 'string') return value.includes('\0') || /\p{Surrogate}/u.test(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([name, inner]) => hasUnstorableText(name) || hasUnstorableText(inner));
};

const unstorable = (what: string): ApiError =>
  new ApiError('invalid_request', `${what} has a character U+0000 or half of a surrogate pair. Nothing was done.`);

type App = OpenAPIHono<ApiEnv>;

function tenantRoutes(app: App, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  const budgetOf = async (tenantId: string) => {
    const { quotas, ...frozen } = await readBudget(pool, tenantId);
    return { tenantId, quotas: quotas.map((quota) => showQuota(quota) as schemas.QuotaView), ...frozen };
  };
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/tenants',
      security,
      request: {
        headers: idempotencyHeader,
        body: { required: true, content: { 'application/json': { schema: schemas.createTenantBody } } },
      },
      responses: { 201: json(z.any(), 'The tenant, its quotas, and its API key, which is shown once'), ...failures },
    }),
    (c) => {
      requireAdministration(c);
      const body = c.req.valid('json');
      return once(c, dependencies, body, async () => {
        const { tenantId, name } = body;
        const tenant = await createTenant(pool, { tenantId, ...(name === undefined ? {} : { name }) });
        if (!tenant) throw new ApiError('tenant_exists', `There is a tenant ${tenantId} already. Nothing was changed.`);
        const { key } = await createApiKey(pool, { tenantId, label: 'made with the tenant' });
        const { quotas } = await budgetOf(tenantId);
        return { status: 201, body: { tenantId, name: tenant.name, apiKey: key, quotas } };
      }) as never;
    },
  );
  const quotasBody = json(
    z.object({ tenantId: z.string(), quotas: z.array(schemas.quotaView), ...schemas.frozenFields }),
    'The quotas of the tenant, and who is frozen',
  );
  const path = '/v1/tenants/{id}/quotas';
  const params = idParam('The tenant');
  app.openapi(
    createRoute({ method: 'get', path, security, request: { params }, responses: { 200: quotasBody, ...failures } }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      return c.json(await budgetOf(tenantId), 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'put',
      path,
      security,
      request: { params, body: { required: true, content: { 'application/json': { schema: schemas.setQuotasBody } } } },
      responses: { 200: quotasBody, ...failures },
    }),
    async (c) => {
      requireAdministration(c);
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const changes = c.req.valid('json').quotas.map((quota) => {
        if (quota.scope === 'user' && quota.scopeId === undefined) {
          throw new ApiError(
            'invalid_request',
            'quotas: a quota of scope user needs the user as scopeId. Nothing was changed.',
          );
        }
        return { ...quota, scopeId: quota.scope === 'tenant' ? tenantId : (quota.scopeId ?? '') };
      });
      await setQuotas(pool, { tenantId, changes, apiKeyId: c.get('caller').apiKeyId });
      dependencies.authority.reload(tenantId);
      return c.json(await budgetOf(tenantId), 200);
    },
  );
}

function runRoutes(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/runs',
      security,
      request: {
        headers: idempotencyHeader,
        body: { required: true, content: { 'application/json': { schema: schemas.startRunBody } } },
      },
      responses: {
        202: json(z.object({ runId: z.string(), workflowId: z.string(), status: z.string() }), 'The run has begun'),
        ...failures,
      },
    }),
    async (c) => {
      const body = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, body.tenantId);
      return (await once(c, dependencies, body, async (runId) => ({
        status: 202,
        body: await startRun(dependencies, { runId, tenantId, body }),
      }))) as never;
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/runs',
      security,
      request: { query: schemas.runsQuery },
      responses: { 200: json(z.object({ runs: z.array(schemas.runSummary) }), 'The newest first'), ...failures },
    }),
    async (c) => {
      const { tenantId: named, before, ...query } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const asked = { tenantId, ...query, before: before === undefined ? undefined : new Date(before) };
      return c.json({ runs: await showRuns(dependencies, asked) }, 200);
    },
  );
  const params = uuidParam('The run');
  const query = z.object({ tenantId: schemas.tenantIdSchema.optional() });
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/runs/{id}',
      security,
      request: { params, query },
      responses: { 200: json(schemas.runView, 'The run and its steps'), ...failures },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      const run = await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id });
      return c.json(await showRun(dependencies, run), 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/runs/{id}/events',
      security,
      request: { params, query, headers: z.object({ 'last-event-id': z.string().optional() }) },
      responses: {
        200: eventStream('Server-sent events, numbered per run'),
        ...failures,
      },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      const run = await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id });
      const last = c.req.header('last-event-id') ?? '0';
      if (!/^\d{1,9}$/.test(last))
        throw new ApiError('invalid_request', 'Last-Event-ID: must be the number of an event of this run.');
      const stream = streamRunEvents(dependencies, run, { afterSequence: Number(last), clientGone: c.req.raw.signal });
      return new Response(stream, { headers: streamHeaders });
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/runs/{id}/cancel',
      security,
      request: { params, query, headers: idempotencyHeader },
      responses: { 202: json(z.any(), 'The run was asked to stop'), ...failures },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      const run = await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id });
      return (await once(c, dependencies, { cancel: run.runId }, async () => {
        await cancelRun(dependencies, run);
        return { status: 202, body: { runId: run.runId, status: 'cancelling' } };
      })) as never;
    },
  );
}
