/** The wire proxy, byte by byte: what goes to the provider, what comes back, and what its answers and silences cost. */
import type { ServerResponse } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { askProvider, type ProviderSilence } from '../../api/proxy/provider';
import { startTestApi, type TestApi } from '../support/api';
import { proxyModel as model, sendBytes, settledBooks, settlementsOf, type BytesAnswer } from '../support/proxy';
import { rawProvider, type RawProvider } from '../support/raw-provider';
import { TestStack, until } from '../support/stack';

const providerKey = 'sk-key-of-the-provider-0123456789';
const event = (data: { type: string } & Record<string, unknown>): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const usage = { input_tokens: 1_000, output_tokens: 1, service_tier: 'standard' };
const begin = event({
  type: 'message_start',
  message: { id: 'm', type: 'message', role: 'assistant', model, content: [], usage },
});
const last = event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 200 } });
const stop = event({ type: 'message_stop' });
const text = (said: string): string =>
  event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: said } });
const whole = JSON.stringify({
  id: 'm',
  type: 'message',
  role: 'assistant',
  model,
  content: [],
  stop_reason: 'end_turn',
  usage: { ...usage, output_tokens: 200 },
});

const sse = (response: ServerResponse, headers: Record<string, string> = {}): ServerResponse =>
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', ...headers });
const streams =
  (...parts: (string | Buffer)[]) =>
  async (response: ServerResponse): Promise<void> => {
    sse(response);
    for (const part of parts) {
      response.write(part);
      await sleep(5);
    }
    response.end();
  };

describe('what is passed on', () => {
  let stack: TestStack;
  let api: TestApi;
  let provider: RawProvider;
  let tenantId: string;
  let key: string;
  const asked = { model, max_tokens: 1_000, messages: [{ role: 'user', content: 'Hello' }] };
  const send = (
    body: object | string,
    headers: Record<string, string> = {},
    onPart?: (all: Buffer) => void,
  ): Promise<BytesAnswer> =>
    sendBytes(`${api.url}/proxy/anthropic/v1/messages`, {
      headers: { 'x-api-key': key, 'anthropic-version': '2023-06-01', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(onPart ? { onPart } : {}),
    });
  beforeAll(async () => {
    [stack, provider] = await Promise.all([TestStack.start(), rawProvider()]);
    api = await startTestApi(stack, {
      proxy: { accounts: { anthropic: { apiKey: providerKey, baseURL: provider.url } }, idleMs: 1_000 },
    });
  });
  afterAll(async () => {
    await api.close();
    await provider.close();
    await stack.stop();
  });
  beforeEach(async () => {
    provider.asked.length = 0;
    tenantId = await stack.tenant('10');
    key = await api.keyOf(tenantId, 'agent');
  });

  test('a request goes as it came, with the provider’s key in the place of ours', async () => {
    provider.answerWith((response) => response.writeHead(200, { 'content-type': 'application/json' }).end(whole));
    const body = `{ "max_tokens":1000,\n"model" : "${model}", "messages":[{"role":"user","content":"H\\u00e9llo \u{1f600}"}]\t}`;
    const answer = await send(body, {
      'anthropic-beta': 'some-beta,other-beta',
      'x-spendlock-user': 'ada',
      'x-stainless-lang': 'js',
      cookie: 'a=b',
    });
    expect(answer.body.toString()).toBe(whole);
    const [got] = provider.asked;
    expect(got?.body.toString()).toBe(body);
    expect(got).toMatchObject({ method: 'POST', path: '/v1/messages' });
    expect(got?.headers).toMatchObject({
      'x-api-key': providerKey,
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'some-beta,other-beta',
      'x-stainless-lang': 'js',
    });
    expect(JSON.stringify(got?.headers)).not.toMatch(/slk_|x-spendlock|cookie/);
    const { rows } = await stack.admin.query('SELECT user_id FROM copilot_internal.reservations WHERE tenant_id = $1', [
      tenantId,
    ]);
    expect(rows).toEqual([{ user_id: 'ada' }]);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.002' });
  });

  test('a stream comes as it was sent, each piece when it is there: pings, unknown events and letters that are cut in two', async () => {
    const emoji = Buffer.from(text('a \u{1f600} b'));
    const sent = [
      begin,
      ': a comment\n\n',
      event({ type: 'ping' }),
      event({ type: 'of_tomorrow', more: [1] }),
      emoji.subarray(0, 78),
      emoji.subarray(78),
      last,
      stop,
    ];
    let cameAtMs = 0;
    let lastSentAtMs = Infinity;
    provider.answerWith(async (response) => {
      sse(response, {
        'request-id': 'req_1',
        'anthropic-organization-id': 'org-secret',
        'anthropic-ratelimit-requests-limit': 'org-secret',
        'set-cookie': 'a=b',
        'x-new-header': 'passes',
        'x-echo': `sent with ${providerKey}`,
      });
      response.write(sent[0]);
      await sleep(300);
      lastSentAtMs = performance.now();
      for (const part of sent.slice(1)) {
        response.write(part);
        await sleep(5);
      }
      response.end();
    });
    const answer = await send({ ...asked, stream: true }, {}, () => (cameAtMs ||= performance.now()));
    expect(cameAtMs).toBeLessThan(lastSentAtMs);
    expect(answer.body.equals(Buffer.concat(sent.map((part) => Buffer.from(part))))).toBe(true);
    expect(answer.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'request-id': 'req_1',
      'x-new-header': 'passes',
    });
    expect(answer.headers['x-spendlock-operation-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.stringify(answer.headers)).not.toMatch(/org-secret|set-cookie|x-echo|sk-key/);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.002' });
  });

  test.each([
    [529, {}, 'overloaded_error', 'released'],
    // What was charged is not tried again by itself, whatever its provider says.
    [500, { 'x-should-retry': 'false' }, 'api_error', 'unverified'],
  ])('an error %i of the provider passes as it is, and is settled', async (status, headers, type, settlement) => {
    const body = `{"type":"error", "error":{"type":"${type}","message":"of the provider"},"request_id":"req_2"}`;
    provider.answerWith((response) =>
      response.writeHead(status, { 'content-type': 'application/json', 'x-should-retry': 'true' }).end(body),
    );
    const answer = await send(asked);
    expect(answer).toMatchObject({ status, headers: { 'x-should-retry': 'true', ...headers } });
    expect(answer.body.toString()).toBe(body);
    expect(await settlementsOf(stack, tenantId)).toEqual([settlement]);
  });

  test.each([
    ['7', 'true'],
    ['600', 'false'],
  ])(
    'what the account may is not told: a 429 of the provider is in our words, to wait %s s',
    async (wait, mayRetry) => {
      provider.answerWith((response) =>
        response
          .writeHead(429, {
            ...{ 'content-type': 'application/json', 'retry-after': wait, 'x-should-retry': 'true' },
            ...{ 'anthropic-ratelimit-tokens-remaining': '17' },
          })
          .end('{"type":"error","error":{"type":"rate_limit_error","message":"of organization o: 50,000 a minute"}}'),
      );
      const answer = await send(asked);
      expect(answer).toMatchObject({ status: 429, headers: { 'retry-after': wait, 'x-should-retry': mayRetry } });
      expect(answer.json()).toMatchObject({
        error: { type: 'rate_limit_error' },
        spendlock: { error: 'provider_unavailable', retryAfter: Number(wait) },
      });
      expect(answer.body.toString() + JSON.stringify(answer.headers)).not.toMatch(/50,000|anthropic-ratelimit/);
      expect(await settlementsOf(stack, tenantId)).toEqual(['released']);
    },
  );

  test.each([
    [
      'its key is refused',
      (r: ServerResponse) =>
        r
          .writeHead(401, { 'content-type': 'application/json' })
          .end(`{"error":{"type":"authentication_error","message":"bad ${providerKey}"}}`),
      502,
    ],
    ['it leads elsewhere', (r: ServerResponse) => r.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(), 503],
  ])('where %s nobody is shown it, and nothing is billed', async (_what, answerIt, status) => {
    provider.answerWith(answerIt);
    const answer = await send(asked);
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ type: 'error', error: { type: 'api_error' } });
    expect(answer.body.toString() + JSON.stringify(answer.headers)).not.toMatch(/sk-key|127\.0\.0\.1/);
    expect(await settlementsOf(stack, tenantId)).toEqual(['released']);
  });

  test.each([
    ['JSON that is no message', '{"type":"something"}'],
    ['half of its JSON', whole.slice(0, 50)],
    ['nothing', ''],
  ])('%s with a 200 is an error too', async (_what, body) => {
    provider.answerWith((response) => response.writeHead(200, { 'content-type': 'application/json' }).end(body));
    expect((await send(asked)).json()).toMatchObject({ type: 'error', error: { type: 'api_error' } });
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
  });

  test.each([
    ['hangs up before it answers', (r: ServerResponse) => r.destroy()],
    [
      'changes the protocol',
      (r: ServerResponse) =>
        r.socket?.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n'),
    ],
  ])(
    'a provider that %s may have billed the call, which is charged and not to be tried again by itself',
    async (_what, answerIt) => {
      provider.answerWith(answerIt);
      const answer = await send(asked);
      expect(answer).toMatchObject({ status: 502, headers: { 'x-should-retry': 'false' } });
      expect(answer.json()).toMatchObject({ type: 'error', spendlock: { error: 'outcome_unknown' } });
      expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
    },
  );

  test.each([
    ['breaks off', (socket: Socket) => void socket.destroy()],
    ['is never made', (socket: Socket) => void socket.resume()],
  ])('a request whose secure connection %s has reached nobody, and costs nothing', async (what, meet) => {
    const listener = createServer((socket) => meet(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as AddressInfo;
    const gone = new AbortController();
    const order = { url: new URL(`https://127.0.0.1:${port}/`), method: 'POST', headers: {}, answerMs: 500 };
    const facts = askProvider({ ...order, body: Buffer.from('{}'), gone: gone.signal }).then(
      () => what,
      (error: unknown) => (error as ProviderSilence).facts,
    );
    expect(await facts).toEqual({ kind: 'unreached' });
    await new Promise((resolve) => listener.close(resolve));
  });

  test.each([
    [
      'breaks off between two events',
      async (r: ServerResponse) => {
        sse(r).write(begin + text('a'));
        await sleep(50);
        r.destroy();
      },
      true,
    ],
    ['ends without its end', streams(begin, text('a')), true],
    ['falls silent', (r: ServerResponse) => void sse(r).write(begin + text('a')), true],
    [
      'breaks off within an event',
      async (r: ServerResponse) => {
        sse(r).write(begin + text('a').slice(0, 30));
        await sleep(50);
        r.destroy();
      },
      false,
    ],
  ])('a stream that %s ends with an error', async (_what, answerIt, isTold) => {
    provider.answerWith(answerIt);
    const answer = await send({ ...asked, stream: true });
    const came = answer.body.toString();
    if (isTold) {
      expect(came).toMatch(
        /\n\nevent: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"The provider gave no answer[^\n]*\n\n$/,
      );
      expect(answer.isCut).toBe(false);
    } else expect(answer.isCut).toBe(true);
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
  });

  test('a stream that is cut after its last report costs what that says', async () => {
    provider.answerWith(async (response) => {
      sse(response).write(begin + text('a') + last);
      await sleep(50);
      response.destroy();
    });
    await send({ ...asked, stream: true });
    expect(await settlementsOf(stack, tenantId)).toEqual(['actual']);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.002' });
  });

  test('a stream that is cut after its end is whole', async () => {
    provider.answerWith(async (response) => {
      sse(response).write(begin + text('a') + last + stop);
      await sleep(50);
      response.destroy();
    });
    const answer = await send({ ...asked, stream: true });
    expect([answer.body.toString(), answer.isCut]).toEqual([begin + text('a') + last + stop, false]);
    expect(await settlementsOf(stack, tenantId)).toEqual(['actual']);
  });

  test('a stream in which something cannot be read passes all the same, and its cost is not known', async () => {
    const odd = event({ type: 'error', error: { type: { toString: 1, valueOf: 1 } } });
    provider.answerWith(streams(begin, odd, last, stop));
    const answer = await send({ ...asked, stream: true });
    expect([answer.body.toString(), answer.isCut]).toEqual([begin + odd + last + stop, false]);
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
  });

  test('a client that reads slowly does not make its provider’s stream a silent one', async () => {
    const long = text('a'.repeat(64 * 1024)).repeat(512);
    provider.answerWith((response) => void sse(response).end(begin + long + last + stop));
    const body = JSON.stringify({ ...asked, stream: true });
    const { hostname, port } = new URL(api.url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.write(
      `POST /proxy/anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: ${key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    // Longer than a provider may be silent here.
    await sleep(2_500);
    let came = '';
    socket.on('data', (part) => (came = (came + part.toString()).slice(-1_000))).resume();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(came).toContain('message_stop');
    expect(await settlementsOf(stack, tenantId)).toEqual(['actual']);
  });

  test('a refusal that is not billed costs nothing', async () => {
    const refusal = event({
      type: 'message_delta',
      delta: { stop_reason: 'refusal', stop_details: { category: 'cyber' } },
      usage: { output_tokens: 5 },
    });
    provider.answerWith(streams(begin, refusal, stop));
    await send({ ...asked, stream: true });
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0' });
  });

  test('an image is counted by its provider, and reserved by that', async () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'A'.repeat(40_000) } };
    const body = { ...asked, messages: [{ role: 'user', content: [image] }] };
    const count = (response: ServerResponse): unknown =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":1600}');
    provider.answerWith(count, (response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(whole),
    );
    expect((await send(body)).status).toBe(200);
    expect(provider.asked.map(({ path }) => path)).toEqual(['/v1/messages/count_tokens', '/v1/messages']);
    const { rows } = await stack.admin.query<{ asked: string }>(
      'SELECT trim_scale(requested_usd)::text AS asked FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    // 1,648 tokens at $1.10 and 1,000 at $5.50 a million, where a region may be the account's default.
    expect(Number(rows[0]?.asked)).toBeGreaterThan(0.0066);
    expect(Number(rows[0]?.asked)).toBeLessThan(0.0075);
    provider.answerWith((response) => response.writeHead(500).end());
    expect((await send(body)).json()).toMatchObject({ type: 'error', spendlock: { error: 'provider_unavailable' } });
  });

  test('the list of models passes, and costs nothing', async () => {
    const list = '{"data":[{"id":"claude-of-tomorrow"}],"has_more":false}';
    provider.answerWith((response) => response.writeHead(200, { 'content-type': 'application/json' }).end(list));
    const answer = await sendBytes(`${api.url}/proxy/anthropic/v1/models?limit=5`, {
      method: 'GET',
      headers: { authorization: `Bearer ${key}` },
    });
    expect(answer.body.toString()).toBe(list);
    expect(provider.asked).toMatchObject([
      { method: 'GET', path: '/v1/models?limit=5', headers: { 'x-api-key': providerKey } },
    ]);
    expect(provider.asked[0]?.headers.authorization).toBeUndefined();
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test('a client that goes before its provider answers ends the provider’s call', async () => {
    let isEnded = false;
    provider.answerWith((response) => void response.once('close', () => (isEnded = true)));
    const body = JSON.stringify(asked);
    const { hostname, port } = new URL(api.url);
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => undefined);
    socket.write(
      `POST /proxy/anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await until('the provider is asked', () => provider.asked.length > 0);
    socket.destroy();
    await until('the provider’s call is ended', () => isEnded);
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
  });

  test.each([
    ['a moment before its end is charged what its provider says', 200, 'actual'],
    ['long before its end is ended at its provider, and charged at its estimate', 30_000, 'unverified'],
  ])('a stream that its client leaves %s', async (_what, endsAfterMs, settlement) => {
    let isEnded = false;
    provider.answerWith(async (response) => {
      response.once('close', () => (isEnded = true));
      sse(response).write(begin + text('Hi'));
      await sleep(endsAfterMs, undefined, { ref: false });
      response.end(last + stop);
    });
    const body = JSON.stringify({ ...asked, stream: true });
    const { hostname, port } = new URL(api.url);
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => undefined);
    socket.write(
      `POST /proxy/anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await new Promise((resolve) => socket.once('data', resolve));
    socket.destroy();
    await until('the provider’s call is over', () => isEnded, 10_000);
    expect(await settlementsOf(stack, tenantId)).toEqual([settlement]);
  });
});
