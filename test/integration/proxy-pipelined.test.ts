/** Requests that come before those ahead of them on their connection were answered: nothing is begun for one whose client may have gone. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { rawProxyScene } from '../support/proxy-scene';
import { until } from '../support/stack';

const asked = { model: 'gpt-5-mini', input: 'x', max_output_tokens: 1_000_000 };

describe('requests behind each other on one connection', () => {
  const scene = rawProxyScene('openai');
  const text = (body: object): string => {
    const bytes = JSON.stringify(body);
    const head = [
      'POST /proxy/openai/v1/responses HTTP/1.1',
      'host: proxy',
      `authorization: Bearer ${scene.key}`,
      'content-type: application/json',
      `content-length: ${bytes.length}`,
    ];
    return `${head.join('\r\n')}\r\n\r\n${bytes}`;
  };
  const sent = (...bodies: object[]) => {
    const { hostname, port } = new URL(scene.api.url);
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => undefined);
    let answered = '';
    socket.on('data', (data: Buffer) => (answered += data.toString()));
    socket.write(bodies.map(text).join(''));
    return { socket, answered: () => answered };
  };

  test('take no room and no money while they wait, and leave none behind when it breaks', async () => {
    // The first is never answered.
    scene.provider.answerWith(() => undefined);
    const tenantId = await scene.stack.tenant('10000');
    scene.key = await scene.api.keyOf(tenantId, 'agent');
    for (let round = 0; round < 3; round += 1) {
      const before = scene.provider.asked.length;
      const { socket } = sent({ ...asked, max_output_tokens: 10 }, asked, asked, asked, asked);
      await until('the first is asked', () => Promise.resolve(scene.provider.asked.length > before || undefined));
      await sleep(200);
      socket.destroy();
      await sleep(200);
      expect(scene.provider.asked.length).toBe(before + 1);
    }
    // Each would have taken 64 MiB of the 256 that an owner has.
    scene.provider.answerWith((response) => response.writeHead(500, { 'content-type': 'application/json' }).end('{}'));
    expect((await scene.send('/v1/responses', asked)).status).toBe(500);
  });

  test('are answered one after the other, in their order', async () => {
    let at = 0;
    scene.provider.answerWith((response) => {
      at += 1;
      const body = JSON.stringify({ error: { message: `number ${at}` } });
      setTimeout(() => response.writeHead(400, { 'content-type': 'application/json' }).end(body), at === 1 ? 300 : 0);
    });
    const small = { ...asked, max_output_tokens: 10 };
    const { socket, answered } = sent(small, small, small);
    await until('all are answered', () => Promise.resolve(answered().split('number').length === 4 || undefined));
    expect([...answered().matchAll(/number (\d)/g)].map(([, number]) => number)).toEqual(['1', '2', '3']);
    socket.destroy();
  });
});
