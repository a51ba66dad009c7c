/**
 * What workers and API take for Postgres: it passes everything on, until it is told to be slow, away, out of disk or silent.
 * While it is silent nothing gets through in either direction, new connections are taken and not answered, and no end of a
 * connection is told to the other side, as on a network that lost its way. What was open then stays silent for good; Postgres ends its
 * side after a while, as its keepalive does where nothing answers, or a few silences would take all of its connections.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export type ProxyMode = 'pass' | 'slow' | 'refuse' | 'disk-full' | 'silent';

export interface DatabaseProxy {
  port: number;
  set(mode: ProxyMode): void;
  /** Leads new connections to another server; those that are open end, unless they are not to. */
  leadTo(port: number, options?: { endOpen?: boolean }): void;
  /** The next connection that sends this text goes silent with it, as if its host were lost in the middle of a transaction. */
  silenceAt(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Postgres' own keepalive, which every connection asks for, has found out by then that nobody is there. */
const keptMs = 25_000;
/** How much later each packet arrives while it is slow. */
const slowMs = 400;

export async function startDatabaseProxy(firstPort: number): Promise<DatabaseProxy> {
  let mode: ProxyMode = 'pass';
  let targetPort = firstPort;
  const sockets = new Set<Socket>();
  const connections = new Set<{ goSilent: () => void }>();
  let awaited: { text: string; heard: () => void } | undefined;
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
    const connection = {
      silent: false,
      goSilent() {
        if (this.silent) return;
        this.silent = true;
        setTimeout(() => target.destroy(), keptMs).unref();
      },
    };
    if (mode === 'silent') connection.goSilent();
    connections.add(connection);
    client.on('close', () => connection.silent || target.destroy());
    target.on('close', () => {
      connections.delete(connection);
      if (!connection.silent) client.destroy();
    });
    target.on('data', (data) => connection.silent || client.write(data));
    client.on('data', (data) => {
      if (awaited && data.includes(awaited.text)) {
        connection.goSilent();
        awaited.heard();
        awaited = undefined;
      }
      if (connection.silent) return;
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
      if (mode === 'silent') for (const connection of connections) connection.goSilent();
    },
    leadTo(port, { endOpen = true } = {}) {
      targetPort = port;
      if (!endOpen) return;
      for (const socket of sockets) socket.destroy();
    },
    silenceAt: (text) => new Promise((heard) => (awaited = { text, heard })),
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
