/** Requirement V5: end to end through HTTP, against a real Temporal and Postgres. */
import { randomUUID } from 'node:crypto';
import { QuotaExceededError } from '../../client';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

type Row = Record<string, unknown>;

describe('end to end (V5)', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const records = async (key: string, query = ''): Promise<Row[]> =>
    (await api.call('GET', `/v1/cost-records?limit=1000${query}`, { key })).body.records as Row[];
  const code = (text: string) => ({ text: '', code: `console.log(${JSON.stringify(text)})` });
  /** A call outside any workflow, from its reservation to its cost. */
  async function spend(tenantId: string, costUsd: string, more: Row = {}): Promise<number> {
    const operationId = randomUUID();
    const reserved = await api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId, resource: 'llm', amountUsd: costUsd, ...more },
    });
    if (reserved.status !== 201) return reserved.status;
    const { status } = await api.call('POST', `/v1/reservations/${operationId}/commit`, {
      body: { tenantId, costUsd },
    });
    await until('it is folded', async () => {
      const shown = await api.call('GET', `/v1/reservations/${operationId}?tenantId=${tenantId}`);
      return shown.body.status === 'committed';
    });
    return status;
  }

  test('1 the full lifecycle: reserved, called, committed, and the balance is what the ledger says', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId);
    await talk.say('Hello.');
    await talk.close();
    const lines = await records(talk.key);
    expect(lines).toMatchObject([{ kind: 'llm.call', entry: 'commit', settlement: 'actual' }]);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: lines[0]?.amountUsd, openReservations: 0 });
  });

  test('2 several operations in one conversation add up', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.replies = [code('one'), code('two'), { text: 'done' }];
    await talk.say('Work.');
    await talk.close();
    const lines = await records(talk.key);
    expect(lines.map(({ kind }) => kind).sort()).toEqual(['llm.call', 'llm.call', 'llm.call', 'sandbox.create']);
    const sum = lines.reduce((total, { amountUsd }) => total + BigInt(Math.round(Number(amountUsd) * 1e12)), 0n);
    expect(Number(sum) / 1e12).toBeCloseTo(Number((await talk.show()).costUsd), 11);
  });

  test('3 each line says whose it is: tenant, user, conversation, turn, model, price', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { userId: 'ada' });
    const turnId = await talk.post('Hello.');
    await talk.ended(turnId);
    await talk.close();
    expect(await records(talk.key)).toMatchObject([
      {
        tenantId,
        userId: 'ada',
        conversationId: talk.id,
        runId: null,
        turnId,
        model: 'claude-haiku-4-5',
        priceVersion: expect.stringMatching(/^anthropic\/claude-haiku-4-5@/) as string,
        resource: 'llm',
      },
    ]);
  });

  test('4 a run’s lines name the run instead', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    expect(await records(await api.keyOf(tenantId))).toMatchObject([
      { runId: run.runId, conversationId: null, turnId: null },
    ]);
  });

  test('5 what fits is allowed', async () => {
    const tenantId = await stack.tenant('1');
    expect(await spend(tenantId, '1')).toBe(200);
    expect((await stack.books(tenantId)).spentUsd).toBe('1');
  });

  test('6 what does not fit is denied, with the quota that bound and when it resets', async () => {
    const tenantId = await stack.tenant('1');
    expect(await spend(tenantId, '0.5')).toBe(200);
    const answer = await api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd: '0.500000000001' },
    });
    expect(answer).toMatchObject({
      status: 429,
      body: {
        error: 'quota_exceeded',
        quotaDetails: { scope: 'tenant', limitUsd: 1, currentSpendUsd: 0.5, remainingUsd: 0.5 },
      },
    });
    expect(answer.body.retryAfter).toBeGreaterThan(0);
  });

  test('7 a denied operation writes no cost', async () => {
    const tenantId = await stack.tenant('1');
    expect(await spend(tenantId, '2')).toBe(429);
    expect(await records(await api.keyOf(tenantId))).toEqual([]);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', spentUsd: '0' });
  });

  test('8 a turn that is denied midway ends its stream as C5 says; what came before is billed', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { userId: 'ada' });
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'e2b', limitUsd: '0.001' }]);
    stack.anthropic.knobs.replies = [code('never run')];
    const events = await talk.say('Work.');
    expect(events.slice(-2)).toMatchObject([
      { event: 'error', data: { error: 'quota_exceeded', resourceType: 'e2b', quotaDetails: { limitUsd: 0.001 } } },
      { event: 'done', data: { status: 'quota_exceeded' } },
    ]);
    await talk.close();
    expect((await records(talk.key)).map(({ kind }) => kind)).toEqual(['llm.call']);
  });

  test('9 a message without money is denied before anything is stored, as a stream where one was asked for (C3)', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('0'));
    const response = await talk.stream('Hello.');
    expect(response.status).toBe(429);
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await response.text()).toMatch(
      /^event: error\ndata: {"error":"quota_exceeded".*\n\nevent: done\ndata: {"status":"quota_exceeded"}\n\n$/,
    );
    expect(await talk.turns()).toEqual([]);
    await talk.close();
  });

  test('9b a message of a user whose own quota is used up is denied likewise', async () => {
    const tenantId = await stack.tenant('5', { userLimitUsd: '0' });
    const talk = await TestConversation.start(api, tenantId, { userId: 'ada' });
    expect(await talk.call('POST', '/messages', { message: 'Hello.' })).toMatchObject({
      status: 429,
      body: { quotaDetails: { scope: 'user', scopeId: 'ada' } },
    });
    await talk.close();
  });

  test('10 a cost and its balance are written together or not at all', async () => {
    const tenantId = await stack.tenant('5');
    await stack.admin.query(
      `ALTER TABLE copilot_internal.cost_records ADD CONSTRAINT broken CHECK (tenant_id <> '${tenantId}') NOT VALID`,
    );
    const operationId = randomUUID();
    await api.call('POST', '/v1/reservations', { body: { tenantId, operationId, resource: 'llm', amountUsd: '1' } });
    await api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd: '1' } });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', spentUsd: '0', reservedUsd: '1' });
    await stack.admin.query('ALTER TABLE copilot_internal.cost_records DROP CONSTRAINT broken');
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('it is folded', async () => (await stack.books(tenantId)).spentUsd === '1');
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '1', reservedUsd: '0', openReservations: 0 });
  });

  test('11 one tenant’s spend neither shows in another’s nor blocks it', async () => {
    const [one, other] = [await stack.tenant('1'), await stack.tenant('1')];
    expect(await spend(one, '1')).toBe(200);
    expect(await spend(other, '1')).toBe(200);
    const [keyOfOne, keyOfOther] = [await api.keyOf(one), await api.keyOf(other)];
    expect((await records(keyOfOne)).map(({ tenantId }) => tenantId)).toEqual([one]);
    expect((await records(keyOfOther)).map(({ tenantId }) => tenantId)).toEqual([other]);
    expect(await api.call('GET', `/v1/cost-records?tenantId=${one}`, { key: keyOfOther })).toMatchObject({
      status: 403,
    });
  });

  test('12 another tenant finds no conversation, message or event of this one', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    const key = await api.keyOf(await stack.tenant('5'));
    for (const path of ['', '/messages', '/events'])
      expect(await api.call('GET', `/v1/conversations/${talk.id}${path}`, { key })).toMatchObject({ status: 404 });
    for (const path of ['/messages', '/interrupt', '/close'])
      expect(
        await api.call('POST', `/v1/conversations/${talk.id}${path}`, {
          key,
          body: path === '/messages' ? { message: 'x' } : {},
        }),
      ).toMatchObject({ status: 404 });
    expect((await api.call('GET', '/v1/conversations', { key })).body).toEqual({
      conversations: [],
      nextCursor: null,
    });
    await talk.close();
  });

  test('13 a quota that is missing is said, and nothing is called', async () => {
    const tenantId = await stack.tenant('5');
    await stack.admin.query('DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1', [tenantId]);
    const talk = await TestConversation.start(api, tenantId);
    const calls = stack.anthropic.calls().billable;
    await talk.say('Hello.');
    expect((await talk.turns())[0]).toMatchObject({ status: 'failed', failure: { code: 'quota_missing' } });
    expect(stack.anthropic.calls().billable).toBe(calls);
    await talk.close();
  });

  test('14 estimate and actual cost are kept apart', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId);
    await talk.say('Hello.');
    await talk.close();
    const [line] = await records(talk.key);
    expect(Number(line?.estimatedUsd)).toBeGreaterThan(Number(line?.amountUsd));
    expect(Number(line?.amountUsd)).toBeGreaterThan(0);
  });

  test('15 concurrent spends of one tenant come to exactly their sum', async () => {
    const tenantId = await stack.tenant('10');
    const statuses = await Promise.all(Array.from({ length: 20 }, () => spend(tenantId, '0.01')));
    expect(statuses).toEqual(Array.from({ length: 20 }, () => 200));
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.2', spentUsd: '0.2', openReservations: 0 });
  });

  test('16 two hundred costs are recorded one by one, and read page by page', async () => {
    const tenantId = await stack.tenant('10');
    await Promise.all(Array.from({ length: 200 }, () => spend(tenantId, '0.001')));
    const client = await api.clientOf(tenantId);
    const ids = new Set<string>();
    for await (const { costRecordId } of client.usage.allRecords({ limit: 37 })) ids.add(costRecordId);
    expect(ids.size).toBe(200);
    const csv = await client.usage.exportCsv();
    expect(csv.trim().split('\r\n')).toHaveLength(201);
    expect(csv).toMatch(/^costRecordId,postedAt,recordedAt,tenantId,userId,/);
  });

  test('17 records are filtered by user, kind, model, resource, settlement, operation and time', async () => {
    const tenantId = await stack.tenant('5');
    await spend(tenantId, '0.1', { userId: 'ada', kind: 'one', model: 'm1' });
    await spend(tenantId, '0.2', { userId: 'bob', kind: 'two', model: 'm2', resource: 'e2b' });
    const key = await api.keyOf(tenantId);
    const amounts = async (query: string): Promise<unknown[]> =>
      (await records(key, query)).map(({ amountUsd }) => amountUsd);
    expect(await amounts('&userId=ada')).toEqual(['0.1']);
    expect(await amounts('&kind=two')).toEqual(['0.2']);
    expect(await amounts('&model=m1')).toEqual(['0.1']);
    expect(await amounts('&resource=e2b')).toEqual(['0.2']);
    expect(await amounts('&settlement=unverified')).toEqual([]);
    expect(await amounts('&from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z')).toEqual([]);
    // A day is its beginning in UTC.
    expect(await amounts('&from=2020-01-01&to=2020-02-01')).toEqual([]);
    expect(await amounts('&from=2020-01-01&userId=ada')).toEqual(['0.1']);
    const december = { from: '2019-12-01', to: '2020-01-01' };
    expect(await (await api.clientOf(tenantId)).usage.summary({ groupBy: 'user', ...december })).toMatchObject({
      from: '2019-12-01T00:00:00.000Z',
      to: '2020-01-01T00:00:00.000Z',
      lines: [],
    });
    expect(await api.call('GET', '/v1/usage?from=december', { key })).toMatchObject({
      status: 400,
      body: {
        message:
          'from: must be a moment such as 2026-12-01T08:00:00Z, or a day such as 2026-12-01 for its beginning in UTC. Nothing was done.',
      },
    });
    const [first] = await records(key, '&userId=bob');
    expect(await amounts(`&operationId=${String(first?.operationId)}`)).toEqual(['0.2']);
    const usage = await api.call('GET', '/v1/usage?groupBy=user&format=csv', { key }).catch(() => undefined);
    expect(usage).toBeUndefined();
    expect(await (await api.request('/v1/usage?groupBy=user&format=csv', { key })).text()).toBe(
      'group,costUsd,unverifiedUsd,operations,cacheSavedUsd\r\nbob,0.2,0,1,0\r\nada,0.1,0,1,0\r\n',
    );
  });

  test('18 the gate answers from committed state: it lets pass what fits and names the quota otherwise', async () => {
    const tenantId = await stack.tenant('1');
    const client = await api.clientOf(tenantId);
    expect(await client.checkQuota({ estimatedUsd: '1' })).toMatchObject({ allowed: true, estimatedCostUsd: '1' });
    expect(await client.checkQuota({ resource: 'e2b' })).toMatchObject({ allowed: true, estimatedCostUsd: '0.0276' });
    const denied = client.checkQuota({
      call: { model: 'claude-haiku-4-5', inputTokens: 2_000_000, maxOutputTokens: 1 },
    });
    await expect(denied).rejects.toBeInstanceOf(QuotaExceededError);
    await expect(denied).rejects.toMatchObject({ quota: { limitUsd: '1', remainingUsd: '1' }, resourceType: 'llm' });
    await expect(
      client.checkQuota({ call: { model: 'no-such', inputTokens: 1, maxOutputTokens: 1 } }),
    ).rejects.toMatchObject({
      code: 'unpriced_model',
    });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('19 a client that disconnects loses nothing and stops nothing; unless it asks to (F6)', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    stack.anthropic.knobs.deltaSpacingMs = 100;
    stack.anthropic.knobs.replies = [{ text: 'words '.repeat(200) }, { text: 'words '.repeat(2_000) }];
    const leave = async (more: Row): Promise<string> => {
      const leaving = new AbortController();
      const response = await talk.stream('Talk.', more, leaving.signal);
      await response.body?.getReader().read();
      await until('it talks', () => stack.anthropic.calls().inFlight > 0);
      leaving.abort();
      return response.headers.get('x-turn-id') ?? '';
    };
    expect(await talk.ended(await leave({}))).toBe('completed');
    expect(await talk.ended(await leave({ interruptOnDisconnect: true }))).toBe('interrupted');
    await talk.close();
    expect((await records(talk.key)).map(({ settlement }) => settlement)).toEqual(['actual', 'unverified']);
  });

  test('20 a stream that breaks is taken up again: the typed client sees each piece once', async () => {
    const tenantId = await stack.tenant('5');
    const client = await api.clientOf(tenantId);
    const { conversationId } = await client.conversations.create();
    stack.anthropic.knobs.deltaSpacingMs = 60;
    const text = Array.from({ length: 30 }, (_, index) => `${index} `.padEnd(200, '.')).join('');
    stack.anthropic.knobs.replies = [{ text }];
    // Every connection is cut after a while, as a proxy would.
    const original = globalThis.fetch;
    let cut = 0;
    globalThis.fetch = async (input, init) => {
      const response = await original(input, init);
      if (!(typeof input === 'string' && input.includes('/events')) || cut >= 3 || !response.body) return response;
      cut += 1;
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      const endMs = Date.now() + 400;
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { done, value } = await reader.read();
          if (done) return controller.close();
          if (Date.now() > endMs) return controller.error(new Error('cut'));
          controller.enqueue(value);
        },
      });
      return new Response(body, { status: response.status, headers: response.headers });
    };
    try {
      let seen = '';
      const ids: number[] = [];
      for await (const { type, id, data } of client.conversations.stream(conversationId, { message: 'Talk.' })) {
        if (type === 'delta') seen += String(data.text);
        if (id !== undefined) ids.push(id);
      }
      expect(cut).toBeGreaterThan(1);
      expect(seen).toBe(text);
      expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
    } finally {
      globalThis.fetch = original;
    }
    await client.conversations.close(conversationId);
  });
});
