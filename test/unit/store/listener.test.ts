/** A listener ends when it is told to, whatever its connection is doing at that moment. */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { listenTo } from '../../../store/listener';
import { createPool } from '../../../store/pool';

describe('a listener', () => {
  const sockets = new Set<Socket>();
  let taken: () => void;
  const isTaken = new Promise<void>((resolve) => (taken = resolve));
  /** A Postgres that takes connections and says nothing. */
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    taken();
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  test('that is told to stop while Postgres does not answer its connection stops', async () => {
    await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1' }, resolve));
    const { port } = server.address() as AddressInfo;
    const pool = createPool(`postgres://nobody@127.0.0.1:${port}/none`);
    const listener = listenTo(pool, { channel: 'any', onPayload: () => undefined });
    await isTaken;
    await listener.stop();
    expect(listener.isListening()).toBe(false);
    await pool.end();
  }, 10_000);
});
