/** Tools of an MCP server (streamable HTTP), by the protocol's own client. Each call has a session of its own, and another where its server forgets that. */
import { setTimeout } from 'node:timers/promises';
import {
  Client,
  InsufficientScopeError,
  ProtocolError,
  ProtocolErrorCode,
  SdkHttpError,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client';
import type { RequestInit } from 'undici';
import { z } from 'zod';
import type { OwnTool, RegisteredTool } from '../core/agent/own-tools';
import { refused, type ToolAnswer } from './answers';
import type { Calling, ToolCallOptions } from './http-tool';
import { failureOfCall, ToolAnswerTooLargeError } from './outbound';

type Server = Pick<RegisteredTool, 'url' | 'timeoutSeconds' | 'resultBytesMax'>;

/** What a server sends beside a result (its own words, events) is taken up to this; a list of tools may be long. */
const besideBytesMax = 64 * 1024;
const listBytesMax = 4 * 1024 * 1024;
const pagesMax = 20;
const listedMax = 1_000;
/** How long a session may take to say goodbye, at most. */
const farewellMs = 1_000;
/** After the stream of a request has ended its answer has come, or comes no more. */
const answeredMs = 500;
/** It did not take the call. */
const refusals: number[] = [ProtocolErrorCode.InvalidParams, ProtocolErrorCode.MethodNotFound];
/** Nor did who answers 404: nothing is at the address, or the session that it was asked within is not known any more. */
const isNotFound = (error: unknown): boolean => error instanceof SdkHttpError && error.status === 404;

export interface ListedTool {
  name: string;
  description?: string | undefined;
  inputSchema?: unknown;
}

/** A page of what a server lists. A tool that is none leaves the others as they are: what it lacks is told of it alone. */
const listPage = z.object({ tools: z.array(z.unknown()), nextCursor: z.string().optional() });
const listedTool = z
  .object({
    name: z.string().catch('(without a name)'),
    description: z.string().optional().catch(undefined),
    inputSchema: z.unknown().optional(),
  })
  .catch({ name: '(no tool)', inputSchema: undefined });

/** What a server lists, up to so many, page by page: the client by itself would keep them, check them, and print names of some. */
export async function listMcpTools(server: Server, options: ToolCallOptions): Promise<ListedTool[]> {
  return withServer(server, { ...options, bytesMax: listBytesMax }, async (client, request) => {
    const tools: ListedTool[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < pagesMax; page += 1) {
      const params = cursor === undefined ? {} : { cursor };
      const answer = await client.request({ method: 'tools/list', params }, listPage, request);
      tools.push(...answer.tools.map((one) => listedTool.parse(one)));
      if (answer.nextCursor === undefined || answer.nextCursor === cursor || tools.length >= listedMax) break;
      cursor = answer.nextCursor;
    }
    return tools.slice(0, listedMax);
  });
}

export function callMcpTool(
  server: Server,
  { tool: { inputSchema, remoteName: name = '' }, input }: { tool: OwnTool; input: Record<string, unknown> },
  options: ToolCallOptions,
): Calling {
  // What fails before it is asked for the tool is surely no call of it.
  let isAsked = false;
  const bytesMax = server.resultBytesMax + besideBytesMax;
  const answer = withServer(server, { ...options, bytesMax }, async (client, request): Promise<ToolAnswer> => {
    isAsked = true;
    // With its definition the client neither lists the tools of a server that says it should, nor calls it a second time then.
    const toolDefinition = { name, inputSchema: inputSchema as { type: 'object' } };
    const {
      content,
      structuredContent,
      isError = false,
    } = await client.callTool({ name, arguments: input }, { ...request, toolDefinition }).catch((error: unknown) => {
      if (isNotFound(error)) isAsked = false;
      throw error;
    });
    const said = content.map(textOf).join('\n');
    const text = said === '' && structuredContent !== undefined ? JSON.stringify(structuredContent) : said;
    return { text: text === '' ? 'It said nothing.' : text, isError, due: 'yes' };
  });
  return { answer: answer.catch((error: unknown) => failureOf(error, isAsked)), isMade: () => isAsked };
}

function failureOf(error: unknown, isAsked: boolean): ToolAnswer {
  if (error instanceof ProtocolError) {
    const { code, message } = error;
    const due = isAsked && !refusals.includes(code) ? 'unknown' : 'no';
    return { text: `Its server refused it (${code}): ${message}`, isError: true, due };
  }
  // As of an address that is posted to: who then tells where to look has carried it out; who sends a request on as it is has not.
  if (error instanceof SdkHttpError && isAsked && [301, 302, 303].includes(error.status)) {
    const words = `Its server answered ${error.status}, which sends to another address`;
    return { text: `${words}: whether it was carried out is not known.`, isError: true, due: 'unknown' };
  }
  if (error instanceof SessionForgottenError) return refused(error.message);
  if (error instanceof SdkHttpError && error.status < 500) return refused(`Its server answered ${error.status}.`);
  if (error instanceof UnauthorizedError || error instanceof InsufficientScopeError)
    return refused('Its server does not take the credential.');
  return failureOfCall(error, isAsked);
}

interface Reach extends ToolCallOptions {
  bytesMax: number;
}

type Work<T> = (
  client: Client,
  request: { signal: AbortSignal; timeout: number; maxTotalTimeout: number },
) => Promise<T>;

/** A server does not know the session any more that it gave: what was asked within it was not taken. */
class SessionForgottenError extends Error {
  override readonly name = 'SessionForgottenError';
}

/** What is asked within a session that is forgotten is asked once more, within a new one, as the protocol wants it. */
async function withServer<T>(server: Server, reach: Reach, work: Work<T>): Promise<T> {
  const untilMs = performance.now() + server.timeoutSeconds * 1_000;
  try {
    return await inSession(server, { ...reach, untilMs }, work);
  } catch (error) {
    if (!(error instanceof SessionForgottenError)) throw error;
    return inSession(server, { ...reach, untilMs }, work);
  }
}

/** @param untilMs When its answer has to be there, by the clock of `performance`. */
async function inSession<T>(
  { url, timeoutSeconds }: Server,
  { outbound, credential, signal, bytesMax, untilMs }: Reach & { untilMs: number },
  work: Work<T>,
): Promise<T> {
  const timeout = timeoutSeconds * 1_000;
  const request = { signal, timeout, maxTotalTimeout: timeout };
  const answers = new Answers(bytesMax);
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    fetch: (asked, init) =>
      outbound
        .fetch(new URL(asked), {
          ...init,
          signal: init?.signal ? AbortSignal.any([signal, init.signal]) : signal,
        } as unknown as RequestInit)
        .then((response) => answers.bounded(response, init?.method)),
    requestInit: { headers: credential ? { [credential.header]: credential.value } : {} },
    reconnectionOptions: {
      ...{ maxRetries: 0, initialReconnectionDelay: 1_000, maxReconnectionDelay: 1_000 },
      reconnectionDelayGrowFactor: 1,
    },
  });
  const client = new Client(
    { name: 'spendlock', version: '1' },
    // What a tool says is for its model, whatever form was announced: a schema of a server is not one to compile here.
    { versionNegotiation: { mode: 'auto' }, jsonSchemaValidator: takesAll },
  );
  // What goes wrong beside a request is nobody's to hear: the request fails by itself, or its time runs out.
  client.onerror = () => undefined;
  let isForgotten = false;
  try {
    await Promise.race([client.connect(transport, request), answers.broken]);
    return await Promise.race([work(client, request), answers.broken]);
  } catch (error) {
    isForgotten = isNotFound(error) && transport.sessionId !== undefined;
    if (!isForgotten) throw error;
    throw new SessionForgottenError(
      'It answered 404 in two sessions that it had given, as where it knows them no more. It was not called.',
    );
  } finally {
    // What it answered is handed on in time, whatever becomes of the goodbye.
    const goodbyeMs = isForgotten ? 0 : Math.min(farewellMs, (untilMs - performance.now()) / 2);
    if (goodbyeMs > 0) await Promise.race([transport.terminateSession(), setTimeout(goodbyeMs)]).catch(() => undefined);
    await client.close().catch(() => undefined);
  }
}

const takesAll: NonNullable<NonNullable<ConstructorParameters<typeof Client>[1]>['jsonSchemaValidator']> = {
  getValidator: () => (data) => ({ valid: true, data: data as never, errorMessage: undefined }),
};

/** What a server answers with, of all requests together no more than so much. */
class Answers {
  private bytes = 0;
  private last: symbol | undefined;
  private fail: (error: Error) => void = () => undefined;
  /** Rejected when an answer is too large, or the stream of the last request has ended without one. */
  readonly broken = new Promise<never>((_, reject) => (this.fail = reject));

  constructor(private readonly bytesMax: number) {
    this.broken.catch(() => undefined);
  }

  bounded(response: Awaited<ReturnType<ToolCallOptions['outbound']['fetch']>>, method: string | undefined): Response {
    const { status, statusText, body } = response;
    const headers = new Headers([...response.headers]);
    const isStream = method === 'POST' && headers.get('content-type')?.startsWith('text/event-stream') === true;
    const own = Symbol('request');
    if (method === 'POST') this.last = own;
    if (!body || [204, 205, 304].includes(status)) return new Response(null, { status, statusText, headers });
    const ended = (): void => {
      if (isStream && this.last === own) this.fail(new Error('its stream ended without an answer'));
    };
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform: (part, controller) => {
        this.bytes += part.length;
        if (this.bytes <= this.bytesMax) return controller.enqueue(part);
        const error = new ToolAnswerTooLargeError(`It said more than ${this.bytesMax} bytes; nothing of it is kept.`);
        this.fail(error);
        return controller.error(error);
      },
      flush: () => void setTimeout(answeredMs).then(ended),
    });
    return new Response(body.pipeThrough(counted), { status, statusText, headers });
  }
}

type Content = Awaited<ReturnType<Client['callTool']>>['content'][number];

function textOf(part: Content): string {
  switch (part.type) {
    case 'text':
      return part.text;
    case 'resource':
      return 'text' in part.resource ? part.resource.text : `[${part.resource.uri}, which is no text]`;
    case 'resource_link':
      return `[${part.name}: ${part.uri}]`;
    default:
      return `[${part.type} of ${part.mimeType}, which is no text]`;
  }
}
