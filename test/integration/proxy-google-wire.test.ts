/** The wire proxy for Google's Gemini API, byte by byte: keys, what goes to the provider, and what comes back. */
import type { ServerResponse } from 'node:http';
import { sendBytes, settledBooks, settlementsOf, type BytesAnswer } from '../support/proxy';
import { providerKey, rawProxyScene } from '../support/proxy-scene';

const model = 'gemini-2.5-pro';
const call = `/v1beta/models/${model}:generateContent`;
const stream = `/v1beta/models/${model}:streamGenerateContent`;
const body = `{ "contents":[{"parts":[{"text":"H\\u00e9llo"}]}],\n"generation_config":{"max_output_tokens":1000} }`;

const chunk = (candidates: string, more = ''): string =>
  `data: {"candidates": [${candidates}] , "of_tomorrow":1,"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2,"totalTokenCount":12}${more}}\r\n\r\n`;
const said = '{"content":{"parts":[{"text":"\u{1f600}"}],"role":"model"},"index":0}';
const last = '{"content":{"parts":[{"text":"."}],"role":"model"},"finishReason":"STOP","index":0}';
const whole = chunk(said) + chunk(said) + chunk(last, ',"modelVersion":"m"');

const json = (
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): unknown => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
const refusal = (code: number, status: string, ...details: object[]): object => ({
  error: { code, message: `of project 123456: ${status}`, status, details },
});

describe('Gemini, byte for byte', () => {
  const scene = rawProxyScene('google');
  const urlOf = (path: string): string => `${scene.api.url}/proxy/google${path}`;
  const send = (path: string, headers: Record<string, string>): Promise<BytesAnswer> =>
    sendBytes(urlOf(path), { headers, body });
  const answersWhole = (): void =>
    scene.provider.answerWith((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'x-goog-quota-user': 'of-all' });
      const bytes = Buffer.from(whole);
      for (let at = 0; at < bytes.length; at += 11) response.write(bytes.subarray(at, at + 11));
      response.end();
    });

  test('what is asked and what is answered pass as they are, in whichever pieces they come', async () => {
    answersWhole();
    const answer = await send(`${stream}?alt=sse`, {
      'x-goog-api-key': scene.key,
      'x-goog-user-project': 'of-a-client',
      'x-goog-fieldmask': 'candidates',
      'x-goog-api-client': 'genai-js/1',
    });
    expect(answer.body.toString()).toBe(whole);
    expect(answer.headers['x-goog-quota-user']).toBeUndefined();
    const [sent] = scene.provider.asked;
    expect([sent?.path, sent?.body.toString()]).toEqual([`${stream}?alt=sse`, body]);
    expect(sent?.headers).toMatchObject({ 'x-goog-api-key': providerKey, 'x-goog-api-client': 'genai-js/1' });
    expect(sent?.headers['x-goog-user-project'] ?? sent?.headers['x-goog-fieldmask']).toBeUndefined();
    // 10 at $1.25 and 2 at $10 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0000325' });
  });

  test('a key in the address is ours there too, and goes no further', async () => {
    answersWhole();
    const answer = await send(`${stream}?key=${scene.key}&alt=sse`, {});
    expect(answer.body.toString()).toBe(whole);
    expect(scene.provider.asked.map(({ path }) => path)).toEqual([`${stream}?alt=sse`]);
    expect(JSON.stringify(scene.provider.asked[0]?.headers)).not.toContain('slk_');
    await settledBooks(scene.stack, scene.tenantId);
  });

  test.each([
    ['none', () => [call, {}]],
    ['a provider’s in the address', () => [`${call}?key=AIzaOfAProvider`, {}]],
  ] as [string, () => [string, Record<string, string>]][])(
    'a key that is %s is refused as Google would',
    async (_what, of) => {
      const answer = await send(...of());
      expect([answer.status, answer.json().error]).toMatchObject([401, { code: 401, status: 'UNAUTHENTICATED' }]);
      expect(answer.body.toString()).not.toContain('AIza');
      expect(scene.provider.asked).toEqual([]);
    },
  );

  test('a stream that breaks off ends with an error in its own shape, and is charged at its estimate', async () => {
    const cut = chunk(said);
    scene.provider.answerWith((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(cut, () => setTimeout(() => response.destroy(), 20));
    });
    const text = (await send(`${stream}?alt=sse`, { 'x-goog-api-key': scene.key })).body.toString();
    expect(text.startsWith(cut)).toBe(true);
    const event = /^data: (.*)\n\n$/.exec(text.slice(cut.length));
    expect(JSON.parse(event?.[1] ?? '{}')).toMatchObject({
      error: { code: 502, status: 'UNKNOWN', spendlock: { error: 'outcome_unknown' } },
    });
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('what the account may is not told: a 429 of the provider is in our words, with how long to wait', async () => {
    const wait = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '7.5s' };
    scene.provider.answerWith((response) => json(response, 429, refusal(429, 'RESOURCE_EXHAUSTED', wait)));
    const answer = await send(call, { 'x-goog-api-key': scene.key });
    expect(answer).toMatchObject({ status: 429, headers: { 'retry-after': '8' } });
    expect(answer.json()).toMatchObject({
      error: { code: 429, status: 'RESOURCE_EXHAUSTED', spendlock: { error: 'provider_unavailable' } },
    });
    expect(JSON.stringify(answer.json())).toContain('"retryDelay":"8s"');
    expect(answer.body.toString()).not.toContain('123456');
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['released']);
  });

  test('that the provider does not take the key is nobody’s business but the operator’s, although it is a 400 there', async () => {
    const reason = { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID' };
    scene.provider.answerWith((response) => json(response, 400, refusal(400, 'INVALID_ARGUMENT', reason)));
    const answer = await send(call, { 'x-goog-api-key': scene.key });
    expect([answer.status, answer.json().error]).toMatchObject([
      502,
      { spendlock: { error: 'provider_credentials' }, status: 'UNKNOWN' },
    ]);
    expect(answer.body.toString()).not.toMatch(/123456|API_KEY_INVALID/);
  });

  test.each([
    [503, 'UNAVAILABLE', 'released'],
    [500, 'INTERNAL', 'unverified'],
  ])('an error %i of the provider passes as it is, and is settled', async (code, status, settlement) => {
    const error = refusal(code, status);
    scene.provider.answerWith((response) => json(response, code, error));
    const answer = await send(call, { 'x-goog-api-key': scene.key });
    expect([answer.status, answer.body.toString()]).toEqual([code, JSON.stringify(error)]);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual([settlement]);
  });

  test('HTML with a 200 is an error in its own shape, charged at the estimate since it may have been billed', async () => {
    scene.provider.answerWith((response) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Welcome</html>'),
    );
    const answer = await send(call, { 'x-goog-api-key': scene.key });
    expect([answer.status, answer.json().error]).toMatchObject([
      502,
      { code: 502, status: 'UNKNOWN', spendlock: { error: 'outcome_unknown' } },
    ]);
    expect(answer.body.toString()).not.toContain('html>');
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('a body of 50 MB, or one that is compressed, is refused as Google would', async () => {
    const headers = { 'x-goog-api-key': scene.key };
    const large = await sendBytes(urlOf(call), { headers, body: Buffer.alloc(50 * 1024 * 1024, ' ') });
    expect([large.status, large.json().error]).toMatchObject([413, { code: 413, status: 'INVALID_ARGUMENT' }]);
    const compressed = await send(call, { ...headers, 'content-encoding': 'gzip' });
    expect([compressed.status, compressed.json().error]).toMatchObject([
      415,
      { code: 415, status: 'INVALID_ARGUMENT' },
    ]);
    expect(scene.provider.asked).toEqual([]);
  });

  test('a prompt that is blocked is whole, and costs what it says', async () => {
    scene.provider.answerWith((response) =>
      json(response, 200, {
        promptFeedback: { blockReason: 'SAFETY' },
        usageMetadata: { promptTokenCount: 10, totalTokenCount: 10 },
      }),
    );
    expect((await send(call, { 'x-goog-api-key': scene.key })).status).toBe(200);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0000125' });
  });

  test.each(['/v1beta/models?pageSize=5&pageToken=a%2Bb', `/v1beta/models/${model}`])(
    'GET %s passes, for nothing',
    async (path) => {
      const list = '{ "models": [] }';
      scene.provider.answerWith((response) =>
        response.writeHead(200, { 'content-type': 'application/json; charset=UTF-8' }).end(list),
      );
      const answer = await sendBytes(urlOf(path), { method: 'GET', headers: { 'x-goog-api-key': scene.key } });
      expect([answer.status, answer.body.toString()]).toEqual([200, list]);
      expect(scene.provider.asked.map((sent) => sent.path)).toEqual([path]);
      expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
    },
  );
});
