/** What stands between a client and a server, and can fall silent without a reset, or keep an answer back and cut its connection. */
import { connect, createServer, type Socket } from 'node:net';

export interface TcpRelay {
  address: string;
  /** From here on nothing passes any more. */
  fallSilent(): void;
  /** What says this is passed, but its answer is not: its connection is cut. So often. */
  loseAnswers(to: string, times: number): void;
  close(): Promise<void>;
}

/** What is asked is done within that time. */
const answeringMs = 100;

export async function startTcpRelay(to: string): Promise<TcpRelay> {
  const [host = '', port = ''] = to.split(':');
  const sockets = new Set<Socket>();
  let lost = { to: '', times: 0 };
  const server = createServer((client) => {
    const upstream = connect({ host, port: Number(port) });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy()).once('close', () => sockets.delete(socket));
    }
    client.on('data', (sent: Buffer) => {
      if (lost.times === 0 || !sent.includes(lost.to)) return;
      lost.times -= 1;
      upstream.unpipe(client).once('data', () => setTimeout(() => client.destroy(), answeringMs));
    });
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`,
    loseAnswers(to, times) {
      lost = { to, times };
    },
    fallSilent() {
      for (const socket of sockets) socket.unpipe().pause();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
