/** The MCP server: what answers a client of the Model Context Protocol, over stdio or HTTP. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { McpServer, type CallToolResult } from '@modelcontextprotocol/server';
import { tools, type ApiRequest } from './tools';

/** What the API answered: a body, which is an error's where `isError`. */
export interface ApiAnswer {
  isError: boolean;
  body: Record<string, unknown>;
}

/** Sends a request to the API with the key of who asks. It throws nothing: that nobody answered is an answer too. */
export type AskApi = (request: ApiRequest) => Promise<ApiAnswer>;

const { version } = JSON.parse(readFileSync(path.join(__dirname, '../package.json'), 'utf8')) as { version: string };

const instructions = `Spendlock keeps agents within their budgets. Before anything that costs money, ask with call_cost or money_left
whether it fits, reserve its highest cost with reserve_money, make the call only when that is granted, and say what it cost with
commit_cost. Where the call is not made, release_money. A denial says which limit binds and when to try again: do not make the call.`;

/** In words for a model: what happened and what to do next, and then all of it. */
const resultOf = ({ body: asked = {} }: ApiRequest, { isError, body: told }: ApiAnswer): CallToolResult => {
  // Of a reservation that nobody answered for: it may be there, and is given up by its id.
  const body = isError && 'operationId' in asked ? { operationId: asked.operationId, ...told } : told;
  const whole = JSON.stringify(body, null, 2);
  const words = [body.message, body.action].filter((part) => typeof part === 'string').join(' ');
  const text = isError ? `${String(body.error)}: ${words}\n${whole}` : whole;
  return { isError, content: [{ type: 'text', text }], structuredContent: body };
};

/** A server for one connection, or one request over HTTP. */
export function mcpServer(ask: AskApi): McpServer {
  const server = new McpServer({ name: 'spendlock', title: 'Spendlock', version }, { instructions });
  for (const { name, title, description, input, readOnly, request } of tools)
    server.registerTool(
      name,
      {
        title,
        description,
        inputSchema: input,
        annotations: { readOnlyHint: readOnly, destructiveHint: false, idempotentHint: readOnly, openWorldHint: false },
      },
      async (asked) => {
        const sent = request(asked);
        return resultOf(sent, await ask(sent));
      },
    );
  return server;
}
