/** Whose request without a known key is looked at next. */
import { EventEmitter } from 'node:events';
import { KeylessTurns } from '../../../api/http/keyless-turns';

/** A server that notes what it began, and what was cut, each as the address that it came from. */
function scene() {
  const [begun, cut]: [string[], string[]] = [[], []];
  const server = new EventEmitter();
  server.on('request', ({ socket }: { socket: { remoteAddress: string } }) => begun.push(socket.remoteAddress));
  new KeylessTurns(({ url }) => url === '/known').watch(server as never);
  const send = (count: number, remoteAddress: string, { url = '/', isGone = false } = {}): void => {
    for (let at = 0; at < count; at += 1) {
      const socket = { remoteAddress, destroyed: isGone, destroy: () => cut.push(remoteAddress) };
      server.emit('request', { url, socket }, {});
    }
  };
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const turns = async (count: number) => {
    for (let at = 0; at < count; at += 1) await turn();
  };
  return { begun, cut, send, turns };
}

test('who has a key does not wait for those who have none', () => {
  const { begun, send } = scene();
  send(1_000, 'flood');
  send(1, 'calm', { url: '/known' });
  expect(begun).toEqual(['calm']);
});

test('addresses take turns, some requests at a time, and nobody is forgotten', async () => {
  const { begun, send, turns } = scene();
  send(100, 'flood');
  send(2, 'calm');
  await turns(1);
  expect(begun.length).toBeLessThanOrEqual(10);
  expect(begun.filter((address) => address === 'calm')).toHaveLength(2);
  await turns(20);
  expect(begun).toHaveLength(102);
});

test('addresses of one IPv6 network have the turns of one', async () => {
  const { begun, send, turns } = scene();
  for (let at = 1; at <= 100; at += 1) send(1, `2001:db8:1:2::${at.toString(16)}`);
  send(4, '2001:db8:1:3::1');
  await turns(1);
  expect(begun.filter((address) => address.startsWith('2001:db8:1:3:'))).toHaveLength(4);
});

test('what clients asked for who have gone is not begun', async () => {
  const { begun, send, turns } = scene();
  send(900, 'flood', { isGone: true });
  send(1, 'flood');
  await turns(5);
  expect(begun).toEqual(['flood']);
});

test('very many that wait end at the cost of whoever has most of them', async () => {
  const { begun, cut, send, turns } = scene();
  send(10, 'calm');
  send(21_000, 'flood');
  expect(cut.length).toBeGreaterThan(900);
  expect(new Set(cut)).toEqual(new Set(['flood']));
  await turns(4);
  expect(begun.filter((address) => address === 'calm')).toHaveLength(10);
});
