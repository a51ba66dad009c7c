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
import { cursorOf, pageQuery, placeOf } from '../http/pages';
import type { ApiContext, ApiEnv } from '../http/request';
import { moment, tenantQuery } from '../http/schemas';
import { plainText } from '../http/text';
import { streamRunEvents } from '../runs/events';
import { stateView } from '../runs/states';
import { fileAnswer, messageViewOf, sendFile } from '../runs/transcripts';
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
            status: stateView.optional(),
            before: moment.optional().openapi({ description: 'Begun before this moment.' }),
            ...pageQuery,
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
      return c.json(await showConversations(dependencies, asked), 200);
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

const place = z.tuple([z.int().min(0).max(2_147_483_647), z.int().min(0).max(2_147_483_647)]);

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
          query: tenantQuery.extend(pageQuery),
        },
        responses: {
          200: json(schemas.messagesView, 'What was said, in order, as content blocks; and the turns'),
        },
      },
    ),
    async (c) => {
      const { tenantId, cursor, limit } = c.req.valid('query');
      const run = await conversationOf(c, dependencies, tenantId);
      const [afterSequence, afterNumber] = placeOf(cursor, place) ?? [0, 0];
      const [said, made] = await Promise.all([
        readTranscriptPage(pool, { ...run, afterSequence, limit }),
        listTurns(pool, run, { afterNumber, limit: turnsMax }),
      ]);
      const next = [said.messages.at(-1)?.sequence ?? afterSequence, made.turns.at(-1)?.number ?? afterNumber];
      return c.json(
        {
          messages: said.messages.map(messageViewOf),
          turns: made.turns.map(turnViewOf),
          nextCursor: cursorOf(said.hasMore || made.hasMore ? next : undefined),
        },
        200,
      );
    },
  );
  app.openapi(
    route(
      {
        operationId: 'downloadConversationFile',
        summary: 'Download the file that came with a conversation',
        tag: 'Conversations',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/conversations/{id}/file',
        request: { params, query: tenantQuery },
        responses: { 200: fileAnswer },
      },
    ),
    async (c) => sendFile(c, dependencies, await conversationOf(c, dependencies, c.req.valid('query').tenantId)),
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
