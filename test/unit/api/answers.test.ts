import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerCheck, watchAnswers, type ApiDescription } from '../../support/answers';

const object = (properties: object, required = Object.keys(properties)) => ({ type: 'object', properties, required });
const json = (schema: object) => ({ content: { 'application/json': { schema } } });
const failed = json(object({ error: { type: 'string' } }));
const description: ApiDescription = {
  paths: {
    '/v1/keys/{id}': {
      get: { responses: { 200: json(object({ key: { type: 'string' } })), default: failed } },
      post: { responses: { 202: { content: {} } } },
    },
    '/v1/keys/current': {
      get: { responses: { 200: json(object({ tenantId: { type: 'string' } })), default: failed } },
    },
  },
};

describe('an answer is held to its description:', () => {
  const check = answerCheck(description);
  const misfit = (path: string, body: object, { status = 200, method = 'GET' } = {}): string | undefined =>
    check({ method, path, status, body });

  test('one that fits passes, under the path that is written out before the one with an id', () => {
    expect(misfit('/v1/keys/7', { key: 'a' })).toBeUndefined();
    expect(misfit('/v1/keys/current', { tenantId: 'acme' })).toBeUndefined();
    expect(misfit('/v1/keys/7', { error: 'not_found' }, { status: 404 })).toBeUndefined();
  });

  test('a field that is missing, of another type, or not described is told with its route', () => {
    expect(misfit('/v1/keys/7', {})).toBe("GET /v1/keys/{id} 200:  must have required property 'key'");
    expect(misfit('/v1/keys/7', { key: 7 })).toBe('GET /v1/keys/{id} 200: /key must be string');
    expect(misfit('/v1/keys/7', { key: 'a', more: 1 })).toBe(
      'GET /v1/keys/{id} 200:  must NOT have additional properties',
    );
    expect(misfit('/v1/keys/7', { reason: 'none' }, { status: 500 })).toMatch('GET /v1/keys/{id} 500: ');
  });

  test('a status that is not described is told', () => {
    expect(misfit('/v1/keys/7', {}, { method: 'POST', status: 200 })).toBe(
      'POST /v1/keys/{id} 200: no such answer of JSON is described',
    );
    const refused = { error: 'last_key' };
    expect(misfit('/v1/keys/7', refused, { status: 403 })).toBeUndefined();
    for (const status of [409, 422])
      expect(misfit('/v1/keys/7', refused, { status })).toBe(
        `GET /v1/keys/{id} ${status}: no such answer of JSON is described`,
      );
  });
});

describe('of an API that answers otherwise than it says', () => {
  let server: Server;
  let url: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      response.setHeader('content-type', 'application/json');
      if (request.url === '/v1/keys/torn') response.end('{"key":');
      else response.end(JSON.stringify(request.url === '/openapi.json' ? description : { key: 7 }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  test('what was read is told once, whoever read it in whichever way, and no more once nobody watches', async () => {
    const answers = watchAnswers(url);
    expect(await (await fetch(`${url}/v1/keys/1`)).json()).toEqual({ key: 7 });
    expect(await (await fetch(`${url}/v1/keys/2`)).text()).toBe('{"key":7}');
    expect(answers.misfits()).toEqual(['GET /v1/keys/{id} 200: /key must be string']);
    answers.stop();
    await (await fetch(`${url}/v1/keys/current`)).json();
    expect(answers.misfits()).toHaveLength(1);
  });

  test('what is called JSON and is none is told, and an answer to HEAD has nothing in it', async () => {
    const answers = watchAnswers(url);
    expect(await (await fetch(`${url}/v1/keys/1`, { method: 'HEAD' })).text()).toBe('');
    expect(answers.misfits()).toEqual([]);
    expect(await (await fetch(`${url}/v1/keys/torn`)).text()).toBe('{"key":');
    expect(answers.misfits()).toEqual(['GET /v1/keys/torn 200: is no JSON, as its Content-Type says']);
    answers.stop();
  });
});
