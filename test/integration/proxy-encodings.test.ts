/** Answers that a provider, or a gateway before it, compresses although it was asked not to: they pass as they are, at their price. */
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, createGzip, deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { proxyModel as model, settledBooks, settlementsOf } from '../support/proxy';
import { providerKey, rawProxyScene } from '../support/proxy-scene';

const asked = { model, max_tokens: 1_000, messages: [{ role: 'user', content: 'Hello' }] };
const event = (data: { type: string } & Record<string, unknown>): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const usage = { input_tokens: 1_000, output_tokens: 200, service_tier: 'standard' };
const message = { id: 'm', type: 'message', role: 'assistant', model, content: [], stop_reason: 'end_turn', usage };
const whole = JSON.stringify(message);
const begin = event({ type: 'message_start', message: { ...message, stop_reason: null } });
const text = event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'a' } });
const last = event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 200 } });
const stop = event({ type: 'message_stop' });

describe('compressed answers', () => {
  const scene = rawProxyScene('anthropic');
  const send = (more: object = {}, onPart?: (all: Buffer) => void) =>
    scene.send('/v1/messages', { ...asked, ...more }, {}, onPart);
  const answers = (body: Buffer, encoding: string, status = 200) =>
    scene.provider.answerWith((response) =>
      response.writeHead(status, { 'content-type': 'application/json', 'content-encoding': encoding }).end(body),
    );
  /** Each part as soon as it is given, and then its end, or none. */
  const streams = (parts: string[], { ends = true } = {}) =>
    scene.provider.answerWith(async (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' });
      const zip = createGzip();
      zip.on('data', (part: Buffer) => response.write(part));
      for (const part of parts) {
        zip.write(part);
        await new Promise<void>((resolve) => zip.flush(resolve));
        await sleep(20);
      }
      if (!ends) return void response.destroy();
      zip.once('end', () => response.end()).end();
    });

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)('one that comes whole, by %s, passes as it is and costs what it says', async (encoding, compress) => {
    const body = compress(whole);
    answers(body, encoding);
    const answer = await send();
    expect(answer).toMatchObject({ status: 200, headers: { 'content-encoding': encoding } });
    expect(answer.body.equals(body)).toBe(true);
    expect(scene.provider.asked[0]?.headers['accept-encoding']).toBe('identity');
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['actual']);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.002' });
  });

  test('a stream passes piece by piece, and costs what it says', async () => {
    streams([begin, text, last, stop]);
    const pieces: number[] = [];
    const answer = await send({ stream: true }, (all) => pieces.push(all.length));
    expect(pieces.length).toBeGreaterThan(2);
    expect(answer.headers['content-encoding']).toBe('gzip');
    expect(gunzipSync(answer.body).toString()).toBe(begin + text + last + stop);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.002' });
  });

  test.each([
    ['before its last report', [begin, text], 'unverified'],
    ['after it', [begin, text, last], 'actual'],
  ])('a stream that breaks off %s is cut, with nothing in clear behind it', async (_when, parts, settlement) => {
    streams(parts, { ends: false });
    const answer = await send({ stream: true });
    expect(answer.isCut).toBe(true);
    expect(answer.body.toString()).not.toContain('error');
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual([settlement]);
  });

  test('a stream in an encoding that is not known passes, and is charged at its estimate', async () => {
    scene.provider.answerWith((response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'zstd' }).end('\u0001\u0002'),
    );
    expect(await send({ stream: true })).toMatchObject({ status: 200, isCut: false });
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test.each([
    ['says more than may be kept', gzipSync(Buffer.alloc(65 * 1024 * 1024, ' '))],
    ['is no gzip', Buffer.from(whole)],
  ])('one that %s is no answer, and is charged at its estimate', async (_what, body) => {
    answers(body, 'gzip');
    const answer = await send();
    expect([answer.status, answer.json().spendlock]).toMatchObject([502, { error: 'outcome_unknown' }]);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('an error passes as it is, but not with the provider’s key in it', async () => {
    const error = (said: string): Buffer =>
      gzipSync(JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message: said } }));
    answers(error('of the provider'), 'gzip', 400);
    const told = await send();
    expect([told.status, told.body.equals(error('of the provider'))]).toEqual([400, true]);
    answers(error(`headers were ${providerKey}`), 'gzip', 400);
    const kept = await send();
    expect([kept.status, kept.json().error.type, kept.headers['content-encoding']]).toEqual([
      502,
      'api_error',
      undefined,
    ]);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['released', 'released']);
  });

  test('a count of a prompt is read', async () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'A'.repeat(400) } };
    const answerWith = (body: string) => (response: ServerResponse) =>
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(gzipSync(body));
    scene.provider.answerWith(answerWith('{"input_tokens":1600}'), answerWith(whole));
    expect((await send({ messages: [{ role: 'user', content: [image] }] })).status).toBe(200);
    await settledBooks(scene.stack, scene.tenantId);
  });
});
