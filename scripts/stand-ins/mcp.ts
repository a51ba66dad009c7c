/** Answers a request as an MCP server does (streamable HTTP, by the official SDK), with the tools that are there at that moment. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createMcpHandler, type McpServer } from '@modelcontextprotocol/server';

export async function answerMcp(
  request: IncomingMessage,
  response: ServerResponse,
  { url, body, server }: { url: string; body: string; server: () => McpServer },
): Promise<void> {
  const { method = 'GET', headers } = request;
  const handler = createMcpHandler(server, { maxSubscriptions: 0 });
  const asked = new Request(url, {
    method,
    headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, String(value)]],
    ),
    ...(method === 'POST' ? { body } : {}),
  });
  const answered = await handler.fetch(asked, method === 'POST' ? { parsedBody: JSON.parse(body) as object } : {});
  response.writeHead(answered.status, Object.fromEntries(answered.headers));
  response.end(Buffer.from(await answered.arrayBuffer()));
}
