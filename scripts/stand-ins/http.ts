/** What both stand-ins share: a small HTTP server on loopback that can be stopped whole. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface StandInServer {
  url: string;
  port: number;
  stop(): Promise<void>;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>;

/** Who may speak to a stand-in, and turn its knobs. */
export interface StandInAccess {
  /** The key of those who may; whoever brings any key when absent. */
  key?: string;
  /** Whether its knobs and counters are served too, as tests ask for. */
  isSteerable?: boolean;
}

/** Whether a request brings the key that is asked for. */
export function isKnown(given: string | undefined, { key }: StandInAccess): boolean {
  if (!given) return false;
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return key === undefined || timingSafeEqual(digest(given), digest(key));
}

/** The key of an `Authorization: Bearer` header. */
export const bearerOf = ({ headers }: IncomingMessage): string | undefined =>
  /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1];

/** Serves on 127.0.0.1; any free port when none is given. */
export async function serve(
  handler: Handler,
  { port = 0, name }: { port?: number; name: string },
): Promise<StandInServer> {
  const server = createServer((request, response) => {
    response.setHeader('x-spendlock-stand-in', name);
    const url = new URL(request.url ?? '/', 'http://stand-in');
    handler(request, response, url).catch((error: unknown) => {
      if (!response.headersSent) sendJson(response, 500, { error: `stand-in failed: ${String(error)}` });
      else response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const bodyBytesMax = 64 * 1024 * 1024;

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > bodyBytesMax) throw new Error('the body is too large');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}
