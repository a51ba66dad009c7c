/** What goes wrong at the wire proxy, in each format that it speaks: a clear error in the caller's own shape, nothing lost, nothing held. */
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { formats, type ProxyFormat } from '../support/proxy-formats';
import { sendBytes, settledBooks, settlementsOf, talk, type BytesAnswer } from '../support/proxy';
import { providerKey, rawProxyScene } from '../support/proxy-scene';
import { until } from '../support/stack';

const MiB = 1024 * 1024;
const html = '<html>Welcome</html>';
const json = { 'content-type': 'application/json' };
const sse = { 'content-type': 'text/event-stream' };
const answers =
  (status: number, headers: Record<string, string>, body: string) =>
  (response: ServerResponse): unknown =>
    response.writeHead(status, headers).end(body);

describe.each(formats)('$name', (format: ProxyFormat) => {
  const scene = rawProxyScene(format.provider);
  const urlOf = (path: string): string => `${scene.api.url}/proxy/${format.provider}${path}`;
  const send = (
    body: object | string = format.whole.body,
    { path = format.whole.path, key = scene.key, ...headers }: Record<string, string> = {},
  ): Promise<BytesAnswer> =>
    sendBytes(urlOf(path), {
      headers: { ...format.keyHeader(key), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  /** The request by hand, in another version of HTTP. */
  const raw = (path: string, body: string, version: '1.0' | '1.1'): string => {
    const [[name, value] = []] = Object.entries(format.keyHeader(scene.key));
    const length = `content-length: ${Buffer.byteLength(body)}`;
    return `POST /proxy/${format.provider}${path} HTTP/${version}\r\nhost: x\r\n${name}: ${value}\r\n${length}\r\n\r\n${body}`;
  };

  /** In its own shape, and nothing else in it. */
  const isRefused = (answer: Pick<BytesAnswer, 'status' | 'json' | 'body'>, status: number, code: string): void => {
    expect(answer.json()).toEqual(format.error(status, code));
    expect(answer.status).toBe(status);
    expect(answer.body.toString()).not.toMatch(/html>|slk_|of-the-provider/);
  };
  /** How all calls ended, and what they came to; nothing is held. */
  const hasSettled = async (settlements: string[], ledgerUsd?: string): Promise<void> => {
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(settlements);
    const books = { openReservations: 0, ...(ledgerUsd === undefined ? {} : { ledgerUsd }) };
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject(books);
  };
  const wasNotAsked = async (): Promise<void> => {
    expect(scene.provider.asked).toEqual([]);
    await hasSettled([], '0');
  };

  test('a key of another tenant than is named', async () => {
    const other = await scene.api.keyOf(await scene.stack.tenant('10'), 'agent');
    isRefused(await send(undefined, { key: other, 'x-spendlock-tenant': scene.tenantId }), 403, 'forbidden');
    await wasNotAsked();
  });

  test('a key of the provider in the place of ours', async () => {
    isRefused(await send(undefined, { key: providerKey }), 401, 'unauthorized');
    await wasNotAsked();
  });

  test.each(['of-tomorrow', 'latest'])('a model that has no price: %s', async (suffix) => {
    const { path, body } = format.ofModel(`${format.model}-${suffix}`);
    isRefused(await send(body, { path }), 422, 'unpriced_model');
    await wasNotAsked();
  });

  test('a body of 50 MB, said or not', async () => {
    const large = ' '.repeat(50 * MiB);
    isRefused(await send(large), 413, 'payload_too_large');
    isRefused(await send(large, { 'transfer-encoding': 'chunked' }), 413, 'payload_too_large');
    await wasNotAsked();
  });

  test.each(['text/html', 'application/json'])('HTML with a 200 in the place of an answer, as %s', async (type) => {
    scene.provider.answerWith(answers(200, { 'content-type': type }, html));
    isRefused(await send(), 502, 'outcome_unknown');
    if (format.stream) isRefused(await send(format.stream.body, { path: format.stream.path }), 502, 'outcome_unknown');
    await hasSettled(format.stream ? ['unverified', 'unverified'] : ['unverified']);
  });

  test.each(['text/html', 'application/json'])('HTML with a 200 in the place of what is free, as %s', async (type) => {
    scene.provider.answerWith(answers(200, { 'content-type': type }, html));
    const list = await sendBytes(urlOf(format.listPath), { method: 'GET', headers: format.keyHeader(scene.key) });
    isRefused(list, 503, 'provider_unavailable');
    if (format.count)
      isRefused(await send(format.count.body, { path: format.count.path }), 503, 'provider_unavailable');
    await hasSettled([], '0');
  });

  test('an error of the provider passes byte for byte', async () => {
    const error = `{ "error": {"type":"invalid_request_error" ,"status":"INVALID_ARGUMENT","message":"of tomorrow"}}\n`;
    scene.provider.answerWith(answers(400, json, error));
    const answer = await send();
    expect([answer.status, answer.body.toString()]).toEqual([400, error]);
    await hasSettled(['released'], '0');
  });

  test('an error of the provider that has its key in it is told in our words', async () => {
    scene.provider.answerWith(answers(400, json, `{"error":{"message":"headers were ${providerKey}"}}`));
    isRefused(await send(), 502, 'provider_refused');
    await hasSettled(['released'], '0');
  });

  test('a client of HTTP/1.0 has its answer whole, and errors of ours', async () => {
    const ask = async ({ path, body }: { path: string; body: object | string }) => {
      const came = await talk(scene.api.url, raw(path, typeof body === 'string' ? body : JSON.stringify(body), '1.0'));
      expect(came).not.toMatch(/transfer-encoding/i);
      const text = came.slice(came.indexOf('\r\n\r\n') + 4);
      const status = Number(/^HTTP\/1\.[01] (\d+) /.exec(came)?.[1]);
      return { status, body: Buffer.from(text), json: () => JSON.parse(text) as ReturnType<BytesAnswer['json']> };
    };
    scene.provider.answerWith(answers(200, json, format.whole.answer));
    const whole = await ask(format.whole);
    expect([whole.status, whole.body.toString()]).toEqual([200, format.whole.answer]);
    isRefused(await ask({ ...format.whole, body: '{"model":' }), 400, 'invalid_request');
    await hasSettled(['actual'], format.usd);
  });

  test('a body that comes so slowly that others need its room', async () => {
    const [[name, value] = []] = Object.entries(format.keyHeader(scene.key));
    const { hostname, port } = new URL(scene.api.url);
    const begin = () => {
      const socket = connect({ host: hostname, port: Number(port) }).on('error', () => undefined);
      const head = `POST /proxy/${format.provider}${format.whole.path} HTTP/1.1\r\nhost: x\r\n${name}: ${value}\r\n`;
      socket.write(`${head}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`);
      let came = '';
      socket.on('data', (data: Buffer) => (came += data.toString()));
      return { socket, came: () => came };
    };
    // Each may be of 32 MiB, and all of an owner's of 256 MiB.
    const slow = Array.from({ length: 8 }, begin);
    await sleep(1_500);
    slow.push(begin());
    const told = await until('one is turned away', () => slow.map(({ came }) => came()).find((text) => text !== ''));
    const [head = '', body = ''] = told.split('\r\n\r\n');
    isRefused(
      { status: Number(head.split(' ')[1]), body: Buffer.from(body), json: () => JSON.parse(body) as never },
      ...([429, 'too_much_at_once'] as const),
    );
    expect(head).toMatch(/^HTTP\/1\.1 429 Too Many Requests\r\n[^]*x-should-retry: true\r\nretry-after: 1\r\n/);
    for (const { socket } of slow) socket.destroy();
    await wasNotAsked();
  });

  const { stream } = format;
  if (stream)
    describe('a stream', () => {
      const { path, body, events, errorEvent } = stream;

      test('that is malformed ends with an error as an event of its own', async () => {
        const broken = `${events[0]}data: {"type": "mess\n\n\u0000\u0001 this is no answer\n\n`;
        scene.provider.answerWith(answers(200, sse, broken));
        const answer = await send(body, { path });
        const came = answer.body.toString();
        expect([answer.status, answer.isCut, came.slice(0, broken.length)]).toEqual([200, false, broken]);
        const [, name, data] = /^(?:event: (\w+)\n)?data: (.*)\n\n$/.exec(came.slice(broken.length)) ?? [];
        expect({ name, data: JSON.parse(data ?? '{}') as unknown }).toEqual(errorEvent('outcome_unknown'));
        expect(came).not.toMatch(/slk_|of-the-provider/);
        await hasSettled(['unverified']);
      });

      test('comes whole to a client of HTTP/1.0', async () => {
        scene.provider.answerWith(answers(200, sse, events.join('')));
        const came = await talk(scene.api.url, raw(path, JSON.stringify(body), '1.0'));
        expect(came).toMatch(/^HTTP\/1\.[01] 200 /);
        expect(came).not.toMatch(/transfer-encoding/i);
        expect(came.slice(came.indexOf('\r\n\r\n') + 4)).toBe(events.join(''));
        await hasSettled(['actual'], format.usd);
      });
    });

  test.each([
    ['goes away', (socket: ReturnType<typeof connect>) => socket.destroy()],
    // Nobody can tell it from one that is gone.
    ['closes its half of the connection', (socket: ReturnType<typeof connect>) => socket.end()],
  ])('a client that %s ends the provider’s call, which is charged at its estimate', async (_what, leave) => {
    let isEnded = false;
    scene.provider.answerWith((response) => {
      response.once('close', () => (isEnded = true));
      if (stream) response.writeHead(200, sse).write(stream.events[0]);
    });
    const { path, body } = stream ?? format.whole;
    const { hostname, port } = new URL(scene.api.url);
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => undefined);
    socket.write(raw(path, JSON.stringify(body), '1.1'));
    if (stream) await new Promise((resolve) => socket.once('data', resolve));
    else await until('the provider is asked', () => scene.provider.asked.length > 0);
    leave(socket);
    await until('the provider’s call is ended', () => isEnded);
    await hasSettled(['unverified']);
    socket.destroy();
  });
});
