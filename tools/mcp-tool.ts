/** Tools of an MCP server (streamable HTTP), by the protocol's own client. Each call has a session of its own: none is there to be forgotten. */
import {
  Client,
  ProtocolError,
  ProtocolErrorCode,
  SdkHttpError,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import type { RegisteredTool } from '../core/agent/own-tools';
import { refused, type ToolAnswer } from './answers';
import type { ToolCallOptions } from './http-tool';
import { failureOfCall, ToolAnswerTooLargeError } from './outbound';

type Server = Pick<RegisteredTool, 'url' | 'timeoutSeconds' | 'resultBytesMax'>;

/** What a server sends beside a result (its own words, events) is taken up to this; a list of tools may be long. */
const besideBytesMax = 64 * 1024;
const listBytesMax = 4 * 1024 * 1024;
const pagesMax = 20;
/** It did not take the call. */
const refusals: number[] = [ProtocolErrorCode.InvalidParams, ProtocolErrorCode.MethodNotFound];

export interface ListedTool {
  name: string;
  description?: string | undefined;
  inputSchema: unknown;
}

/** @throws Error where it does not list them; `failureOfCall` says it in words. */
export async function listMcpTools(server: Server, options: ToolCallOptions): Promise<ListedTool[]> {
  return withServer(server, { ...options, bytesMax: listBytesMax }, async (client, request) => {
    const tools: ListedTool[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < pagesMax; page += 1) {
      const answer = await client.listTools(cursor === undefined ? {} : { cursor }, request);
      tools.push(...answer.tools);
      if (answer.nextCursor === undefined || answer.nextCursor === cursor) break;
      cursor = answer.nextCursor;
    }
    return tools;
  });
}

export async function callMcpTool(
  server: Server,
  { name, input }: { name: string; input: Record<string, unknown> },
  options: ToolCallOptions,
): Promise<ToolAnswer> {
  // What fails before it is asked for the tool is surely no call of it.
  let isAsked = false;
  try {
    return await withServer(
      server,
      { ...options, bytesMax: server.resultBytesMax + besideBytesMax },
      async (client, request) => {
        isAsked = true;
        const {
          content,
          structuredContent,
          isError = false,
        } = await client.callTool({ name, arguments: input }, request);
        const said = content.map(textOf).join('\n');
        const text = said === '' && structuredContent !== undefined ? JSON.stringify(structuredContent) : said;
        return { text: text === '' ? 'It said nothing.' : text, isError, due: 'yes' };
      },
    );
  } catch (error) {
    if (error instanceof ProtocolError) {
      const { code, message } = error;
      const isRefused = refusals.includes(code);
      return { text: `Its server refused it (${code}): ${message}`, isError: true, due: isRefused ? 'no' : 'unknown' };
    }
    if (error instanceof SdkHttpError && error.status < 500) return refused(`Its server answered ${error.status}.`);
    const { message, isMade } = failureOfCall(error);
    return { text: message, isError: true, due: isAsked && isMade ? 'unknown' : 'no' };
  }
}

interface Reach extends ToolCallOptions {
  bytesMax: number;
}

async function withServer<T>(
  { url, timeoutSeconds }: Server,
  { outbound, credential, signal, bytesMax }: Reach,
  work: (client: Client, request: { signal: AbortSignal; timeout: number; maxTotalTimeout: number }) => Promise<T>,
): Promise<T> {
  const timeout = timeoutSeconds * 1_000;
  const request = { signal, timeout, maxTotalTimeout: timeout };
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    fetch: (asked, init) =>
      outbound.fetch(new URL(asked), { ...init, signal } as never).then((response) => bounded(response, bytesMax)),
    requestInit: { headers: credential ? { [credential.header]: credential.value } : {} },
    reconnectionOptions: {
      maxRetries: 0,
      initialReconnectionDelay: 1_000,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 1,
    },
  });
  const client = new Client({ name: 'spendlock', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  // What goes wrong beside a request is nobody's to hear: the request fails by itself, or its time runs out.
  client.onerror = () => undefined;
  try {
    await client.connect(transport, request);
    return await work(client, request);
  } finally {
    await transport.terminateSession().catch(() => undefined);
    await client.close().catch(() => undefined);
  }
}

/** An answer of which no more than so much is read. */
function bounded(response: Awaited<ReturnType<ToolCallOptions['outbound']['fetch']>>, bytesMax: number): Response {
  const { status, statusText, body } = response;
  const headers = new Headers([...response.headers]);
  if (!body || [204, 205, 304].includes(status)) return new Response(null, { status, statusText, headers });
  let bytes = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(part, controller) {
      bytes += part.length;
      if (bytes <= bytesMax) controller.enqueue(part);
      else controller.error(new ToolAnswerTooLargeError(`It said more than ${bytesMax} bytes; nothing of it is kept.`));
    },
  });
  return new Response((body as unknown as ReadableStream<Uint8Array>).pipeThrough(counted), {
    status,
    statusText,
    headers,
  });
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
