/** `npx spendlock mcp`: the MCP server over standard input and output, for agents that start their servers themselves. */
import { Command } from 'commander';
import { connect } from '../client/http';
import type { ApiAnswer } from '../mcp/server';
import type { ApiRequest } from '../mcp/tools';
import { failureOf } from './failures';
import { example } from './options';
import { apiTarget } from './target';

/** How long an answer may take. */
const answerMs = 120_000;

export function mcpCommand(): Command {
  const command = new Command('mcp')
    .description('an MCP server on standard input and output: agents ask what is left, reserve and commit')
    .addHelpText(
      'after',
      `
It speaks for SPENDLOCK_API_KEY, whose role says what it may do: give an agent a key of the role agent. It ends with its input.
Over HTTP the API has the same at /v1/mcp, with the key as a bearer token.

In the configuration of an MCP client:
  { "mcpServers": { "spendlock": { "command": "npx", "args": ["spendlock", "mcp"],
      "env": { "SPENDLOCK_API_URL": "http://127.0.0.1:8088", "SPENDLOCK_API_KEY": "…" } } } }`,
    );
  return example(command, 'mcp').action(async () => {
    const { apiUrl, apiKey } = apiTarget(process.env);
    const http = connect({ baseUrl: apiUrl, apiKey }, answerMs);
    const send = ({ method, path, body = {} }: ApiRequest): Promise<Record<string, unknown>> =>
      method === 'GET' ? http.get(path) : http.postByOperation(path, body);
    const ask = async (request: ApiRequest): Promise<ApiAnswer> => {
      try {
        return { isError: false, body: await send(request) };
      } catch (error) {
        const { code, ...more } = failureOf(error);
        return { isError: true, body: { error: code, ...more } };
      }
    };
    const { serveOverStdio } = await import('../mcp/stdio.js');
    await serveOverStdio(ask);
  });
}
