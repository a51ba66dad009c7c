/** A conversation over HTTP, as a backend has one. */
import { randomUUID } from 'node:crypto';
import { conversationWorkflowId } from '../../contracts/messages';
import type { TenantRole } from '../../core/roles';
import type { TestApi } from './api';
import { until, type TestStack } from './stack';

export interface SseEvent {
  id?: number;
  event: string;
  data: Record<string, unknown>;
}

/** Reads whole server-sent events. */
export function parseEvents(text: string): SseEvent[] {
  return text.split('\n\n').flatMap((block) => {
    const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const event = field('event');
    const id = field('id');
    if (event === undefined) return [];
    const data = JSON.parse(field('data') ?? '{}') as Record<string, unknown>;
    return [{ event, data, ...(id === undefined ? {} : { id: Number(id) }) }];
  });
}

/** Of which four fill the context that {@link TestConversation.nearlyFull} has. */
export const longWords = 'words that fill the context of the model up to its limit '.repeat(40);

export class TestConversation {
  private constructor(
    private readonly api: TestApi,
    readonly tenantId: string,
    readonly key: string,
    readonly id: string,
  ) {}

  static async start(
    api: TestApi,
    tenantId: string,
    body: Record<string, unknown> = {},
    role?: TenantRole,
  ): Promise<TestConversation> {
    const key = await api.keyOf(tenantId, role);
    const { status, body: answer } = await api.call('POST', '/v1/conversations', { key, body });
    if (status !== 201) throw new Error(`POST /v1/conversations answered ${status}: ${JSON.stringify(answer)}`);
    return new TestConversation(api, tenantId, key, String(answer.conversationId));
  }

  get workflowId(): string {
    return conversationWorkflowId(this.id);
  }

  call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    return this.api.call(method, `/v1/conversations/${this.id}${path}`, { key: this.key, body, headers });
  }

  /** Stores a message; answers its turn. */
  async post(message: string): Promise<string> {
    const { status, body } = await this.call('POST', '/messages', { message }, { 'idempotency-key': randomUUID() });
    if (status !== 202) throw new Error(`the message was answered ${status}: ${JSON.stringify(body)}`);
    return String(body.turnId);
  }

  /** One whose next long message has what was said before summed up first. */
  static async nearlyFull(
    api: TestApi,
    { anthropic }: Pick<TestStack, 'anthropic'>,
    tenantId: string,
  ): Promise<TestConversation> {
    const talk = await TestConversation.start(api, tenantId, { compaction: { contextTokens: 4_000, atShare: 0.7 } });
    for (const answer of ['one', 'two', 'three']) {
      anthropic.knobs.replies = [{ text: answer }];
      await talk.say(`${answer}? ${longWords}`);
    }
    return talk;
  }

  /** Sends a message and reads its stream to the end. */
  async say(message: string, more: Record<string, unknown> = {}): Promise<SseEvent[]> {
    const response = await this.stream(message, more);
    return parseEvents(await response.text());
  }

  stream(message: string, more: Record<string, unknown> = {}, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.api.url}/v1/conversations/${this.id}/messages`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.key}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
        'idempotency-key': randomUUID(),
      },
      body: JSON.stringify({ message, ...more }),
      ...(signal ? { signal } : {}),
    });
  }

  async turns(): Promise<{ turnId: string; status: string; message: string; costUsd: string; failure: unknown }[]> {
    const { body } = await this.call('GET', '/messages');
    return body.turns as never;
  }

  async messages(): Promise<{ sequence: number; role: string; content: { type: string; text?: string }[] }[]> {
    const { body } = await this.call('GET', '/messages');
    return body.messages as never;
  }

  /** Waits until a turn has ended; answers how. */
  async ended(turnId: string, timeoutMs?: number): Promise<string> {
    const turn = await until(
      'the turn ended',
      async () =>
        (await this.turns()).find((one) => one.turnId === turnId && !['queued', 'running'].includes(one.status)),
      timeoutMs,
    );
    return turn.status;
  }

  async show(): Promise<Record<string, unknown>> {
    return (await this.call('GET', '')).body;
  }

  async close(): Promise<void> {
    await this.call('POST', '/close', {});
    await until('the conversation closed', async () => (await this.show()).endedAt !== null);
  }
}
