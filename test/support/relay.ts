/** What stands between a caller and the API, and lets some of its requests hang or break off. */
import { createServer, request as ask } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Relay {
  url: string;
  /** What becomes of requests whose path fits: nothing is answered, their connection is cut, before they are passed or after, or (undefined) all pass. */
  stop: { path: RegExp; how: 'hang' | 'cut' | 'unheard' } | undefined;
  /** How many were stopped. */
  stopped(): number;
  close(): Promise<void>;
}

export async function startRelay(to: string): Promise<Relay> {
  let stopped = 0;
  const server = createServer((request, response) => {
    const { stop } = relay;
    const how = stop?.path.test(request.url ?? '') ? stop.how : undefined;
    if (how) stopped += 1;
    if (how === 'cut') request.socket.destroy();
    if (how === 'cut' || how === 'hang') return;
    const { method, headers } = request;
    const passed = ask(new URL(request.url ?? '/', to), { method, headers }, (answer) => {
      if (how === 'unheard') {
        answer.resume();
        request.socket.destroy();
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    request.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const relay: Relay = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: undefined,
    stopped: () => stopped,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return relay;
}
