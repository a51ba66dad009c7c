/** The routes under /v1/conversations, and /v1/approvals. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { isUuid } from '../../core/ids';
import { decideApproval, listApprovals, type Approval } from '../../store/approvals';
import type { Run } from '../../store/runs';
import { readTranscriptPage } from '../../store/transcripts';
import { listTurns } from '../../store/turns';
import { decideApprovalSignal } from '../../contracts/messages';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import { tenantFor, type ApiDependencies } from '../http/context';
import { clientGone, withFileHash, type ApiContext, type ApiEnv } from '../http/request';
import * as conversations from './service';
import { ApiError } from '../http/errors';
import { streamRunEvents } from '../runs/events';
import { gate } from '../tenants/gate';
import { once } from '../http/idempotency';
import { approvalIdSchema, runIdSchema, turnIdSchema } from '../http/ids';
import { body, eventStream, failures, idempotencyHeader, json, security, uuidParam } from '../http/openapi';
import * as schemas from '../http/schemas';
import { plainText } from '../http/text';

type App = OpenAPIHono<ApiEnv>;

const params = uuidParam('The conversation');
const ofTenant = z.object({ tenantId: schemas.tenantIdSchema.optional() });

export function conversationRoutes(app: App, dependencies: ApiDependencies): void {
  beginningAndEnding(app, dependencies);
  messages(app, dependencies);
  reading(app, dependencies);
  approvals(app, dependencies);
}

/** The conversation that a request is about. */
async function found(c: ApiContext, dependencies: ApiDependencies, tenantId: string | undefined): Promise<Run> {
  const tenant = await tenantFor(c, dependencies, tenantId);
  return conversations.findConversation(dependencies, { tenantId: tenant, conversationId: c.req.param('id') ?? '' });
}

function beginningAndEnding(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/conversations',
      security,
      request: { headers: idempotencyHeader, body: body(schemas.startConversationBody) },
      responses: {
        201: json(
          z.object({ conversationId: z.string(), workflowId: z.string(), status: z.string() }),
          'The conversation is open',
        ),
        ...failures,
      },
    }),
    async (c) => {
      const asked = c.req.valid('json') as schemas.StartConversationBody;
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const content = c.get('file')?.content;
      return (await once(c, dependencies, withFileHash(c, asked), async (conversationId) => ({
        status: 201,
        body: await conversations.startConversation(dependencies, { conversationId, tenantId, body: asked, content }),
      }))) as never;
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/conversations/{id}/close',
      security,
      request: { params, headers: idempotencyHeader, body: body(schemas.closeBody) },
      responses: { 202: json(z.any(), 'The conversation was asked to end'), ...failures },
    }),
    async (c) => {
      const asked = c.req.valid('json') as z.output<typeof schemas.closeBody>;
      const run = await found(c as ApiContext, dependencies, asked.tenantId);
      return (await once(c as ApiContext, dependencies, asked, async () => {
        await conversations.closeConversation(dependencies, run);
        return { status: 202, body: { conversationId: run.runId, status: 'closing' } };
      })) as never;
    },
  );
}

function messages(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/conversations/{id}/messages',
      security,
      request: { params, headers: idempotencyHeader, body: body(schemas.messageBody) },
      responses: {
        202: json(z.any(), 'The message is stored, and is answered in its turn'),
        200: eventStream('With `Accept: text/event-stream`: the turn as it happens, to its end'),
        429: json(z.any(), 'Denied: the quota that bound, and when to try again'),
        ...failures,
      },
    }),
    async (c) => {
      const asked = c.req.valid('json') as schemas.MessageBody;
      const context = c as ApiContext;
      const tenantId = await tenantFor(context, dependencies, asked.tenantId);
      const conversationId = c.req.valid('param').id;
      const repeatOf = {
        tenantId: c.get('caller').tenantId,
        idempotencyKey: c.req.header('idempotency-key'),
      };
      const what = 'The message was not stored.';
      const named = isUuid(conversationId) ? { conversationId } : {};
      await gate(dependencies, { tenantId, resource: 'llm', what, repeatOf, ...named });
      const isStreamed = c.req.header('accept')?.includes('text/event-stream') === true;
      // Refused before the message is stored, when there is no place for its stream.
      const place = isStreamed ? dependencies.longAnswers.place(context, 'events') : undefined;
      try {
        const response = await inSpan(spanNames.chat, { conversationId }, () =>
          once(context, dependencies, asked, async (turnId) => ({
            status: 202,
            body: await conversations.sendMessage(dependencies, {
              tenantId,
              conversationId,
              turnId,
              message: asked.message,
            }),
          })),
        );
        if (!place) return response;
        const { turnId, lastEventId } = (await response.json()) as conversations.SentMessage;
        const run = await conversations.findConversation(dependencies, { tenantId, conversationId });
        const gone = clientGone(context);
        const interrupt = (): void =>
          void conversations.interrupt(dependencies, run, { turnId }).catch(() => undefined);
        if (asked.interruptOnDisconnect && gone.aborted) interrupt();
        else if (asked.interruptOnDisconnect) gone.addEventListener('abort', interrupt);
        const order = { afterSequence: lastEventId, turnId };
        return await streamRunEvents(context, dependencies, {
          run,
          order,
          headers: { 'x-turn-id': turnId },
          place,
          gone,
        });
      } catch (error) {
        place?.release();
        throw error;
      }
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/conversations/{id}/interrupt',
      security,
      request: { params, headers: idempotencyHeader, body: body(schemas.interruptBody) },
      responses: { 202: json(z.any(), 'The turn was asked to stop'), ...failures },
    }),
    async (c) => {
      const asked = c.req.valid('json') as z.output<typeof schemas.interruptBody>;
      const run = await found(c as ApiContext, dependencies, asked.tenantId);
      return (await once(c as ApiContext, dependencies, asked, async () => ({
        status: 202,
        body: await conversations.interrupt(dependencies, run, { turnId: asked.turnId }),
      }))) as never;
    },
  );
}

/** As many turns as one answer has. */
const turnsMax = 1_000;

function reading(app: App, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/conversations',
      security,
      request: {
        query: ofTenant.extend({
          userId: plainText(128).optional(),
          before: schemas.moment.optional(),
          limit: z.coerce.number().int().min(1).max(500).default(50),
        }),
      },
      responses: {
        200: json(z.object({ conversations: z.array(schemas.conversationView) }), 'The newest first'),
        ...failures,
      },
    }),
    async (c) => {
      const { tenantId: named, before, ...query } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const asked = { tenantId, ...query, before: before === undefined ? undefined : new Date(before) };
      return c.json({ conversations: await conversations.showConversations(dependencies, asked) }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/conversations/{id}',
      security,
      request: { params, query: ofTenant },
      responses: { 200: json(schemas.conversationView, 'The conversation'), ...failures },
    }),
    async (c) => {
      const run = await found(c as ApiContext, dependencies, c.req.valid('query').tenantId);
      return c.json(await conversations.showConversation(dependencies, run), 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/conversations/{id}/messages',
      security,
      request: {
        params,
        query: ofTenant.extend({
          after: z.coerce.number().int().min(0).max(2_147_483_647).default(0),
          limit: z.coerce.number().int().min(1).max(500).default(200),
          turnsAfter: z.coerce.number().int().min(0).max(2_147_483_647).default(0).openapi({
            description: 'Turns after this number: a page has as many as fit.',
          }),
        }),
      },
      responses: {
        200: json(z.any(), 'What was said, in order, as content blocks; and the turns'),
        ...failures,
      },
    }),
    async (c) => {
      const { tenantId, after, limit, turnsAfter } = c.req.valid('query');
      const run = await found(c as ApiContext, dependencies, tenantId);
      const [{ messages: said, hasMore }, turns] = await Promise.all([
        readTranscriptPage(pool, { ...run, afterSequence: after, limit }),
        listTurns(pool, run, { afterNumber: turnsAfter, limit: turnsMax }),
      ]);
      return c.json(
        {
          messages: said,
          next: hasMore ? (said.at(-1)?.sequence ?? null) : null,
          turns: turns.map(conversations.turnViewOf),
        },
        200,
      );
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/conversations/{id}/events',
      security,
      request: {
        params,
        query: ofTenant.extend({
          turnId: turnIdSchema.optional().openapi({ description: 'Only this turn, to its end.' }),
        }),
        headers: z.object({ 'last-event-id': z.string().optional() }),
      },
      responses: { 200: eventStream('Server-sent events, numbered per conversation'), ...failures },
    }),
    async (c) => {
      const { tenantId, turnId } = c.req.valid('query');
      const run = await found(c as ApiContext, dependencies, tenantId);
      const last = c.req.header('last-event-id') ?? '0';
      if (!/^\d{1,9}$/.test(last))
        throw new ApiError('invalid_request', 'Last-Event-ID: must be the number of an event of this conversation.');
      const afterSequence = Number(last);
      const order = { afterSequence, ...(turnId === undefined ? {} : { turnId }) };
      return streamRunEvents(c as ApiContext, dependencies, { run, order });
    },
  );
}

const approvalViewOf = ({ toolUseId: _, ...approval }: Approval): schemas.ApprovalView => ({
  ...approval,
  createdAt: approval.createdAt.toISOString(),
  decidedAt: approval.decidedAt?.toISOString() ?? null,
});

function approvals(app: App, dependencies: ApiDependencies): void {
  const { pool, temporal } = dependencies;
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/approvals',
      security,
      request: { query: ofTenant.extend({ runId: runIdSchema.optional() }) },
      responses: {
        200: json(
          z.object({ approvals: z.array(schemas.approvalView) }),
          'What people are asked and have not answered; with `runId` all of that run or conversation',
        ),
        ...failures,
      },
    }),
    async (c) => {
      const { tenantId: named, runId } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      return c.json({ approvals: (await listApprovals(pool, { tenantId, runId })).map(approvalViewOf) }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/approvals/{id}',
      security,
      request: {
        params: z.object({ id: approvalIdSchema }),
        headers: idempotencyHeader,
        body: body(schemas.approvalBody),
      },
      responses: { 200: json(schemas.approvalView, 'The decision is recorded'), ...failures },
    }),
    async (c) => {
      const asked = c.req.valid('json') as schemas.ApprovalBody;
      const tenantId = await tenantFor(c as ApiContext, dependencies, asked.tenantId);
      const approvalId = c.req.valid('param').id;
      return (await once(c as ApiContext, dependencies, asked, async () => {
        const { decision, answer, author = `API key ${c.get('caller').apiKeyId}` } = asked;
        const decided = await decideApproval(pool, { tenantId, approvalId }, { decision, answer, decidedBy: author });
        if (!decided) throw new ApiError('not_found', `There is no approval ${approvalId}.`);
        refuseOther(decided, asked);
        // What is recorded stands; a workflow that does not hear of it now looks by itself later.
        await temporal.workflow
          .getHandle(decided.workflowId)
          .signal(decideApprovalSignal, { approvalId })
          .catch((error: unknown) => dependencies.log.warn({ approvalId, error }, 'a decision could not be signalled'));
        const { workflowId: _, ...approval } = decided;
        return { status: 200, body: approvalViewOf(approval) };
      })) as never;
    },
  );
}

/** @throws ApiError when somebody decided otherwise before, or when it cannot be decided so. */
function refuseOther(approval: Approval, { decision, answer }: schemas.ApprovalBody): void {
  const wanted = { approve: 'approved', refuse: 'refused', answer: 'answered' }[decision];
  if (approval.status === wanted && (answer === undefined || approval.answer === answer)) return;
  if (approval.status === 'pending')
    throw new ApiError(
      'invalid_request',
      `decision: ${approval.kind === 'question' ? 'a question is answered or refused' : 'an approval is approved or refused'}. Nothing was decided.`,
    );
  throw new ApiError(
    'approval_decided',
    approval.status === 'withdrawn'
      ? 'Nobody waits for this decision any more: the turn was stopped, or the run ended.'
      : `It was ${approval.status} before by ${approval.decidedBy ?? 'somebody'}. That stands.`,
  );
}
