/** The API as a Hono application: routes, authentication, errors and the OpenAPI document. */
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { randomUUID } from 'node:crypto';
import { HTTPException } from 'hono/http-exception';
import { isDatabaseAway, passesColumn, sqlState } from '../store/pool';
import { KeyEndedError, keyFrom, orderApiKey, type KeyOwner } from '../store/api-keys';
import { readBudget, setQuotas } from '../store/quotas';
import { orderTenant } from '../store/tenants';
import { operatorOf, tenantFor, type ApiDependencies } from './http/context';
import { bearerOf, requireAdministration, withFileHash, type ApiEnv } from './http/request';
import { booksRoutes } from './books/routes';
import { conversationRoutes } from './conversations/routes';
import { budgetRoutes } from './tenants/budget-routes';
import { overviewRoutes } from './tenants/overview-routes';
import { limitRate } from './http/rate-limit';
import { priceRoutes } from './prices/routes';
import { denialEvents, Denied } from './http/denials';
import { authentication } from './http/authentication';
import { cutRequest, limitBodies, readJson } from './http/bodies';
import { dashboard } from './dashboard';
import { documents } from './http/documents';
import { ApiError, errorBody } from './http/errors';
import { streamRunEvents } from './runs/events';
import { once } from './http/idempotency';
import { keyRoutes } from './keys/routes';
import { eventStream, failures, idempotencyHeader, idParam, json, security, uuidParam } from './http/openapi';
import { health, readiness } from './http/readiness';
import { RepeatedFailures } from '../telemetry/repeated-failures';
import { securityHeaders } from './http/security-headers';
import { limitAnswers } from './http/sockets';
import { requestSpan } from './http/request-span';
import { takeTurns } from './http/turns';
import { reservationRoutes } from './reservations/routes';
import { cancelRun, findRunOrFail, showRun, showRuns, startRun } from './runs/service';
import { showQuota } from './tenants/quota-view';
import * as schemas from './http/schemas';
import { deletionRoutes } from './tenants/deletion-routes';
import { usageRoutes } from './usage/routes';

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
    for (const [name, value] of Object.entries(securityHeaders))
      if (!c.res.headers.has(name)) c.res.headers.set(name, value);
    // A process that ends keeps no connection: its client comes back to another.
    if (dependencies.closing.aborted) c.res.headers.set('connection', 'close');
    // HEAD is answered by what answers GET, without its body: what was begun for one ends here.
    if (c.req.method === 'HEAD') await c.res.body?.cancel();
  });
  app.use('/v1/*', requestSpan);
  app.use('/v1/*', authentication(dependencies));
  app.use('/v1/*', limitAnswers(dependencies.untaken));
  app.use('/v1/*', takeTurns());
  if (dependencies.rateLimitPerSecond !== undefined) app.use('/v1/*', limitRate(dependencies.rateLimitPerSecond));
  app.use('/v1/*', limitBodies());
  app.use('/v1/*', readJson);
  const failureLog = new RepeatedFailures(dependencies.log, 'a request failed');
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
    const known = cutRequest(c) ?? knownError(error);
    if (known !== error && known.status >= 500) {
      const tenantId = (c.get('caller') as KeyOwner | undefined)?.tenantId;
      failureLog.add(error, { requestId, tenantId, path: c.req.path, error });
    }
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
  budgetRoutes(app, dependencies);
  booksRoutes(app, dependencies);
  priceRoutes(app, dependencies);
  keyRoutes(app, dependencies);
  overviewRoutes(app, dependencies);
  deletionRoutes(app, dependencies);
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
  documents(app);
  return app;
}

/** What a caller may know of an error that nobody foresaw. */
function knownError(error: Error): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof KeyEndedError) return new ApiError('unauthorized', 'The API key was revoked. Nothing was done.');
  // What the validators refuse by themselves.
  if (error instanceof HTTPException && error.status === 415)
    return new ApiError('unsupported_media_type', 'The Content-Type is not one of JSON. Nothing was done.');
  if (error instanceof HTTPException && error.status < 500)
    return new ApiError('invalid_request', `${error.message || 'The request cannot be read'}. Nothing was done.`);
  // A sum, or a moment, that passes what its column can hold.
  if (passesColumn(error))
    return new ApiError('invalid_request', 'A number or a moment is outside of what can be kept. Nothing was done.');
  return isDatabaseAway(error)
    ? new ApiError(
        'unavailable',
        'Postgres could not do it at the moment. What the request had stored by then is kept.',
      )
    : new ApiError('internal', 'The request failed. What it had stored by then is kept.');
}

type App = OpenAPIHono<ApiEnv>;

function tenantRoutes(app: App, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  const budgetOf = async (tenantId: string, userIds?: readonly string[]) => {
    const { quotas, ...rest } = await readBudget(pool, tenantId, userIds);
    return { tenantId, quotas: quotas.map(showQuota), ...rest };
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
      const { tenantId, name } = body;
      const by = operatorOf(c.get('caller'));
      const keyOf = (seed: string): string => keyFrom(bearerOf(c) ?? '', seed);
      const make = async (seed: string) => {
        if ((await orderTenant(pool, { tenantId, name, by, key: keyOf(seed) })) === 'exists')
          throw new ApiError('tenant_exists', `There is a tenant ${tenantId} already. Nothing was changed.`);
        const { quotas } = await budgetOf(tenantId);
        return { status: 201 as const, body: { tenantId, name: name ?? '', quotas } };
      };
      // A repeat that comes with another key than the request before it is shown a key of its own.
      return once(c, dependencies, body, make, async (seed) => {
        const apiKey = keyOf(seed);
        const order = { tenantId, by, key: apiKey, label: 'made with the tenant' };
        await orderApiKey(pool, order).catch((error: unknown) => {
          if (sqlState(error) !== '23503') throw error;
          throw new ApiError('unknown_tenant', `The tenant ${tenantId} was deleted since. Nothing was done.`);
        });
        return { apiKey };
      }) as never;
    },
  );
  const quotasBody = json(
    z.object({
      tenantId: z.string(),
      quotas: z.array(schemas.quotaView),
      ...schemas.moreUserQuotas,
      ...schemas.frozenFields,
    }),
    'The quotas of the tenant, and who is frozen',
  );
  const path = '/v1/tenants/{id}/quotas';
  const params = idParam('The tenant');
  app.openapi(
    createRoute({
      method: 'get',
      path,
      security,
      request: { params, query: schemas.quotasQuery },
      responses: { 200: quotasBody, ...failures },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const { userId } = c.req.valid('query');
      return c.json(await budgetOf(tenantId, userId === undefined ? undefined : [userId]), 200);
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
      const users = new Set(changes.flatMap(({ scope, scopeId }) => (scope === 'user' ? [scopeId] : [])));
      return c.json(await budgetOf(tenantId, users.size === 0 ? undefined : [...users]), 200);
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
      const content = c.get('file')?.content;
      return (await once(c, dependencies, withFileHash(c, body), async (runId) => ({
        status: 202,
        body: await startRun(dependencies, { runId, tenantId, body, content }),
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
      return streamRunEvents(c, dependencies, { run, order: { afterSequence: Number(last) } });
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
