/** The routes under /v1/runs. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { everybody, whoSpends, whoStops } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { body, denied, eventStream, json, optionalBody, postRoute, route, uuidParam } from '../http/openapi';
import { pageQuery } from '../http/pages';
import { withFileHash, type ApiEnv } from '../http/request';
import { formerTenantQuery, tenantQuery } from '../http/schemas';
import { streamRunEvents } from './events';
import * as schemas from './schemas';
import { cancelRun, findRunOrFail, showRun, showRuns } from './service';
import { startRun } from './starting';
import { fileAnswer, sendFile, showTranscript, transcriptView } from './transcripts';

export function runRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'startRun',
        summary: 'Start a run',
        tag: 'Runs',
        access: whoSpends,
        refuses: ['unpriced_model', 'unpriced_sandbox', 'run_lost', 'run_parent_refused'],
      },
      {
        path: '/v1/runs',
        request: {
          body: body(schemas.startRunBody, {
            task: 'Sum up the figures of the first quarter.',
            limits: { maxCostUsd: '0.50' },
          }),
        },
        responses: {
          202: json(schemas.startedRunView, 'The run has begun'),
          ...denied,
        },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const content = c.get('file')?.content;
      return once(c, dependencies, withFileHash(c, asked), async (runId) => ({
        status: 202,
        body: await startRun(dependencies, {
          runId,
          tenantId,
          body: asked,
          keyLabels: c.get('caller').labels,
          content,
        }),
      }));
    },
  );
  app.openapi(
    route(
      { operationId: 'listRuns', summary: 'List runs', tag: 'Runs', access: everybody },
      {
        method: 'get',
        path: '/v1/runs',
        request: { query: schemas.runsQuery },
        responses: { 200: json(schemas.runsView, 'The newest first') },
      },
    ),
    async (c) => {
      const { tenantId: named, before, ...query } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const asked = { tenantId, ...query, before: before === undefined ? undefined : new Date(before) };
      return c.json(await showRuns(dependencies, asked), 200);
    },
  );
  oneRun(app, dependencies);
  saidAndDone(app, dependencies);
}

const params = uuidParam('The run');

function oneRun(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    route(
      { operationId: 'getRun', summary: 'Show a run and its steps', tag: 'Runs', access: everybody },
      {
        method: 'get',
        path: '/v1/runs/{id}',
        request: { params, query: tenantQuery },
        responses: { 200: json(schemas.runView, 'The run and its steps') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      const run = await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id });
      return c.json(await showRun(dependencies, run), 200);
    },
  );
  app.openapi(
    route(
      { operationId: 'followRun', summary: 'Follow what happens in a run', tag: 'Runs', access: everybody },
      {
        method: 'get',
        path: '/v1/runs/{id}/events',
        request: { params, query: tenantQuery, headers: z.object({ 'last-event-id': z.string().optional() }) },
        responses: {
          200: eventStream('Server-sent events, numbered per run'),
        },
      },
    ),
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
    postRoute(
      { operationId: 'cancelRun', summary: 'Ask a run to stop', tag: 'Runs', access: whoStops, refuses: ['run_ended'] },
      {
        path: '/v1/runs/{id}/cancel',
        request: { params, query: formerTenantQuery, body: optionalBody(schemas.cancelBody) },
        responses: { 202: json(schemas.cancelledRunView, 'The run was asked to stop') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json') as schemas.CancelBody | undefined;
      const tenantId = await tenantFor(c, dependencies, asked?.tenantId ?? c.req.valid('query').tenantId);
      const run = await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id });
      return once(c, dependencies, { cancel: run.runId }, async () => {
        await cancelRun(dependencies, run);
        return { status: 202, body: { runId: run.runId, status: 'cancelling' } };
      });
    },
  );
}

/** What was asked, said, run and printed, for whoever may read it. */
function saidAndDone(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    route(
      {
        operationId: 'listRunMessages',
        summary: 'Read what was asked, said, run and printed',
        tag: 'Runs',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/runs/{id}/messages',
        request: { params, query: tenantQuery.extend(pageQuery) },
        responses: {
          200: json(transcriptView, 'The task, what the model said, its programs and what they printed, in order'),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, ...page } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const run = await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id });
      return c.json(await showTranscript(dependencies, run, page), 200);
    },
  );
  app.openapi(
    route(
      {
        operationId: 'downloadRunFile',
        summary: 'Download the file that came with a run',
        tag: 'Runs',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/runs/{id}/file',
        request: { params, query: tenantQuery },
        responses: { 200: fileAnswer },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      return sendFile(c, dependencies, await findRunOrFail(dependencies, { tenantId, runId: c.req.valid('param').id }));
    },
  );
}
