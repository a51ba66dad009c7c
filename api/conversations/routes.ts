/** The routes by which conversations begin, go on and end. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { isUuid } from '../../core/ids';
import { setTitle } from '../../store/run-lists';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import { whoSpends, whoStops } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { answerOnce, once } from '../http/idempotency';
import type { Place } from '../http/long-answers';
import { body, denied, eventStream, json, postRoute, uuidParam } from '../http/openapi';
import { clientGone, withFileHash, type ApiContext, type ApiEnv } from '../http/request';
import { streamRunEvents } from '../runs/events';
import { gate } from '../tenants/gate';
import { approvalRoutes } from './approval-routes';
import { conversationOf, readingRoutes } from './reading-routes';
import * as conversations from './service';
import * as schemas from './schemas';

type App = OpenAPIHono<ApiEnv>;

const params = uuidParam('The conversation');

export function conversationRoutes(app: App, dependencies: ApiDependencies): void {
  beginningAndEnding(app, dependencies);
  messages(app, dependencies);
  readingRoutes(app, dependencies);
  approvalRoutes(app, dependencies);
}

function beginningAndEnding(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'startConversation',
        summary: 'Open a conversation',
        tag: 'Conversations',
        access: whoSpends,
        refuses: ['unpriced_model', 'unpriced_sandbox', 'run_lost'],
      },
      {
        path: '/v1/conversations',
        request: {
          body: body(schemas.startConversationBody, { title: 'The first quarter', limits: { maxCostUsd: '2' } }),
        },
        responses: {
          201: json(schemas.openedView, 'The conversation is open'),
        },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const content = c.get('file')?.content;
      return once(c, dependencies, withFileHash(c, asked), async (conversationId) => ({
        status: 201,
        body: await conversations.startConversation(dependencies, {
          ...{ conversationId, tenantId, body: asked, content },
          keyLabels: c.get('caller').labels,
        }),
      }));
    },
  );
  app.openapi(
    postRoute(
      { operationId: 'setTitle', summary: 'Give a conversation a title', tag: 'Conversations', access: whoStops },
      {
        path: '/v1/conversations/{id}/title',
        request: { params, body: body(schemas.titleBody) },
        responses: { 200: json(schemas.conversationView, 'The conversation with its title') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const run = await conversationOf(c, dependencies, asked.tenantId);
      const { title } = asked;
      return once(c, dependencies, asked, async () => {
        await setTitle(dependencies.pool, { ...run, title });
        return { status: 200, body: await conversations.showConversation(dependencies, { ...run, title }) };
      });
    },
  );
  app.openapi(
    postRoute(
      {
        operationId: 'closeConversation',
        summary: 'Ask a conversation to end',
        tag: 'Conversations',
        access: whoStops,
        refuses: ['conversation_ended'],
      },
      {
        path: '/v1/conversations/{id}/close',
        request: { params, body: body(schemas.closeBody) },
        responses: { 202: json(schemas.closingView, 'The conversation was asked to end') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const run = await conversationOf(c, dependencies, asked.tenantId);
      return once(c, dependencies, asked, async () => {
        await conversations.closeConversation(dependencies, run);
        return { status: 202, body: { conversationId: run.runId, status: 'closing' } };
      });
    },
  );
}

function messages(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'sendMessage',
        summary: 'Send a message, and follow its turn if asked to',
        tag: 'Conversations',
        access: whoSpends,
        refuses: ['conversation_ended'],
      },
      {
        path: '/v1/conversations/{id}/messages',
        request: { params, body: body(schemas.messageBody, { message: 'Which month cost most?' }) },
        responses: {
          202: json(schemas.sentMessageView, 'The message is stored, and is answered in its turn'),
          200: eventStream('With `Accept: text/event-stream`: the turn as it happens, to its end'),
          ...denied,
        },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const conversationId = c.req.valid('param').id;
      await passGate(c, dependencies, { tenantId, conversationId });
      const isStreamed = c.req.header('accept')?.includes('text/event-stream') === true;
      // Refused before the message is stored, when there is no place for its stream.
      const place = isStreamed ? dependencies.longAnswers.place(c, 'events') : undefined;
      try {
        const { status, body: sent } = await inSpan(spanNames.chat, { conversationId }, () =>
          answerOnce(c, dependencies, asked, async (turnId) => ({
            status: 202 as const,
            body: await conversations.sendMessage(dependencies, {
              tenantId,
              conversationId,
              turnId,
              message: asked.message,
            }),
          })),
        );
        if (!place) return c.json(sent, status);
        const { interruptOnDisconnect } = asked;
        return await streamTurn(c, dependencies, { tenantId, conversationId, sent, interruptOnDisconnect, place });
      } catch (error) {
        place?.release();
        throw error;
      }
    },
  );
  app.openapi(
    postRoute(
      {
        operationId: 'interruptTurn',
        summary: 'Ask a turn to stop',
        tag: 'Conversations',
        access: whoStops,
        refuses: ['conversation_ended'],
      },
      {
        path: '/v1/conversations/{id}/interrupt',
        request: { params, body: body(schemas.interruptBody) },
        responses: { 202: json(schemas.interruptedView, 'The turn was asked to stop') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const run = await conversationOf(c, dependencies, asked.tenantId);
      return once(c, dependencies, asked, async () => ({
        status: 202,
        body: await conversations.interrupt(dependencies, run, { turnId: asked.turnId }),
      }));
    },
  );
}

/** @throws Denied when there is no money for a model call, unless the message is a repeat. */
async function passGate(
  c: ApiContext,
  dependencies: ApiDependencies,
  { tenantId, conversationId }: { tenantId: string; conversationId: string },
): Promise<void> {
  const repeatOf = { tenantId: c.get('caller').tenantId, idempotencyKey: c.req.header('idempotency-key') };
  const named = isUuid(conversationId) ? { conversationId } : {};
  await gate(dependencies, {
    tenantId,
    resource: 'llm',
    what: 'The message was not stored.',
    waitsForHolds: true,
    repeatOf,
    ...named,
  });
}

/** The turn of a message as it happens, to its end. */
async function streamTurn(
  c: ApiContext,
  dependencies: ApiDependencies,
  {
    tenantId,
    conversationId,
    sent: { turnId, lastEventId },
    interruptOnDisconnect,
    place,
  }: {
    tenantId: string;
    conversationId: string;
    sent: conversations.SentMessage;
    interruptOnDisconnect: boolean;
    place: Place;
  },
): Promise<Response> {
  const run = await conversations.findConversation(dependencies, { tenantId, conversationId });
  const gone = clientGone(c);
  const interrupt = (): void => void conversations.interrupt(dependencies, run, { turnId }).catch(() => undefined);
  if (interruptOnDisconnect && gone.aborted) interrupt();
  else if (interruptOnDisconnect) gone.addEventListener('abort', interrupt);
  const order = { afterSequence: lastEventId, turnId };
  return streamRunEvents(c, dependencies, { run, order, headers: { 'x-turn-id': turnId }, place, gone });
}
