/** Whatever a client is told of a call that was paid for says which one: an operator corrects its cost by that. */
import type { ServerResponse } from 'node:http';
import { rawProxyScene } from '../support/proxy-scene';
import { until } from '../support/stack';

const asked = { model: 'gpt-5-mini', max_output_tokens: 100, input: 'Hello' };
const asJson = (status: number) => (response: ServerResponse) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
const page = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
const half = (response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{"id"');
  setTimeout(() => response.destroy(), 50);
};
const nothing = (response: ServerResponse) => response.destroy();

describe('an answer of the wire proxy that is none of the provider’s', () => {
  const scene = rawProxyScene('openai');

  const told = async (
    answer: (response: ServerResponse) => unknown,
  ): Promise<{ operationId: unknown; body: Record<string, unknown> }> => {
    scene.provider.answerWith(answer);
    const { status, headers, body } = await scene.send('/v1/responses', asked);
    expect(status).toBeGreaterThanOrEqual(400);
    return {
      operationId: headers['x-spendlock-operation-id'],
      body: JSON.parse(body.toString()) as Record<string, unknown>,
    };
  };
  const reservation = async (operationId: unknown) =>
    (await scene.api.call('GET', `/v1/reservations/${String(operationId)}?tenantId=${scene.tenantId}`)).body;

  test.each([
    ['a page', page],
    ['half of an answer', half],
    ['nothing', nothing],
  ])('of %s names the operation, in its header and its body, and it is charged', async (_what, answer) => {
    const { operationId, body } = await told(answer);
    expect(body).toMatchObject({ error: { spendlock: { operationId } } });
    await until('it is charged', async () => (await reservation(operationId)).settlement === 'unverified');
  });

  test('of a provider that failed has the header, and its body is as it came', async () => {
    const { operationId, body } = await told(asJson(500));
    expect(body).toEqual({});
    await until('it is charged', async () => (await reservation(operationId)).settlement === 'unverified');
  });

  test('of a provider that had no time names what was given back', async () => {
    const { operationId, body } = await told(asJson(429));
    expect(body).toMatchObject({ error: { spendlock: { operationId } } });
    await until('it is given back', async () => (await reservation(operationId)).status === 'released');
  });
});
