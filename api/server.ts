/** Serves the API on a port. */
import { serve } from '@hono/node-server';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AuthorityClient } from '../authority/client/authority-client';
import { taskQueues } from '../contracts/messages';
import { createApp } from './app';
import { databaseLimits } from '../store/connections';
import { shareFairly } from '../store/fair-share';
import { createPool, type Pool } from '../store/pool';
import { tellBy } from '../store/run-tells';
import { Policies, Prices, Tenants } from './http/lookups';
import { Callers } from './http/callers';

import type { Authority, ProcessDependencies } from './http/context';
import { KeylessTurns } from './http/keyless-turns';
import { LiveViews } from './http/live-views';
import { LongAnswers, longLimits } from './http/long-answers';
import { bearerIn } from './http/request';
import {
  closeMaxMs,
  closeServer,
  endPool,
  listenFailure,
  serverOptions,
  urlOf,
  type HttpServer,
} from './http/node-server';
import { UntakenAnswers } from './http/sockets';
import { isProxied, proxyKeyOf, WireProxy, type ProxyOptions } from './proxy/proxy';
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
  /** The proxy for other people's agents; without it there is none. */
  proxy?: ProxyOptions | undefined;
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
export async function startApi({
  host,
  port,
  authority: given,
  proxy: doors,
  ...dependencies
}: ServeOptions): Promise<RunningApi> {
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
  tellBy(pool, streamPool);
  const exportPool = poolBeside(pool, 'exports', longLimits.export.all, databaseLimits.longStatementMs);
  const watchers = new RunWatchers(streamPool, dependencies.runLooks);
  const callers = new Callers(pool);
  const untaken = new UntakenAnswers(dependencies.socketLimits);
  const shared = { pool, log, authority, callers, untaken, tenants: new Tenants(pool), policies: new Policies(pool) };
  const recentPrices = new Prices(dependencies.prices);
  const proxy = doors && new WireProxy({ ...shared, ...doors, prices: recentPrices, closing: closing.signal });
  const app = createApp({
    ...dependencies,
    ...shared,
    recentPrices,
    watchers,
    views: new LiveViews(),
    longAnswers: new LongAnswers(callers, closing.signal, dependencies.longLimits),
    streamPool,
    exportPool,
    closing: closing.signal,
  });
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port, serverOptions }, (address: AddressInfo) => {
      resolve({
        url: urlOf(address),
        port: address.port,
        close: async () => {
          closing.abort();
          await closeServer(server as HttpServer, closeMaxMs);
          await proxy?.settled();
          await Promise.all([authority.close(), watchers.close(), callers.close()]);
          await Promise.all([endPool(streamPool), endPool(exportPool)]);
        },
      });
    });
    proxy?.watch(server as HttpServer);
    // Where owners take turns; calls that are passed on wait for their money and their provider.
    const isKnown = ({ url, headers }: IncomingMessage): boolean =>
      isProxied({ url })
        ? callers.wasKnown(proxyKeyOf({ url, headers }) ?? '')
        : url?.startsWith('/v1/') === true && callers.wasKnown(bearerIn(headers.authorization) ?? '');
    new KeylessTurns(isKnown).watch(server as HttpServer);
    untaken.watch(server);
    server.once('error', (error: NodeJS.ErrnoException) => {
      void Promise.all([authority.close(), callers.close()]);
      reject(listenFailure(error, { host, port, variable: 'API_PORT', what: 'API' }));
    });
  });
}
