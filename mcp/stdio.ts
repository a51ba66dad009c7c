/** The MCP server over standard input and output. */
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import {
  isJSONRPCNotification,
  isJSONRPCRequest,
  type JSONRPCMessage,
  type RequestId,
} from '@modelcontextprotocol/server';
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { mcpServer, type AskApi } from './server';

/** How long what was asked before the input ended may still take. */
const lastAnswersMs = 30_000;

/**
 * Serves whoever started the process, until its input ends and what came by it is answered: money that was reserved without a
 * word would be held, and charged when its time runs out.
 */
export async function serveOverStdio(ask: AskApi): Promise<void> {
  const unanswered = new Set<RequestId>();
  let told: () => void = () => undefined;
  const forget = (id: RequestId): void => {
    unanswered.delete(id);
    if (unanswered.size === 0) told();
  };
  const input = new Transform({
    transform: (chunk, _, done) => done(null, chunk),
    // The transport gives up what it has not answered when its input ends, so it is told that last.
    flush: (done) => {
      const all = new Promise<void>((resolve) => (told = resolve));
      const answered = async (): Promise<void> => {
        // What was read last is on its way to the transport.
        await setImmediate();
        if (unanswered.size > 0) await Promise.race([all, sleep(lastAnswersMs, undefined, { ref: false })]);
      };
      void answered().then(() => done());
    },
  });
  const wire = new StdioServerTransport(input);
  const serving = serveStdio(() => mcpServer(ask), { transport: wire });
  const { onmessage } = wire;
  wire.onmessage = (message: JSONRPCMessage) => {
    // A subscription is answered when it ends, and nobody waits for that.
    if (isJSONRPCRequest(message) && message.method !== 'subscriptions/listen') unanswered.add(message.id);
    if (isJSONRPCNotification(message) && message.method === 'notifications/cancelled')
      forget(message.params?.requestId as RequestId);
    onmessage?.(message);
  };
  const send = wire.send.bind(wire);
  wire.send = async (message) => {
    await send(message);
    if (!('method' in message) && message.id !== undefined) forget(message.id);
  };
  await pipeline(process.stdin, input).catch(() => undefined);
  await serving.close();
}
