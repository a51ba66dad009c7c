/** Serves the API on a port. */
import { serve, type ServerType } from '@hono/node-server';
import type { AddressInfo } from 'node:net';
import { AuthorityClient } from '../authority/authority-client';
import { taskQueues } from '../workflows/messages';
import { createApp } from './app';
import { Callers, Policies, Prices, Tenants } from './cached';
import type { Authority, ProcessDependencies } from './context';
import { Watchers } from './watchers';

export interface RunningApi {
  url: string;
  port: number;
  /** Takes no more requests, ends event streams, and waits for the rest. */
  close(): Promise<void>;
}

export interface ServeOptions extends Omit<ProcessDependencies, 'closing'> {
  host: string;
  port: number;
  /** Who decides; by default the tenants' authorities. */
  authority?: Authority;
}

/** How long a client may take over its headers and its whole request: a slow one does not keep its connection for good. */
const serverOptions = { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 1_000 };

/** HTTP/1.1, which keeps connections. */
type HttpServer = Extract<ServerType, { closeIdleConnections: unknown }>;

/** How long requests that are under way may take once the process is to end. */
const closeMaxMs = 10_000;

/**
 * Takes no more connections, and ends those that are idle, or become so: a client that keeps its connection, and comes back on
 * it at once, would keep the server.
 */
async function closeServer(server: HttpServer): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const giveUp = setTimeout(() => server.closeAllConnections(), closeMaxMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(giveUp);
}

/** @throws Error when the port cannot be had. */
export async function startApi({ host, port, authority: given, ...dependencies }: ServeOptions): Promise<RunningApi> {
  const closing = new AbortController();
  const { pool, temporal, log, taskQueuePrefix } = dependencies;
  const authority =
    given ?? new AuthorityClient({ pool, temporal, taskQueue: taskQueues(taskQueuePrefix).budget, log });
  const watchers = new Watchers(pool);
  const app = createApp({
    ...dependencies,
    authority,
    callers: new Callers(pool),
    tenants: new Tenants(pool),
    policies: new Policies(pool),
    recentPrices: new Prices(dependencies.prices),
    watchers,
    closing: closing.signal,
  });
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port, serverOptions }, (address: AddressInfo) => {
      resolve({
        url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
        port: address.port,
        close: async () => {
          closing.abort();
          await closeServer(server as HttpServer);
          await Promise.all([authority.close(), watchers.close()]);
        },
      });
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      void authority.close();
      reject(
        error.code === 'EADDRINUSE'
          ? new Error(`Port ${port} of ${host} is taken. Choose another with API_PORT. The API was not started.`)
          : error,
      );
    });
  });
}
