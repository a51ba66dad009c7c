/** Finds free ports of the loopback interface. */
import { createServer } from 'node:net';

/** The preferred port of the loopback interface when it is free, any free one otherwise. */
export async function freePort(preferred = 0): Promise<number> {
  const found = await listenOnce(preferred);
  return found ?? (preferred === 0 ? fail() : freePort(0));
}

const fail = (): never => {
  throw new Error('No free port was found on 127.0.0.1.');
};

function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      const found = typeof address === 'object' && address ? address.port : undefined;
      server.close(() => resolve(found));
    });
  });
}
