/** The MCP server over standard input and output. */
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { mcpServer, type AskApi } from './server';

/** Serves whoever started the process, until its input ends. */
export async function serveOverStdio(ask: AskApi): Promise<void> {
  const ended = new Promise<void>((resolve) => process.stdin.once('close', resolve));
  const serving = serveStdio(() => mcpServer(ask));
  await ended;
  await serving.close();
}
