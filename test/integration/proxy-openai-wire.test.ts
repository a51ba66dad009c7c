/** The wire proxy for OpenAI's APIs, byte by byte: streams that break off, headers of a client's own, and answers that there is no room for. */
import { startTestApi } from '../support/api';
import { sendBytes, settledBooks, settlementsOf } from '../support/proxy';
import { providerKey, rawProxyScene } from '../support/proxy-scene';

const model = 'gpt-4o';
const asked = { model, max_output_tokens: 1_000, input: 'Hello' };
const response = {
  ...{ id: 'r', object: 'response', status: 'completed', model, output: [], service_tier: 'default' },
  usage: { input_tokens: 10, output_tokens: 2, total_tokens: 12 },
};

describe('OpenAI’s APIs, byte for byte', () => {
  const scene = rawProxyScene('openai');
  const event = (type: string, more: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
  const begun =
    event('response.created', { response: { ...response, status: 'in_progress', usage: null }, sequence_number: 0 }) +
    event('response.output_item.added', { output_index: 0, item: { type: 'message' }, sequence_number: 1 }) +
    event('response.output_text.delta', { delta: '"sequence_number":99', sequence_number: 2 });
  const answersWhole = (): void =>
    scene.provider.answerWith((to) =>
      to.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(response)),
    );

  test('a response that breaks off ends with an error as an event of its own, numbered on', async () => {
    scene.provider.answerWith((to) => {
      to.writeHead(200, { 'content-type': 'text/event-stream' });
      to.write(begun, () => setTimeout(() => to.destroy(), 20));
    });
    const text = (await scene.send('/v1/responses', { ...asked, stream: true })).body.toString();
    expect(text.startsWith(begun)).toBe(true);
    const [, name, data] = /^event: (\w+)\ndata: (.*)\n\n$/.exec(text.slice(begun.length)) ?? [];
    expect(name).toBe('error');
    expect(JSON.parse(data ?? '{}')).toMatchObject({
      ...{ type: 'error', code: null, param: null, sequence_number: 3 },
      message: expect.stringContaining('broke off') as string,
      error: { type: 'server_error', spendlock: { error: 'outcome_unknown' } },
    });
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('a key of a client’s own for its tries is not passed on', async () => {
    answersWhole();
    const headers = { 'idempotency-key': 'of-a-client', 'x-idempotency-key': 'of-a-client', 'x-stainless-lang': 'js' };
    expect((await scene.send('/v1/responses', asked, headers)).status).toBe(200);
    const [sent] = scene.provider.asked;
    expect(sent?.headers['x-stainless-lang']).toBe('js');
    expect(JSON.stringify(sent?.headers)).not.toContain('of-a-client');
    await settledBooks(scene.stack, scene.tenantId);
  });

  test('a chat that says what it used, and not that it is done, passes as it is, at its price', async () => {
    const said = '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}';
    const last = '{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}';
    const whole = `data: ${said}\n\ndata: ${last}\n\n`;
    scene.provider.answerWith((to) => to.writeHead(200, { 'content-type': 'text/event-stream' }).end(whole));
    const messages = [{ role: 'user', content: 'Hello' }];
    const chat = { model, max_tokens: 100, messages, stream: true, stream_options: { include_usage: true } };
    const answer = await scene.send('/v1/chat/completions', chat);
    expect([answer.body.toString(), answer.isCut]).toEqual([whole, false]);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.000045' });
  });

  test.each(['/v1/models', '/v1/models/gpt-4o'])('GET %s passes as it is, for nothing', async (path) => {
    const list = '{ "object":"list", "data": [{"id":"gpt-of-tomorrow"}] }';
    scene.provider.answerWith((to) => to.writeHead(200, { 'content-type': 'application/json' }).end(list));
    const headers = { authorization: `Bearer ${scene.key}` };
    const answer = await sendBytes(`${scene.api.url}/proxy/openai${path}`, { method: 'GET', headers });
    expect([answer.status, answer.body.toString()]).toEqual([200, list]);
    expect(scene.provider.asked).toMatchObject([
      { method: 'GET', path, headers: { authorization: `Bearer ${providerKey}` } },
    ]);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test.each([
    ['batches', '/v1/batches', 'A batch is billed'],
    ['files', '/v1/files', 'Files that the provider keeps'],
    ['a stored response', '/v1/responses/r', 'What the provider has stored'],
    ['text completions', '/v1/completions', 'Text completions'],
    ['a path without its version', '/responses', '/v1 is missing'],
  ])('%s: refused by its name, and nothing is asked', async (_what, path, why) => {
    const answer = await scene.send(path, {});
    expect([answer.status, answer.json().error]).toMatchObject([
      404,
      { message: expect.stringContaining(why) as string, spendlock: { error: 'not_found' } },
    ]);
    expect(scene.provider.asked).toEqual([]);
  });

  test('a body that is compressed is refused as OpenAI would', async () => {
    const compressed = await scene.send('/v1/responses', asked, { 'content-encoding': 'gzip' });
    expect([compressed.status, compressed.json().error]).toMatchObject([415, { type: 'invalid_request_error' }]);
    expect(scene.provider.asked).toEqual([]);
  });

  test('an answer that there is no room for is not bought: 503, with when to come back; a stream needs none', async () => {
    const accounts = { openai: { apiKey: providerKey, baseURL: `${scene.provider.url}/v1` } };
    const answerRoom = { perOwnerBytes: 1_000_000, allBytes: 1_000_000 };
    const api = await startTestApi(scene.stack, { proxy: { accounts, answerRoom } });
    const send = (body: object) =>
      sendBytes(`${api.url}/proxy/openai/v1/responses`, {
        headers: { authorization: `Bearer ${scene.key}` },
        body: JSON.stringify({ ...asked, ...body }),
      });
    try {
      const refused = await send({ max_output_tokens: 100_000 });
      expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
      expect(refused.json().error).toMatchObject({ type: 'server_error', spendlock: { error: 'unavailable' } });
      expect(scene.provider.asked).toEqual([]);
      expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
      answersWhole();
      // Its room is given back once it is read.
      for (let n = 0; n < 5; n += 1) expect((await send({ max_output_tokens: 4_000 })).status).toBe(200);
      const end = event('response.completed', { response, sequence_number: 3 });
      scene.provider.answerWith((to) => to.writeHead(200, { 'content-type': 'text/event-stream' }).end(begun + end));
      expect((await send({ max_output_tokens: 100_000, stream: true })).body.toString()).toBe(begun + end);
      await settledBooks(scene.stack, scene.tenantId);
    } finally {
      await api.close();
    }
  });
});
