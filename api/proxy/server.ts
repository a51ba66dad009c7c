/** Serves the wire proxy on a port of its own: nothing but what is passed on, and whether the process lives and is ready. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { AuthorityClient } from '../../authority/client/authority-client';
import { taskQueues } from '../../contracts/messages';
import { shareFairly } from '../../store/fair-share';
import { Callers } from '../http/callers';
import type { ProcessDependencies } from '../http/context';
import { ApiError, errorBody } from '../http/errors';
import { Policies, Prices, Tenants } from '../http/lookups';
import { closeServer, listenFailure, serverOptions, urlOf } from '../http/node-server';
import { readiness } from '../http/readiness';
import { UntakenAnswers } from '../http/sockets';
import { WireProxy, type ProxyOptions } from './proxy';

export interface RunningProxy {
  url: string;
  /** Takes no more requests, and waits for what is under way and for what it cost. */
  close(): Promise<void>;
}

type Needed = 'pool' | 'temporal' | 'log' | 'taskQueuePrefix' | 'prices' | 'enforced' | 'mandates';

export interface ServeProxyOptions extends Pick<ProcessDependencies, Needed>, ProxyOptions {
  host: string;
  port: number;
  /** How long calls that are under way may take once the process is to end. */
  drainMs: number;
}

/** @throws Error when the port cannot be had. */
export async function startProxy({ host, port, drainMs, ...options }: ServeProxyOptions): Promise<RunningProxy> {
  const { pool, temporal, log, taskQueuePrefix, enforced, mandates, prices } = options;
  const closing = new AbortController();
  const authority = new AuthorityClient({
    ...{ pool, temporal, log, enforced, mandates },
    taskQueue: taskQueues(taskQueuePrefix).budget,
  });
  shareFairly(pool, { left: 2 });
  const callers = new Callers(pool);
  const untaken = new UntakenAnswers();
  const proxy = new WireProxy({
    ...options,
    ...{ authority, callers, untaken, closing: closing.signal },
    tenants: new Tenants(pool),
    policies: new Policies(pool),
    prices: new Prices(prices),
  });
  const server = createServer(
    serverOptions,
    (request, response) => void answerOther(request.url ?? '', response, options),
  );
  proxy.watch(server);
  untaken.watch(server);
  const end = async (): Promise<void> => void (await Promise.all([authority.close(), callers.close()]));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      void end();
      reject(listenFailure(error, { host, port, variable: 'PROXY_PORT', what: 'proxy' }));
    });
    server.listen(port, host, resolve);
  });
  return {
    url: urlOf(server.address() as AddressInfo),
    async close() {
      closing.abort();
      await closeServer(server, drainMs);
      await proxy.settled();
      await end();
    },
  };
}

async function answerOther(
  url: string,
  response: ServerResponse,
  dependencies: Pick<ProcessDependencies, 'pool' | 'temporal'>,
): Promise<void> {
  const path = url.split('?', 1)[0];
  const send = (status: number, body: object): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  if (path === '/healthz') return send(200, { status: 'alive' });
  if (path !== '/readyz') {
    const error = new ApiError('not_found', 'This is the proxy alone: its paths begin with /proxy/.');
    return send(404, errorBody(error, randomUUID()));
  }
  const state = await readiness(dependencies);
  send(state.status === 'ready' ? 200 : 503, state);
}
