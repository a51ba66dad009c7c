/** Reservations of callers outside Temporal, over HTTP, on the real stack. */
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NotBilledError } from '../../client';
import { startTestApi, type TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { TestStack, until } from '../support/stack';

describe('reservations over HTTP', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  interface Answer {
    status: number;
    retryAfter: string | null;
    body: Record<string, unknown> & { quotaDetails?: Record<string, unknown>; operationId?: string };
  }
  const post = async (path: string, body: unknown): Promise<Answer> => {
    const response = await api.request(path, { method: 'POST', body });
    return {
      status: response.status,
      retryAfter: response.headers.get('retry-after'),
      body: (await response.json()) as Answer['body'],
    };
  };
  const reserve = (tenantId: string, amountUsd: string, more: object = {}): Promise<Answer> =>
    post('/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ...more });
  const end = (answer: Answer, verb: string, body: object): Promise<Answer> =>
    post(`/v1/reservations/${answer.body.operationId}/${verb}`, body);
  const settled = async (tenantId: string): Promise<Awaited<ReturnType<TestStack['books']>>> => {
    for (let tries = 0; tries < 200; tries += 1) {
      const books = await stack.books(tenantId);
      if (books.openReservations === 0) return books;
      await sleep(25);
    }
    throw new Error('the books were not settled within five seconds');
  };

  test('reserve, commit: below, at and above what was reserved, each recorded once however often it is sent', async () => {
    const tenantId = await stack.tenant('10');
    for (const costUsd of ['0.25', '1', '1.5']) {
      const granted = await reserve(tenantId, '1');
      expect(granted).toMatchObject({ status: 201, body: { decision: 'granted', grantedUsd: '1', partial: false } });
      const first = await end(granted, 'commit', { tenantId, costUsd });
      expect(first).toMatchObject({ status: 200, body: { status: 'committed' } });
      expect(await end(granted, 'commit', { tenantId, costUsd })).toEqual(first);
      expect(await end(granted, 'commit', { tenantId, costUsd: '9' })).toMatchObject({
        status: 409,
        body: { error: 'operation_conflict' },
      });
    }
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '2.75', spentUsd: '2.75', reservedUsd: '0' });
  });

  test('what was told of a call is read at once, before it is in the balances', async () => {
    const tenantId = await stack.tenant('10');
    const shown = ({ body }: Answer): Promise<unknown> => api.admin.reservation(String(body.operationId), { tenantId });
    const [bought, given] = [await reserve(tenantId, '1'), await reserve(tenantId, '1')];
    await end(bought, 'commit', { tenantId, costUsd: '0.25' });
    expect(await shown(bought)).toMatchObject({ outcome: 'billed', outcomeUsd: '0.25' });
    await end(given, 'release', { tenantId });
    expect(await shown(given)).toMatchObject({ outcome: 'not_billed', outcomeUsd: null });
    await settled(tenantId);
    expect(await shown(bought)).toMatchObject({ status: 'committed', committedUsd: '0.25', outcomeUsd: '0.25' });
  });

  test('a cost of a hundred times its grant is recorded once an operator confirms it, and nothing before that', async () => {
    const tenantId = await stack.tenant('10');
    const [agent, operator] = [await api.keyOf(tenantId, 'agent'), await api.keyOf(tenantId, 'operator')];
    const told = async (operationId: unknown, key: string, body: object): Promise<unknown> => {
      const answer = await api.call('POST', `/v1/reservations/${String(operationId)}/commit`, { key, body });
      return [answer.status, answer.body.error ?? answer.body.status];
    };
    const { operationId } = (await reserve(tenantId, '0.02')).body;
    const claimed = await api.call('POST', `/v1/reservations/${operationId}/claim`, { key: agent, body: {} });
    const { claimToken } = claimed.body as { claimToken: string };
    expect(await told(operationId, agent, { costUsd: '2', claimToken })).toEqual([422, 'cost_unconfirmed']);
    expect(await told(operationId, agent, { costUsd: '2', claimToken, confirm: true })).toEqual([403, 'forbidden']);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', reservedUsd: '0.02', openReservations: 1 });
    // Less is an overrun like another; so is up to a dollar, whatever was granted.
    const overrun = (await reserve(tenantId, '0.02')).body;
    expect(await told(overrun.operationId, agent, { costUsd: '1.99' })).toEqual([200, 'committed']);
    const tiny = (await reserve(tenantId, '0.000001')).body;
    expect(await told(tiny.operationId, agent, { costUsd: '1' })).toEqual([200, 'committed']);
    const billed = { costUsd: '2', confirm: true, reason: 'on the bill' };
    expect(await told(operationId, operator, { ...billed, reason: undefined })).toEqual([400, 'invalid_request']);
    expect(await api.admin.reservation(String(operationId), { tenantId })).toMatchObject({
      status: 'granted',
      outcome: null,
    });
    expect(await told(operationId, operator, billed)).toEqual([200, 'committed']);
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '4.99', spentUsd: '4.99' });
    const audit = async (): Promise<object[]> =>
      (await api.admin.audit.list({ tenantId })).entries.filter(({ action }) => action === 'confirm_cost');
    const noted = {
      action: 'confirm_cost',
      details: { operationId, costUsd: '2', grantedUsd: '0.02', reason: billed.reason },
    };
    expect(await audit()).toMatchObject([noted]);
    // By the client, of what another claimed, at any cost; once, however often it is sent.
    const mine = (await reserve(tenantId, '0.02')).body.operationId ?? '';
    await api.call('POST', `/v1/reservations/${mine}/claim`, { key: agent, body: {} });
    const word = { tenantId, costUsd: '0.01', confirm: true, reason: 'its token is lost', author: 'ada' };
    expect(await api.admin.commit(mine, word)).toEqual({ operationId: mine, status: 'committed' });
    expect(await api.admin.commit(mine, { ...word, reason: 'another' })).toMatchObject({ confirmedBefore: true });
    const { reason, author, costUsd } = word;
    const again = { author, details: { operationId: mine, costUsd, grantedUsd: '0.02', reason } };
    expect(await audit()).toMatchObject([again, noted]);
    expect(await told(mine, agent, { costUsd: '0.01', reason })).toEqual([400, 'invalid_request']);
    // What was given up holds nothing that could stay.
    const given = (await reserve(tenantId, '0.02')).body.operationId ?? '';
    await api.admin.release(given, { tenantId });
    const late = await api.call('POST', `/v1/reservations/${given}/commit`, { key: agent, body: { costUsd: '2' } });
    expect(late).toMatchObject({
      status: 422,
      body: { message: expect.stringMatching(/stays released\.$/) as string },
    });
  });

  test('the cost of a call without a reservation is held against what it would have asked for, and against the limit', async () => {
    const tenantId = await stack.tenant('10');
    await api.admin.budget.setPolicy(tenantId, { onUnavailable: 'allow', answerTimeoutMs: 2_000 });
    const told = async (costUsd: string, more: object = {}): Promise<unknown> => {
      const body = { tenantId, costUsd, unreserved: { resource: 'llm', ...more } };
      const answer = await post(`/v1/reservations/${randomUUID()}/commit`, body);
      return [answer.status, answer.body.message ?? answer.body.status];
    };
    const refused = (why: string) => [
      422,
      `${why}. Nothing was recorded. There is no reservation of it, and none was made.`,
    ];
    expect(await told('1000')).toEqual(
      refused(
        'A cost of $1000 is at least 100 times the $10 that could have been granted to the call, by the least limit that covers it',
      ),
    );
    expect(await told('3', { amountUsd: '0.03' })).toEqual(
      refused('A cost of $3 is at least 100 times the $0.03 that the call would have asked for'),
    );
    expect(await told('2.99', { amountUsd: '0.03' })).toEqual([200, 'committed']);
    const none = await told('3', { resource: 'e2b', amountUsd: '0' });
    expect(none).toEqual(refused('A cost of $3 has to be confirmed: the call would have asked for nothing'));
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '2.99' });
  });

  test('XC6: what people read of a call or an order has no control characters', async () => {
    const tenantId = await stack.tenant('10');
    const refused = { status: 400, body: { error: 'invalid_request' } };
    for (const more of [{ kind: 'a\u0007b' }, { model: 'a\u0007b' }, { priceVersion: 'a\nb' }])
      expect(await reserve(tenantId, '1', more)).toMatchObject(refused);
    const freeze = (reason: string) => post(`/v1/tenants/${tenantId}/freeze`, { reason });
    expect(await freeze('a \u001b[2Jloop')).toMatchObject(refused);
    expect(await freeze(' a loop\n')).toMatchObject({ status: 200 });
    expect(await api.admin.budget.unfreeze(tenantId)).toBeDefined();
  });

  test('the same operation asked again gets the same answer, another request under its id none', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    const first = await reserve(tenantId, '4', { operationId });
    const [second, third] = await Promise.all([
      reserve(tenantId, '4', { operationId }),
      reserve(tenantId, '5', { operationId }),
    ]);
    expect(second).toEqual(first);
    expect(third).toMatchObject({ status: 409, body: { error: 'operation_conflict', operationId } });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '4' });
  });

  test('a denial names the quota, and says when a hold makes room', async () => {
    const tenantId = await stack.tenant('10');
    await reserve(tenantId, '9', { ttlSeconds: 90 });
    const denied = await reserve(tenantId, '2');
    expect(denied).toMatchObject({
      status: 429,
      body: { error: 'quota_exceeded', resourceType: 'llm', quotaDetails: { scope: 'tenant', remainingUsd: 1 } },
    });
    expect(Number(denied.retryAfter)).toBeGreaterThan(80);
    expect(Number(denied.retryAfter)).toBeLessThanOrEqual(90);
    expect(denied.body.retryAfter).toBe(Number(denied.retryAfter));
    const hopeless = await reserve(tenantId, '11');
    expect(hopeless.status).toBe(429);
    // The header is always there; without it clients of HTTP ask again within a second.
    expect(hopeless.retryAfter).toBe('3600');
    expect(hopeless.body).not.toHaveProperty('retryAfter');
    expect([denied.body.action, hopeless.body.action]).toEqual([
      expect.stringMatching(/^What is missing is only held.*: ask again after \d+ seconds, or raise the quota/),
      expect.stringMatching(/waiting does not help[.] Look in an hour/),
    ]);
  });

  test('a grant in part when the whole does not fit', async () => {
    const tenantId = await stack.tenant('10');
    await reserve(tenantId, '9');
    expect(await reserve(tenantId, '3', { minimumUsd: '0.5' })).toMatchObject({
      status: 201,
      body: { grantedUsd: '1', partial: true },
    });
  });

  test('release frees; a cost that comes after it is still recorded', async () => {
    const tenantId = await stack.tenant('10');
    const granted = await reserve(tenantId, '4');
    expect(await end(granted, 'release', { tenantId })).toMatchObject({ status: 200, body: { status: 'released' } });
    expect(await end(granted, 'release', { tenantId })).toMatchObject({ status: 200 });
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '0', reservedUsd: '0' });
    expect(await end(granted, 'commit', { tenantId, costUsd: '3' })).toMatchObject({ status: 200 });
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '3', spentUsd: '3', reservedUsd: '0' });
    expect(await end(granted, 'release', { tenantId })).toMatchObject({ status: 409 });
  });

  test('a release that comes first refuses its reserve', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    expect(await post(`/v1/reservations/${operationId}/release`, { tenantId })).toMatchObject({ status: 200 });
    expect(await reserve(tenantId, '1', { operationId })).toMatchObject({
      status: 409,
      body: { error: 'operation_released' },
    });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0' });
  });

  test('running out: unclaimed is released, claimed is charged, unless the caller chose otherwise', async () => {
    const tenantId = await stack.tenant('10');
    const short = { ttlSeconds: 1 };
    const [unclaimed, claimed, settles, releases] = await Promise.all([
      reserve(tenantId, '1', short),
      reserve(tenantId, '2', short),
      reserve(tenantId, '3', { ...short, onExpiry: 'settle' }),
      reserve(tenantId, '4', { ...short, onExpiry: 'release' }),
    ]);
    for (const one of [claimed, releases])
      expect(await end(one, 'claim', { tenantId })).toMatchObject({
        status: 200,
        body: { claimToken: expect.any(String) as string },
      });
    const statuses = async (): Promise<unknown[]> =>
      Promise.all(
        [unclaimed, claimed, settles, releases].map(async ({ body }) => {
          const shown = await api.request(`/v1/reservations/${body.operationId}?tenantId=${tenantId}`);
          const { status, settlement } = (await shown.json()) as { status: string; settlement: string };
          return `${status} ${settlement}`;
        }),
      );
    await sleep(1_500);
    await settled(tenantId);
    expect(await statuses()).toEqual([
      'expired expired',
      'committed unverified',
      'committed unverified',
      'expired expired',
    ]);
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '5', reservedUsd: '0' });
    // What becomes known later corrects it.
    expect(await end(settles, 'commit', { tenantId, costUsd: '0.5' })).toMatchObject({ status: 200 });
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '2.5', spentUsd: '2.5' });
  });

  test('a claim keeps others out, and extending holds on', async () => {
    const tenantId = await stack.tenant('10');
    const granted = await reserve(tenantId, '2', { ttlSeconds: 1 });
    const { claimToken } = (await end(granted, 'claim', { tenantId })).body;
    expect(await end(granted, 'claim', { tenantId })).toMatchObject({ status: 409, body: { error: 'claim_refused' } });
    expect(await end(granted, 'commit', { tenantId, costUsd: '1' })).toMatchObject({ status: 409 });
    const extended = await end(granted, 'extend', { tenantId, ttlSeconds: 60 });
    expect(Date.parse(String(extended.body.expiresAt))).toBeGreaterThan(Date.now() + 50_000);
    // Never for less long.
    expect(await end(granted, 'extend', { tenantId, ttlSeconds: 5 })).toMatchObject({ body: extended.body });
    await sleep(1_300);
    expect(await end(granted, 'commit', { tenantId, costUsd: '1', claimToken })).toMatchObject({ status: 200 });
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '1', reservedUsd: '0' });
  });

  test('whoever may make no call is told what became of the reservation, and what to do', async () => {
    const tenantId = await stack.tenant('10');
    const [committed, released] = [await reserve(tenantId, '1'), await reserve(tenantId, '1')];
    const denied = await reserve(tenantId, '100');
    await end(committed, 'commit', { tenantId, costUsd: '1' });
    await end(released, 'release', { tenantId });
    await settled(tenantId);
    const claimed = await reserve(tenantId, '1');
    await end(claimed, 'claim', { tenantId });
    const told = async (of: Answer, verb: 'claim' | 'commit', more: object = {}) => {
      const { status, body } = await end(of, verb, { tenantId, ...more });
      return [status, body.error, `${String(body.message)} ${String(body.action)}`];
    };
    const refused = (words: RegExp): unknown[] => [409, 'claim_refused', expect.stringMatching(words)];
    expect(await told(committed, 'claim')).toEqual(refused(/is committed.* one was made, or may have been/));
    expect(await told(claimed, 'claim')).toEqual(refused(/is claimed already.* before a restart/));
    expect(await told(released, 'claim')).toEqual(refused(/is released.* ended before it was used/));
    expect(await told(denied, 'claim')).toEqual(refused(/is denied.* nothing was granted/));
    expect(await told(claimed, 'commit', { costUsd: '1' })).toEqual(
      refused(/no claim token was said.* --confirm --reason/),
    );
    const claimToken = randomUUID();
    expect(await told(claimed, 'commit', { costUsd: '1', claimToken })).toEqual(refused(/another claim token/));
  });

  test('one tenant cannot end, see or spend what another reserved', async () => {
    const [mine, theirs] = [await stack.tenant('10'), await stack.tenant('10')];
    const granted = await reserve(mine, '4');
    for (const verb of ['commit', 'extend', 'claim'] as const) {
      const body = {
        tenantId: theirs,
        ...(verb === 'commit' ? { costUsd: '1' } : {}),
        ...(verb === 'extend' ? { ttlSeconds: 9 } : {}),
      };
      expect(await end(granted, verb, body)).toMatchObject({ status: 404, body: { error: 'unknown_operation' } });
    }
    const key = await api.keyOf(theirs);
    const shown = await api.request(`/v1/reservations/${granted.body.operationId}`, { key });
    expect(shown.status).toBe(404);
    expect(await stack.books(mine)).toMatchObject({ reservedUsd: '4', ledgerUsd: '0' });
  });

  test('the typed client reserves around a call: committed, released, or left to be charged', async () => {
    const tenantId = await stack.tenant('10');
    const client = await api.clientOf(tenantId);
    const asked = { resource: 'llm' as const, amountUsd: '2' };
    const value = await client.withReservation(asked, async ({ grantedUsd }) => ({
      costUsd: '0.5',
      value: grantedUsd,
    }));
    expect(value).toBe('2');
    const notMade = client.withReservation(asked, () => Promise.reject(new NotBilledError('no connection')));
    await expect(notMade).rejects.toThrow('no connection');
    const lost = client.withReservation({ ...asked, ttlSeconds: 1 }, () => Promise.reject(new Error('timed out')));
    await expect(lost).rejects.toThrow('timed out');
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '2.5', reservedUsd: '0' });
    await expect(client.reserve({ ...asked, amountUsd: '9' })).rejects.toMatchObject({
      code: 'quota_exceeded',
      status: 429,
    });
  });

  test('callers that go before their request is begun leave nothing held', async () => {
    const tenantId = await stack.tenant('1000');
    const key = await api.keyOf(tenantId);
    const cut = async (): Promise<void> => {
      const body = JSON.stringify({ operationId: randomUUID(), resource: 'llm', amountUsd: '1', ttlSeconds: 600 });
      const socket = connect(api.port, '127.0.0.1').on('error', () => undefined);
      socket.write(
        `POST /v1/reservations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
      await new Promise<void>((resolve) => socket.end(resolve));
      socket.destroy();
    };
    await Promise.all(Array.from({ length: 400 }, cut));
    const rows = async (status: string): Promise<number> => {
      const { rows: found } = await stack.admin.query<{ n: number }>(
        'SELECT count(*)::integer AS n FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = $2',
        [tenantId, status],
      );
      return found[0]?.n ?? 0;
    };
    await until('some were begun', async () => (await rows('released')) > 0);
    await until('nothing is held', async () => (await rows('granted')) === 0);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0', reservedUsd: '0' });
  });

  test('200 callers at once against a limit that fits 50: exactly 50 are granted', async () => {
    const tenantId = await stack.tenant('100');
    const answers = await Promise.all(Array.from({ length: 200 }, () => reserve(tenantId, '2')));
    const granted = answers.filter(({ status }) => status === 201);
    expect(granted).toHaveLength(50);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(150);
    await Promise.all(granted.map((one) => end(one, 'commit', { tenantId, costUsd: '2' })));
    expect(await settled(tenantId)).toMatchObject({ ledgerUsd: '100', spentUsd: '100', reservedUsd: '0' });
  });
});

describe('an authority that does not answer', () => {
  test('holds nothing: the request is released, and the caller told', async () => {
    const stack = await TestStack.start({ worker: false });
    const api = await startTestApi(stack);
    try {
      const tenantId = await stack.tenant('10');
      await stack.admin.query('UPDATE copilot_internal.tenants SET answer_timeout_ms = 300 WHERE tenant_id = $1', [
        tenantId,
      ]);
      const operationId = randomUUID();
      const response = await api.request('/v1/reservations', {
        method: 'POST',
        body: { operationId, tenantId, resource: 'llm', amountUsd: '1' },
      });
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ error: 'authority_unavailable', operationId });
      await stack.startHosted();
      for (let tries = 0; tries < 100; tries += 1) {
        const { rows } = await stack.admin.query(
          'SELECT status FROM copilot_internal.reservations WHERE operation_id = $1',
          [operationId],
        );
        if ((rows[0] as { status?: string } | undefined)?.status === 'released') break;
        await sleep(50);
      }
      expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    } finally {
      await api.close();
      await stack.stop();
    }
  });
});
