/** Alerts on their way to people: once each, signed, and never in the way of a decision. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isSignedBy } from '../../activities/notify/webhook';
import { startTestApi, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

const secret = 'of-this-test-only';

describe('alerts by webhook', () => {
  let stack: TestStack;
  let api: TestApi;
  let receiver: Server;
  let refuse = 0;
  const received: { body: string; signature: string; alert: Record<string, unknown> }[] = [];

  beforeAll(async () => {
    receiver = createServer((request, response) => {
      let body = '';
      request.on('data', (data: Buffer) => (body += data.toString()));
      request.on('end', () => {
        if (refuse > 0) {
          refuse -= 1;
          response.writeHead(500).end();
          return;
        }
        const alert = JSON.parse(body) as Record<string, unknown>;
        received.push({ body, signature: String(request.headers['x-spendlock-signature']), alert });
        response.writeHead(204).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    stack = await TestStack.start({ worker: false });
    await stack.startWorker({
      environment: {
        SPENDLOCK_ALERT_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/alerts`,
        SPENDLOCK_ALERT_WEBHOOK_SECRET: secret,
      },
    });
    api = await startTestApi(stack);
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
    receiver.closeAllConnections();
    receiver.close();
  });
  const reserve = (tenantId: string, amountUsd: string): Promise<Response> =>
    api.request('/v1/reservations', {
      method: 'POST',
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd },
    });
  const ofTenant = (tenantId: string): Record<string, unknown>[] =>
    received.map(({ alert }) => alert).filter((alert) => alert.tenantId === tenantId);

  test('one for a week of refusals, signed, and sent again until it is taken (F11)', async () => {
    const tenantId = await stack.tenant('1');
    refuse = 2;
    for (let call = 0; call < 5; call += 1) expect((await reserve(tenantId, '2')).status).toBe(429);
    await until('it is taken', () => ofTenant(tenantId).length > 0);
    await until('its row says so', async () => {
      const { rows } = await stack.admin.query(
        'SELECT FROM copilot_internal.quota_alerts WHERE tenant_id = $1 AND sent_at IS NULL',
        [tenantId],
      );
      return rows.length === 0;
    });
    expect(ofTenant(tenantId)).toHaveLength(1);
    expect(ofTenant(tenantId)[0]).toMatchObject({
      kind: 'quota_exceeded',
      severity: 'error',
      alertId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      quota: { limitUsd: '1', estimatedUsd: '2' },
    });
    const { body, signature } = received.at(-1) ?? { body: '', signature: '' };
    const nowSeconds = Date.now() / 1000;
    expect(isSignedBy(secret, { body, signature, nowSeconds })).toBe(true);
    expect(isSignedBy('another-secret-xx', { body, signature, nowSeconds })).toBe(false);
    expect(isSignedBy(secret, { body: `${body} `, signature, nowSeconds })).toBe(false);
    expect(isSignedBy(secret, { body, signature, nowSeconds: nowSeconds + 3_600 })).toBe(false);
  });

  test('a webhook that hangs holds up no decision', async () => {
    const tenantId = await stack.tenant('1');
    receiver.removeAllListeners('request');
    const hanging = new Promise<IncomingMessage>((resolve) => receiver.once('request', resolve));
    expect((await reserve(tenantId, '2')).status).toBe(429);
    const { socket } = await hanging;
    for (let call = 0; call < 5; call += 1) expect((await reserve(tenantId, '0.1')).status).toBe(201);
    // The webhook is still being waited for.
    expect(socket.destroyed).toBe(false);
  });
});
