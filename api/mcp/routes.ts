/** `/v1/mcp`: the MCP server over HTTP. A tool is a request of this API, with the key that the caller came with. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { createMcpHandler } from '@modelcontextprotocol/server';
import { mcpServer, type ApiAnswer } from '../../mcp/server';
import type { ApiRequest } from '../../mcp/tools';
import { everybody } from '../http/access';
import type { ApiDependencies } from '../http/context';
import { ApiError, errorBody } from '../http/errors';
import { body, json, route } from '../http/openapi';
import { keyRate, mcpPath } from '../http/rate-limit';
import type { ApiContext, ApiEnv } from '../http/request';
import { errorView } from '../http/schemas';

const message = z.looseObject({ jsonrpc: z.literal('2.0') });
/** A message of the protocol, or several, as versions before 2025-06 of it allow. */
const messages = z.union([message, z.array(message).max(20)]);

/** The protocol has errors of its own, by which its clients find out what they may ask; the API's are of what comes before it. */
const refusal = json(z.union([errorView, message]), 'No message of the protocol, or one that it refuses');

type App = OpenAPIHono<ApiEnv>;

export function mcpRoutes(app: App, { rateLimitPerSecond }: Pick<ApiDependencies, 'rateLimitPerSecond'>): void {
  const admit = rateLimitPerSecond === undefined ? undefined : keyRate(rateLimitPerSecond);
  // As the protocol wants it of who opens no stream by itself: clients ask for one, and go on without.
  app.use(mcpPath, async (c, next) => {
    if (c.req.method === 'POST') return next();
    const error = new ApiError(
      'not_found',
      `There is nothing to ${c.req.method} at ${mcpPath}: each message is a POST.`,
    );
    return c.json(errorBody(error, c.get('requestId')), 405, { allow: 'POST' });
  });
  app.openapi(
    route(
      { operationId: 'callMcp', summary: 'Speak the Model Context Protocol', tag: 'Agents', access: everybody },
      {
        method: 'post',
        path: mcpPath,
        request: {
          body: body(messages, { jsonrpc: '2.0', id: 1, method: 'tools/list' }),
        },
        responses: { 200: json(messages, 'The answer to a request of the protocol'), 400: refusal, 406: refusal },
      },
    ),
    // What it answers is the protocol's.
    (c) => serve(app, c, admit) as never,
  );
}

/** One request by a server of its own: nothing is kept between two. */
async function serve(app: App, c: ApiContext, admit?: ReturnType<typeof keyRate>): Promise<Response> {
  const parsedBody = await c.req.json<object>();
  // What a tool asks of the API is counted there.
  if ([parsedBody].flat().some((one) => !('method' in one && one.method === 'tools/call')))
    await admit?.(c.get('caller').apiKeyId);
  const handler = createMcpHandler(() => mcpServer((request) => ask(app, c, request)), {
    maxSubscriptions: 0,
  });
  return handler.fetch(c.req.raw, { parsedBody });
}

/** Asks this API as the caller would, over the same connection: who goes away while a reservation waits takes it back. */
async function ask(app: App, c: ApiContext, { method, path, body: asked }: ApiRequest): Promise<ApiAnswer> {
  const text = asked && JSON.stringify(asked);
  const headers = {
    authorization: c.req.header('authorization') ?? '',
    ...(text && { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
  };
  const request = new Request(new URL(path, c.req.url), { method, headers, body: text ?? null });
  const response = await app.fetch(request, c.env);
  return { isError: !response.ok, body: (await response.json()) as Record<string, unknown> };
}
