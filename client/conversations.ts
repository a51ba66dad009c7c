/** Conversations, and what people are asked in them. */
import type { z } from '@hono/zod-openapi';
import type {
  approvalView,
  ConversationView,
  messageBody,
  startConversationBody,
  TurnView,
} from '../api/conversations/schemas';
import type { MessageView } from '../api/runs/transcripts';
import { errorFrom } from './errors';
import type { StreamEvent } from './events';
import type { Http, RequestOptions } from './http';
import { newUuid } from './ids';
import { fileAt, withFile, type AttachedFile } from './runs';

export type Approval = z.infer<typeof approvalView>;
export type StartConversation = Omit<z.input<typeof startConversationBody>, 'file'> & { file?: AttachedFile } & Pick<
    RequestOptions,
    'idempotencyKey'
  >;

/** A message that is stored, and its place in the conversation. */
export interface SentMessage {
  turnId: string;
  status: TurnView['status'];
  number: number;
  /** The last event before it: where its own begin. */
  lastEventId: number;
}

/** What a person says, with when and for whom. */
export type SendMessage = z.input<typeof messageBody> & Pick<RequestOptions, 'idempotencyKey' | 'signal'>;

export type ListConversations = {
  tenantId?: string;
  userId?: string;
  status?: ConversationView['status'];
  before?: string;
  cursor?: string;
  limit?: number;
};

export interface Transcript {
  /** Content blocks, in order. */
  messages: MessageView[];
  turns: TurnView[];
  /** The `cursor` of the next page. */
  nextCursor: string | null;
}

export function conversationsOf(http: Http) {
  const path = (conversationId: string, verb = ''): string => `/v1/conversations/${conversationId}${verb}`;
  const post = <T>(to: string, body: object, { idempotencyKey, signal }: RequestOptions = {}): Promise<T> =>
    http.post<T>(to, body, { idempotencyKey, signal });

  return {
    /** Begins a conversation. */
    create: ({ idempotencyKey, ...asked }: StartConversation = {}) =>
      post<{ conversationId: string; workflowId: string; status: 'running' }>('/v1/conversations', withFile(asked), {
        idempotencyKey,
      }),
    get: (conversationId: string, { tenantId }: Pick<RequestOptions, 'tenantId'> = {}) =>
      http.get<ConversationView>(path(conversationId), { tenantId }),
    list: (query: ListConversations = {}) =>
      http.get<{ conversations: ConversationView[]; nextCursor: string | null }>('/v1/conversations', query),
    /** The file that came with it. */
    file: (conversationId: string, tenantId?: string) => fileAt(http, path(conversationId, '/file'), tenantId),
    /** Gives it a title to be listed by. */
    setTitle: (conversationId: string, body: { title: string; tenantId?: string }) =>
      post<ConversationView>(path(conversationId, '/title'), body),
    /** Stores a message and returns; its events tell what becomes of it. @throws QuotaExceededError among others. */
    send: (conversationId: string, { idempotencyKey, signal, ...message }: SendMessage) =>
      post<SentMessage>(path(conversationId, '/messages'), message, { idempotencyKey, signal }),
    /**
     * Sends a message and yields what happens in its turn: `delta` with a piece of the reply's text, `model.replied` with
     * its cost, `code.executed`, and `done`. A connection that breaks is taken up again.
     * @throws QuotaExceededError when money is refused, before the turn or in the middle of it.
     */
    async *stream(
      conversationId: string,
      { idempotencyKey = newUuid(), signal, ...message }: SendMessage,
    ): AsyncGenerator<StreamEvent> {
      const { tenantId } = message;
      const sent = await post<SentMessage>(path(conversationId, '/messages'), message, { idempotencyKey, signal });
      const stream = http.events(path(conversationId, '/events'), {
        query: { tenantId, turnId: sent.turnId },
        after: sent.lastEventId,
        signal,
      });
      for await (const event of stream) {
        if (event.type === 'error') throw errorFrom(429, event.data);
        yield event;
      }
    },
    messages: (conversationId: string, query: { tenantId?: string; cursor?: string; limit?: number } = {}) =>
      http.get<Transcript>(path(conversationId, '/messages'), query),
    /** All that happens in a conversation, until it ends. */
    events: (
      conversationId: string,
      { tenantId, after = 0, signal }: RequestOptions & { after?: number } = {},
    ): AsyncGenerator<StreamEvent> =>
      http.events(path(conversationId, '/events'), { query: { tenantId }, after, signal }),
    /** Stops the current turn, or the named one. */
    interrupt: (conversationId: string, body: { turnId?: string; tenantId?: string } = {}) =>
      post<{ interrupted: 'queued' | 'asked' }>(path(conversationId, '/interrupt'), body),
    /** Ends a conversation after what it does now was stopped. */
    close: (conversationId: string, body: { tenantId?: string } = {}) =>
      post<{ conversationId: string; status: 'closing' }>(path(conversationId, '/close'), body),
  };
}

/** Who decides. */
export interface DecidedBy {
  tenantId?: string;
  /** The person who decided. */
  author?: string;
}

export function approvalsOf(http: Http) {
  const decide = (approvalId: string, body: object): Promise<Approval> =>
    http.post<Approval>(`/v1/approvals/${approvalId}`, body);
  return {
    /** What people are asked and have not answered; with `runId` all of that run or conversation. */
    list: (query: { tenantId?: string; runId?: string; cursor?: string; limit?: number } = {}) =>
      http.get<{ approvals: Approval[]; nextCursor: string | null }>('/v1/approvals', query),
    approve: (approvalId: string, by: DecidedBy = {}) => decide(approvalId, { decision: 'approve', ...by }),
    refuse: (approvalId: string, { reason, ...by }: DecidedBy & { reason?: string } = {}) =>
      decide(approvalId, { decision: 'refuse', ...by, ...(reason === undefined ? {} : { answer: reason }) }),
    answer: (approvalId: string, answer: string, by: DecidedBy = {}) =>
      decide(approvalId, { decision: 'answer', answer, ...by }),
  };
}
