/** Serves the API on a port. */
import { serve } from '@hono/node-server';
import type { AddressInfo } from 'node:net';
import { createApp } from './app';
import type { ApiDependencies } from './context';

export interface RunningApi {
  url: string;
  port: number;
  /** Takes no more requests, ends event streams, and waits for the rest. */
  close(): Promise<void>;
}

export interface ServeOptions extends Omit<ApiDependencies, 'closing'> {
  host: string;
  port: number;
}

/** @throws Error when the port cannot be had. */
export async function startApi({ host, port, ...dependencies }: ServeOptions): Promise<RunningApi> {
  const closing = new AbortController();
  const app = createApp({ ...dependencies, closing: closing.signal });
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port }, (address: AddressInfo) => {
      resolve({
        url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
        port: address.port,
        close: () =>
          new Promise((closed) => {
            closing.abort();
            server.close(() => closed());
            if ('closeIdleConnections' in server) server.closeIdleConnections();
          }),
      });
    });
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new Error(`Port ${port} of ${host} is taken. Choose another with API_PORT. The API was not started.`)
          : error,
      ),
    );
  });
}
