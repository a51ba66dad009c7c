/** What workers and API take for Postgres: it passes everything on, until it is told to be slow, away or out of disk. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export type ProxyMode = 'pass' | 'slow' | 'refuse' | 'disk-full';

export interface DatabaseProxy {
  port: number;
  set(mode: ProxyMode): void;
  close(): Promise<void>;
}

/** How much later each packet arrives while it is slow. */
const slowMs = 400;

export async function startDatabaseProxy(targetPort: number): Promise<DatabaseProxy> {
  let mode: ProxyMode = 'pass';
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
  };
  const server: Server = createServer((client) => {
    keep(client);
    if (mode === 'refuse') {
      client.destroy();
      return;
    }
    const target = connect({ port: targetPort, host: '127.0.0.1' });
    keep(target);
    client.on('close', () => target.destroy());
    target.on('close', () => client.destroy());
    target.on('data', (data) => client.write(data));
    client.on('data', (data) => {
      if (mode === 'disk-full') client.end(outOfDisk());
      else if (mode === 'slow') setTimeout(() => target.writable && target.write(data), slowMs);
      else target.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1' }, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    set(next) {
      mode = next;
      if (mode === 'refuse') for (const socket of sockets) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** ErrorResponse of the Postgres protocol: FATAL 53100, disk_full. */
function outOfDisk(): Buffer {
  const fields = Buffer.from('SFATAL\0C53100\0Mcould not extend file: No space left on device\0\0');
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
