/** The routes that show conversations: a list, one, what was said, and what happens. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { Run } from '../../store/runs';
import { readTranscriptPage } from '../../store/transcripts';
import { listTurns } from '../../store/turns';
import { everybody } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { turnIdSchema } from '../http/ids';
import { eventStream, json, route, uuidParam } from '../http/openapi';
import type { ApiContext, ApiEnv } from '../http/request';
import { moment, tenantQuery } from '../http/schemas';
import { plainText } from '../http/text';
import { streamRunEvents } from '../runs/events';
import * as schemas from './schemas';
import { findConversation, showConversation, showConversations, turnViewOf } from './service';

const params = uuidParam('The conversation');

/** The conversation that a request is about. */
export async function conversationOf(
  c: ApiContext,
  dependencies: ApiDependencies,
  tenantId: string | undefined,
): Promise<Run> {
  const tenant = await tenantFor(c, dependencies, tenantId);
  return findConversation(dependencies, { tenantId: tenant, conversationId: c.req.param('id') ?? '' });
}

export function readingRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    route(
      { operationId: 'listConversations', summary: 'List conversations', tag: 'Conversations', access: everybody },
      {
        method: 'get',
        path: '/v1/conversations',
        request: {
          query: tenantQuery.extend({
            userId: plainText(128).optional(),
            before: moment.optional(),
            limit: z.coerce.number().int().min(1).max(500).default(50),
          }),
        },
        responses: {
          200: json(schemas.conversationsView, 'The newest first'),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, before, ...query } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const asked = { tenantId, ...query, before: before === undefined ? undefined : new Date(before) };
      return c.json({ conversations: await showConversations(dependencies, asked) }, 200);
    },
  );
  app.openapi(
    route(
      { operationId: 'getConversation', summary: 'Show a conversation', tag: 'Conversations', access: everybody },
      {
        method: 'get',
        path: '/v1/conversations/{id}',
        request: { params, query: tenantQuery },
        responses: { 200: json(schemas.conversationView, 'The conversation') },
      },
    ),
    async (c) => {
      const run = await conversationOf(c, dependencies, c.req.valid('query').tenantId);
      return c.json(await showConversation(dependencies, run), 200);
    },
  );
  whatWasSaid(app, dependencies);
}

/** As many turns as one answer has. */
const turnsMax = 1_000;

function whatWasSaid(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    route(
      { operationId: 'listMessages', summary: 'Read what was said', tag: 'Conversations', access: everybody },
      {
        method: 'get',
        path: '/v1/conversations/{id}/messages',
        request: {
          params,
          query: tenantQuery.extend({
            after: z.coerce.number().int().min(0).max(2_147_483_647).default(0),
            limit: z.coerce.number().int().min(1).max(500).default(200),
            turnsAfter: z.coerce.number().int().min(0).max(2_147_483_647).default(0).openapi({
              description: 'Turns after this number: a page has as many as fit.',
            }),
          }),
        },
        responses: {
          200: json(schemas.messagesView, 'What was said, in order, as content blocks; and the turns'),
        },
      },
    ),
    async (c) => {
      const { tenantId, after, limit, turnsAfter } = c.req.valid('query');
      const run = await conversationOf(c, dependencies, tenantId);
      const [{ messages: said, hasMore }, turns] = await Promise.all([
        readTranscriptPage(pool, { ...run, afterSequence: after, limit }),
        listTurns(pool, run, { afterNumber: turnsAfter, limit: turnsMax }),
      ]);
      return c.json(
        {
          messages: said,
          next: hasMore ? (said.at(-1)?.sequence ?? null) : null,
          turns: turns.map(turnViewOf),
        },
        200,
      );
    },
  );
  app.openapi(
    route(
      {
        operationId: 'followConversation',
        summary: 'Follow what happens in a conversation',
        tag: 'Conversations',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/conversations/{id}/events',
        request: {
          params,
          query: tenantQuery.extend({
            turnId: turnIdSchema.optional().openapi({ description: 'Only this turn, to its end.' }),
          }),
          headers: z.object({ 'last-event-id': z.string().optional() }),
        },
        responses: { 200: eventStream('Server-sent events, numbered per conversation') },
      },
    ),
    async (c) => {
      const { tenantId, turnId } = c.req.valid('query');
      const run = await conversationOf(c, dependencies, tenantId);
      const last = c.req.header('last-event-id') ?? '0';
      if (!/^\d{1,9}$/.test(last))
        throw new ApiError('invalid_request', 'Last-Event-ID: must be the number of an event of this conversation.');
      const afterSequence = Number(last);
      const order = { afterSequence, ...(turnId === undefined ? {} : { turnId }) };
      return streamRunEvents(c, dependencies, { run, order });
    },
  );
}
