/**
 * What the stand-ins for providers of models share: counters, knobs and faults, and what they answer (see script.ts). Each
 * has a wire format of its own, the real one.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { isKnown, readBody, sendJson, serve, type StandInAccess, type StandInServer } from './http';
import { modelKnobs, type Fault, type ModelKnobs, type NamedError } from './knobs';
import { PromptCache, type CacheRule } from './prompt-cache';
import { replyTo, tokensIn, type Reply, type Wanted } from './reply';

/** What was asked of it. Counting tokens is free and counted apart. */
export interface ModelCalls {
  /** Calls that were accepted and began to answer: what a provider would bill. */
  billable: number;
  /** Answers that were written to their end, for a client that was there. */
  answered: number;
  /** Calls that were refused before any output. */
  refused: number;
  countTokens: number;
  /** Streams that the client ended before they were over. */
  aborted: number;
  inFlight: number;
}

export interface ModelStandIn<R = Record<string, unknown>> extends StandInServer {
  calls(): ModelCalls;
  knobs: ModelKnobs;
  /** The last call that was accepted. */
  lastRequest(): R;
  /** When it last began to answer with text, in milliseconds since 1970. */
  firstTextAtMs(): number;
  /** SHA-256 of every program that it has written, for a sandbox stand-in that runs no other. */
  emittedCode: Set<string>;
}

export interface ModelStandInOptions extends StandInAccess {
  port?: number;
  knobs?: Partial<ModelKnobs>;
  /** Where the programs that it writes are noted; several may share one. */
  emittedCode?: Set<string>;
}

/** A request as every provider means it. */
export interface Asked extends Wanted {
  /** Counting is free. */
  counts: boolean;
  model: string;
  stream: boolean;
  /** How many answers, where its provider makes several; one unless said. */
  choices?: number;
  /** All that is counted as the prompt. */
  prompt: unknown;
  /** How its provider caches it; absent where it does not. */
  cache?: CacheRule;
  /** How it is answered, where its provider has another API that answers otherwise. */
  answered?: AnswerFormat;
}

/** How to write a stream: paced, and broken off where a fault says so. */
export interface StreamWriter {
  /** One server-sent event, and the pause after it. */
  send: (event: { type?: string } & Record<string, unknown>) => Promise<void>;
  /** The same with data that are no JSON. */
  sendText: (data: string) => void;
  /** After the first output: whether the stream is broken off or hangs here. */
  isBroken: () => boolean;
  /** The error that the stream is to end with here. */
  errorAt: (after: 'nothing' | 'output') => NamedError | undefined;
  /** What the whole answer is to end as. */
  failsAs: () => NamedError | undefined;
  /** Whether a second message is to follow. */
  hasSecond: () => boolean;
  /** After the final usage: whether the stream is cut off here. */
  isCutAtEnd: () => Promise<boolean>;
}

/** How answers are written. */
export interface AnswerFormat {
  whole(response: ServerResponse, asked: Asked, reply: Reply, knobs: ModelKnobs): void;
  /** Whether its events have a name. */
  namesEvents: boolean;
  stream(writer: StreamWriter, asked: Asked, reply: Reply, knobs: ModelKnobs): Promise<void>;
}

/** One provider's API. */
export interface WireFormat extends AnswerFormat {
  name: string;
  /** The key that a request brings. */
  keyOf(request: IncomingMessage): string | undefined;
  /** What is asked; a status and a message for what is refused. */
  read(path: string, body: unknown): Asked | { status: number; message: string };
  refuse(response: ServerResponse, status: number, message: string, headers?: Record<string, string>): void;
  counted(response: ServerResponse, tokens: number): void;
}

export const pieces = (text: string): string[] => text.match(/[\s\S]{1,200}/g) ?? [];

export async function startModelStandIn<R>(
  format: WireFormat,
  options: ModelStandInOptions = {},
): Promise<ModelStandIn<R>> {
  const state = new ModelState(format, { ...modelKnobs(), ...options.knobs }, options);
  const server = await serve((request, response, url) => state.handle(request, response, url), {
    name: format.name,
    ...(options.port === undefined ? {} : { port: options.port }),
  });
  return {
    ...server,
    knobs: state.knobs,
    emittedCode: state.emittedCode,
    calls: () => ({ ...state.calls }),
    lastRequest: () => state.lastRequest as R,
    firstTextAtMs: () => state.firstTextAtMs,
  };
}

class ModelState {
  readonly calls: ModelCalls = { billable: 0, answered: 0, refused: 0, countTokens: 0, aborted: 0, inFlight: 0 };
  lastRequest: unknown = {};
  firstTextAtMs = 0;
  readonly emittedCode: Set<string>;
  private readonly cache = new PromptCache();

  constructor(
    private readonly format: WireFormat,
    readonly knobs: ModelKnobs,
    private readonly options: ModelStandInOptions,
  ) {
    this.emittedCode = options.emittedCode ?? new Set();
  }

  async handle(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { pathname } = url;
    const { format, options } = this;
    response.setHeader('request-id', `req_stand_in_${randomUUID()}`);
    if (!isKnown(format.keyOf(request), options))
      return format.refuse(response, 401, 'An API key is required, the one that this stand-in was started with');
    const text = (await readBody(request)).toString();
    if (options.isSteerable && pathname === '/__stand-in/calls') return sendJson(response, 200, this.calls);
    if (options.isSteerable && pathname === '/__stand-in/knobs' && request.method === 'PUT') {
      Object.assign(this.knobs, JSON.parse(text));
      return sendJson(response, 200, this.knobs);
    }
    if (request.method !== 'POST') return format.refuse(response, 404, 'Not found');
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      return format.refuse(response, 400, 'The body is not JSON');
    }
    const asked = format.read(pathname, body);
    if ('status' in asked) return format.refuse(response, asked.status, asked.message);
    if (this.knobs.refusesFiles && JSON.stringify(asked.prompt).includes('base64'))
      return format.refuse(response, 400, 'Could not process the file');
    const inputTokens = tokensIn(asked.prompt);
    if (asked.counts) {
      this.calls.countTokens += 1;
      const { failCountsWith } = this.knobs;
      if (failCountsWith !== undefined) return format.refuse(response, failCountsWith, 'It counts nothing now');
      return format.counted(response, inputTokens);
    }
    if (!(asked.maxTokens > 0)) return format.refuse(response, 400, 'The answer must be allowed at least one token');
    return this.answer(response, asked, { body, inputTokens });
  }

  private async answer(
    response: ServerResponse,
    asked: Asked,
    { body, inputTokens }: { body: unknown; inputTokens: number },
  ): Promise<void> {
    const { calls, format } = this;
    // As they are when it is called: what is turned meanwhile is for the next call.
    const knobs = { ...this.knobs };
    const fault = this.knobs.failNext.shift();
    calls.inFlight += 1;
    response.once('close', () => {
      calls.inFlight -= 1;
      if (!response.writableFinished && fault?.type === undefined) calls.aborted += 1;
      if (response.writableFinished && isWhole) calls.answered += 1;
    });
    let isWhole = false;
    await sleep(knobs.latencyMs);
    if (fault?.type === 'status' || fault?.type === 'refuse') calls.refused += 1;
    if (fault?.type === 'status') {
      const headers: Record<string, string> =
        fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) };
      return format.refuse(response, fault.status, 'The stand-in was told to refuse', headers);
    }
    if (fault?.type === 'refuse') response.destroy();
    if (response.destroyed) return;
    if (fault?.type === 'error-event' && fault.after !== 'output') calls.refused += 1;
    else calls.billable += 1;
    if (fault?.type !== 'error-event' || fault.after === 'output') knobs.onBilled?.(body);
    this.lastRequest = body;
    if (fault?.type === 'nonsense') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('event: message_start\ndata: {"type": "message_st\n\n\u0000\u0001 this is no answer\n\n');
      return;
    }
    const cachedBy = knobs.usage === undefined && fault?.type !== 'error-event' ? asked.cache : undefined;
    const cached = this.cache.take(cachedBy, inputTokens, Date.now() + knobs.clockAheadMs);
    const reply = { ...replyTo(asked, knobs, this.emittedCode), inputTokens, cached };
    isWhole = fault === undefined;
    if (!asked.stream) return (asked.answered ?? format).whole(response, asked, reply, knobs);
    await this.stream(response, asked, reply, { fault, knobs });
  }

  private async stream(
    response: ServerResponse,
    asked: Asked,
    reply: Reply,
    { fault, knobs }: { fault: Fault | undefined; knobs: ModelKnobs },
  ): Promise<void> {
    const format = asked.answered ?? this.format;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    let isOver = false;
    let began = reply.text === '';
    const sample = JSON.stringify(reply.text.slice(0, 20)).slice(1, -1);
    const noteFirstText = (): void => void (this.firstTextAtMs = Date.now());
    await format.stream(
      {
        async send(event) {
          if (response.destroyed) return;
          if (!began && JSON.stringify(event).includes(sample)) {
            began = true;
            noteFirstText();
          }
          const name = format.namesEvents ? `event: ${event.type}\n` : '';
          response.write(`${name}data: ${JSON.stringify(event)}\n\n`);
          if (knobs.deltaSpacingMs > 0)
            await sleep(knobs.deltaSpacingMs, undefined, { signal: gone.signal }).catch(() => undefined);
        },
        sendText: (data) => void (response.destroyed || response.write(`data: ${data}\n\n`)),
        isBroken() {
          if (fault?.type === 'cut-before-usage') response.destroy();
          isOver = fault?.type === 'cut-before-usage' || fault?.type === 'hang';
          return isOver;
        },
        errorAt: (after) => (fault?.type === 'error-event' && (fault.after ?? 'nothing') === after ? fault : undefined),
        failsAs: () => (fault?.type === 'failed' ? fault : undefined),
        hasSecond: () => fault?.type === 'second-message',
        async isCutAtEnd() {
          if (fault?.type !== 'cut-after-usage') return false;
          // What was written has to arrive before the connection breaks.
          await sleep(20);
          response.destroy();
          isOver = true;
          return true;
        },
      },
      asked,
      reply,
      knobs,
    );
    if (!isOver) response.end();
  }
}
