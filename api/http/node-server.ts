/** Servers of Node: how long their clients may take, and how they end: what is under way has a while, and nothing else is begun. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ServerType } from '@hono/node-server';
import type { Pool } from '../../store/pool';
import { requestMaxMs } from './body-room';

/** How long a client may take over its headers and its whole request: a slow one does not keep its connection for good. */
export const serverOptions = {
  headersTimeout: 10_000,
  requestTimeout: requestMaxMs,
  connectionsCheckingInterval: 1_000,
};

/** HTTP/1.1, which keeps connections. */
export type HttpServer = Extract<ServerType, { closeIdleConnections: unknown }>;

/** How long requests that are under way may take once the process is to end. */
export const closeMaxMs = 10_000;

/**
 * Takes no more connections, and ends those that are idle, or become so: a client that keeps its connection, and comes back on
 * it at once, would keep the server.
 */
export async function closeServer(
  server: Pick<Server, 'close' | 'closeIdleConnections' | 'closeAllConnections'>,
  maxMs: number,
): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const giveUp = setTimeout(() => server.closeAllConnections(), maxMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(giveUp);
}

/** How long connections may take to end. */
const endMaxMs = 5_000;

export async function endPool(pool: Pool): Promise<void> {
  const late = new Promise((resolve) => setTimeout(resolve, endMaxMs).unref());
  await Promise.race([pool.end(), late]);
}

/** Where a server listens. */
export const urlOf = ({ family, address, port }: AddressInfo): string =>
  `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;

/** Why it does not, in words for who started it. */
export const listenFailure = (
  error: NodeJS.ErrnoException,
  { host, port, variable, what }: { host: string; port: number; variable: string; what: string },
): Error =>
  error.code === 'EADDRINUSE'
    ? new Error(`Port ${port} of ${host} is taken. Choose another with ${variable}. The ${what} was not started.`)
    : error;
