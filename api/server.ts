/** Serves the API on a port. */
import { serve, type ServerType } from '@hono/node-server';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AuthorityClient } from '../authority/client/authority-client';
import { taskQueues } from '../contracts/messages';
import { createApp } from './app';
import { databaseLimits } from '../store/connections';
import { shareFairly } from '../store/fair-share';
import { createPool, type Pool } from '../store/pool';
import { Policies, Prices, Tenants } from './http/lookups';
import { Callers } from './http/callers';
import type { Authority, ProcessDependencies } from './http/context';
import { requestMaxMs } from './http/body-room';
import { KeylessTurns } from './http/keyless-turns';
import { LiveViews } from './http/live-views';
import { LongAnswers, longLimits } from './http/long-answers';
import { bearerIn } from './http/request';
import { UntakenAnswers } from './http/sockets';
import { RunWatchers } from './runs/run-watchers';

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
const serverOptions = { headersTimeout: 10_000, requestTimeout: requestMaxMs, connectionsCheckingInterval: 1_000 };

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

/** How long connections may take to end. */
const endMaxMs = 5_000;

async function endPool(pool: Pool): Promise<void> {
  const late = new Promise((resolve) => setTimeout(resolve, endMaxMs).unref());
  await Promise.race([pool.end(), late]);
}

/** Connections beside those that requests are answered with, made when they are needed. */
const poolBeside = (pool: Pool, name: string, max: number, statementMs: number = databaseLimits.patientMs): Pool =>
  createPool(pool.options.connectionString ?? '', {
    application_name: `spendlock-${name}`,
    max,
    limits: { statementMs },
    idleTimeoutMillis: 10_000,
  });

/** @throws Error when the port cannot be had. */
export async function startApi({ host, port, authority: given, ...dependencies }: ServeOptions): Promise<RunningApi> {
  const closing = new AbortController();
  const { pool, temporal, log, taskQueuePrefix } = dependencies;
  const authority =
    given ??
    new AuthorityClient({
      ...{ pool, temporal, taskQueue: taskQueues(taskQueuePrefix).budget, log },
      ...{ enforced: dependencies.enforced, mandates: dependencies.mandates },
    });
  shareFairly(pool, { left: 2 });
  const streamPool = poolBeside(pool, 'streams', 3);
  const exportPool = poolBeside(pool, 'exports', longLimits.export.all, databaseLimits.longStatementMs);
  const watchers = new RunWatchers(streamPool);
  const callers = new Callers(pool);
  const untaken = new UntakenAnswers(dependencies.socketLimits);
  const app = createApp({
    ...dependencies,
    authority,
    callers,
    tenants: new Tenants(pool),
    policies: new Policies(pool),
    recentPrices: new Prices(dependencies.prices),
    watchers,
    views: new LiveViews(),
    longAnswers: new LongAnswers(callers, closing.signal, dependencies.longLimits),
    untaken,
    streamPool,
    exportPool,
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
          await Promise.all([authority.close(), watchers.close(), callers.close()]);
          await Promise.all([endPool(streamPool), endPool(exportPool)]);
        },
      });
    });
    // Where owners take turns.
    const isKnown = ({ url, headers }: IncomingMessage): boolean =>
      url?.startsWith('/v1/') === true && callers.wasKnown(bearerIn(headers.authorization) ?? '');
    new KeylessTurns(isKnown).watch(server as HttpServer);
    untaken.watch(server);
    server.once('error', (error: NodeJS.ErrnoException) => {
      void Promise.all([authority.close(), callers.close()]);
      reject(
        error.code === 'EADDRINUSE'
          ? new Error(`Port ${port} of ${host} is taken. Choose another with API_PORT. The API was not started.`)
          : error,
      );
    });
  });
}
