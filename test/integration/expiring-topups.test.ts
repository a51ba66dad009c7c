/** Top-ups that expire by themselves: for whoever looks, and whoever asks, by signal and under a mandate (B4, docs/decisions/0060). */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetCommand } from '../../core/budget/commands';
import { decideAndRecord } from '../../store/budget-batch';
import { lookAtBooks } from '../../store/books';
import { startTestApi, type TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { decidedDirectly, type promptAnyhow } from '../support/mandates';
import { TestStack, until } from '../support/stack';
import { inHours, moneyAt } from '../support/top-ups';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

const enforced = { llm: true, e2b: true };

let stack: TestStack;
/** Decides by itself once it may. */
let api: TestApi;
/** Asks the authority alone. */
let signalling: TestApi;
let money: ReturnType<typeof moneyAt>;
beforeAll(async () => {
  stack = await TestStack.start({ worker: false });
  await stack.startHosted({ SPENDLOCK_MANDATES: 'on' });
  api = await startTestApi(stack, { mandates: true });
  signalling = await startTestApi(stack, { mandates: false });
  money = moneyAt({ stack, api });
});
afterAll(async () => {
  await api.close();
  await signalling.close();
  await stack.stop();
});

describe('a top-up that expires', () => {
  test('lifts the limit until its moment, and takes what is unused of it then: for whoever looks, and whoever asks', async () => {
    const tenantId = await money.tenantOf('10');
    expect(await money.topUp(tenantId, '5', { expiresAt: inHours(1) })).toMatchObject({
      status: 200,
      body: { amountUsd: '5', expiresAt: expect.stringMatching(/Z$/) as string },
    });
    await money.spend(tenantId, '12');
    expect(await money.wholeLimitEverywhere(tenantId)).toEqual({
      quotas: ['15'],
      list: ['15'],
      overview: ['15'],
      gauge: ['15'],
    });
    expect((await money.shown(tenantId)).expiringTopups).toMatchObject([{ amountUsd: '5' }]);
    await money.expireFirst(tenantId, 500);
    await until('its moment has come', async () => (await money.shown(tenantId)).expiringTopups.length === 0);
    // Nobody has decided since.
    expect(await money.wholeLimitEverywhere(tenantId)).toEqual({
      quotas: ['12'],
      list: ['12'],
      overview: ['12'],
      gauge: ['12'],
    });
    expect(await money.figures(tenantId)).toEqual(['10', '2', '0']);
    const check = { tenantId, resource: 'llm', estimatedUsd: '0.01' };
    expect((await api.call('POST', '/v1/quota-checks', { body: check })).status).toBe(429);
    expect((await money.reserve(tenantId, '0.01')).status).toBe(429);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test.each(['by signal', 'under a mandate'])('is gone for the next decision %s, and none before', async (way) => {
    const at = way === 'by signal' ? signalling : api;
    const tenantId = await money.tenantOf('10');
    if (way === 'under a mandate')
      await until('whoever asks decides', async () => {
        await money.reserve(tenantId, '0.000001', { ttlSeconds: 1 }, at);
        return (await decidedDirectly(stack, tenantId)) > 0;
      });
    await money.topUp(tenantId, '5', { expiresAt: inHours(1) });
    await money.spend(tenantId, '9');
    const expiresAtMs = await money.expireFirst(tenantId, 3_000);
    // Whatever is asked for around the moment: before it there is room for all of it, and after it for none.
    const answers: { askedMs: number; answeredMs: number; status: number }[] = [];
    while (!answers.some(({ askedMs }) => askedMs > expiresAtMs + 300)) {
      const askedMs = Date.now();
      const { status, body } = await money.reserve(tenantId, '2', {}, at);
      answers.push({ askedMs, answeredMs: Date.now(), status });
      if (status === 201) await money.release(tenantId, String(body.operationId));
      await sleep(40);
    }
    const early = answers.filter(({ answeredMs }) => answeredMs < expiresAtMs);
    const late = answers.filter(({ askedMs }) => askedMs > expiresAtMs);
    expect(new Set(early.map(({ status }) => status))).toEqual(new Set([201]));
    expect(new Set(late.map(({ status }) => status))).toEqual(new Set([429]));
    expect(await money.figures(tenantId)).toEqual(['10', '0', '1']);
  });

  test('leaves a reservation what it holds, and nobody else gets what comes back of it', async () => {
    const tenantId = await money.tenantOf('10');
    await money.topUp(tenantId, '5', { expiresAt: inHours(1) });
    const [four, eleven] = [await money.hold(tenantId, '4'), await money.hold(tenantId, '11')];
    await money.expireFirst(tenantId);
    expect((await money.reserve(tenantId, '0.01')).status).toBe(429);
    expect(await money.figures(tenantId)).toEqual(['10', '5', '0']);
    await money.release(tenantId, four);
    await until('it came back', async () => (await stack.books(tenantId)).reservedUsd === '11');
    expect(await money.figures(tenantId)).toEqual(['10', '1', '0']);
    expect((await money.reserve(tenantId, '0.01')).status).toBe(429);
    await api.call('POST', `/v1/reservations/${eleven}/commit`, { body: { tenantId, costUsd: '10.5' } });
    await until('it is folded', async () => (await stack.books(tenantId)).spentUsd === '10.5');
    expect(await money.figures(tenantId)).toEqual(['10', '0.5', '0']);
  });

  test.each([
    ['of the tenant', {}],
    ['of a label', { scope: 'label', scopeId: 'team:search', period: 'month' }],
  ])(
    '%s: what comes back of it in a batch is not granted in the same one, and the guard below goes by it too',
    async (_of, scope) => {
      const tenantId = await money.tenantOf(Object.keys(scope).length === 0 ? '10' : '1000');
      const labels = { team: 'search' };
      if (Object.keys(scope).length > 0)
        await api.admin.tenants.setQuotas(tenantId, [
          { scope: 'label', scopeId: 'team:search', resourceType: 'all', period: 'month', limitUsd: '10' },
        ]);
      await money.topUp(tenantId, '5', { ...scope, expiresAt: inHours(1) });
      await money.topUp(tenantId, '3', scope);
      const operationId = await money.hold(tenantId, '15', { labels });
      await money.expireFirst(tenantId);
      const ask = (amountUsd: string): BudgetCommand =>
        ({
          ...{ type: 'reserve', operationId: randomUUID(), resource: 'llm', priceVersion: 'test', ttlSeconds: 60 },
          ...{ kind: 'external.call', amountUsd, labels },
        }) as const;
      // Of $18 the $15 come back, $5 of them for nobody.
      const decided = await decideAndRecord(stack.pool, {
        ...{ tenantId, enforced, timeoutMs: 5_000 },
        commands: [{ type: 'release', operationId }, ask('13.01'), ask('12'), ask('1.01'), ask('1')],
      });
      expect(decided?.decision.answers.map((answer) => answer?.decision)).toEqual([
        ...['denied', 'granted', 'denied', 'granted'],
      ]);
      const query = Object.keys(scope).length > 0 ? { label: ['team:search'] } : {};
      expect(await money.figures(tenantId, query)).toEqual(['10', '3', '0']);
    },
  );

  test('the guard refuses what a decision of before the rule would grant of what came back', async () => {
    const tenantId = await money.tenantOf('10');
    await money.topUp(tenantId, '5', { expiresAt: inHours(1) });
    await money.hold(tenantId, '15');
    await money.expireFirst(tenantId);
    const change = (sequence: number, reservedDeltaUsd: number, grant: boolean) => ({
      ...{ sequence, resource: 'llm', reservedDeltaUsd, spentDeltaUsd: 0, postedAt: new Date().toISOString(), grant },
      enforced: true,
    });
    const record = (...changes: object[]): Promise<unknown> =>
      stack.admin.query('SELECT copilot_internal.check_and_record_quota_atomic($1, $2)', [
        tenantId,
        JSON.stringify(changes),
      ]);
    await expect(record(change(0, -15, false), change(1, 10.01, true))).rejects.toThrow(
      /lift the all quota of tenant .* to 10\.01\d* USD, above its limit of 10\.0+ USD/,
    );
    await record(change(0, -15, false), change(1, 10, true));
    expect(await money.figures(tenantId)).toEqual(['10', '0', '0']);
  });

  test('several of one limit: the first to expire is spent first, and each takes what is unused of it', async () => {
    const tenantId = await money.tenantOf('10');
    for (const [amountUsd, hours] of [
      ['4', 2],
      ['5', 1],
    ] as const)
      await money.topUp(tenantId, amountUsd, { expiresAt: inHours(hours) });
    await money.topUp(tenantId, '2');
    expect((await money.shown(tenantId)).expiringTopups.map(({ amountUsd }) => amountUsd)).toEqual(['5', '4']);
    await money.spend(tenantId, '13');
    await money.expireFirst(tenantId);
    expect(await money.figures(tenantId)).toEqual(['10', '9', '6']);
    await money.spend(tenantId, '1');
    await money.expireFirst(tenantId);
    expect(await money.figures(tenantId)).toEqual(['10', '6', '2']);
    expect((await money.reserve(tenantId, '2.01')).status).toBe(429);
    expect((await money.reserve(tenantId, '2')).status).toBe(201);
  });

  test('that has expired is gone by the limit of before, whoever sets another first', async () => {
    const tenantId = await money.tenantOf('10');
    await money.topUp(tenantId, '10');
    await money.topUp(tenantId, '10', { expiresAt: inHours(1) });
    await money.spend(tenantId, '13');
    await money.expireFirst(tenantId);
    // 3 of it are spent. Nobody has decided since, and the limit is lowered.
    expect(await money.figures(tenantId)).toEqual(['10', '13', '10']);
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'all', period: 'month', limitUsd: '5' }]);
    expect(await money.figures(tenantId)).toEqual(['5', '13', '5']);
    expect((await money.reserve(tenantId, '5.01')).status).toBe(429);
    expect((await money.reserve(tenantId, '5')).status).toBe(201);
  });

  test('is refused by name where its moment is none that there may be, and a repeat gets its answer', async () => {
    const tenantId = await money.tenantOf('10');
    for (const expiresAt of [
      new Date(Date.now() - 1_000).toISOString(),
      inHours(24 * 367),
      'tomorrow',
      '2027-01-01',
      5,
    ])
      expect(await money.topUp(tenantId, '1', { expiresAt })).toMatchObject({
        status: 400,
        body: { error: 'invalid_request', message: expect.stringContaining('expiresAt') as string },
      });
    expect((await money.shown(tenantId)).topupUsd).toBe('0');
    const expiresAt = new Date(Date.now() + 700).toISOString();
    const ask = { body: { amountUsd: '1', reason: 'x', expiresAt }, headers: { 'idempotency-key': randomUUID() } };
    const first = await api.call('POST', `/v1/tenants/${tenantId}/topups`, ask);
    await sleep(800);
    expect(await api.call('POST', `/v1/tenants/${tenantId}/topups`, ask)).toEqual({ ...first, status: 200 });
    const { rows } = await stack.admin.query(
      `SELECT details ->> 'expiresAt' AS "expiresAt" FROM copilot_internal.audit_entries WHERE tenant_id = $1 AND action = 'top_up'`,
      [tenantId],
    );
    expect(rows).toEqual([{ expiresAt }]);
  });

  test('there are fifty of one limit at most; what is removed takes them with it', async () => {
    const tenantId = await money.tenantOf('10');
    for (let one = 0; one < 50; one += 1)
      expect((await money.topUp(tenantId, '1', { expiresAt: inHours(1 + one) })).status).toBe(200);
    expect(await money.topUp(tenantId, '1', { expiresAt: inHours(1) })).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('50 top-ups of this limit expire') as string },
    });
    expect((await money.topUp(tenantId, '1')).status).toBe(200);
    expect(await money.figures(tenantId)).toEqual(['10', '51', '61']);
    const { rows } = await stack.admin.query<{ entries: number }>(
      `SELECT count(*)::integer AS entries FROM copilot_internal.audit_entries WHERE tenant_id = $1 AND action = 'top_up'`,
      [tenantId],
    );
    expect(rows[0]?.entries).toBe(51);
  });

  test('on the command line: said when it is made, and what expires when is shown', async () => {
    const tenantId = await money.tenantOf('10');
    const expires = inHours(5);
    const made = await spendlock(
      api,
      'budget',
      'topup',
      tenantId,
      '3',
      '--resource',
      'all',
      '--expires',
      expires,
      '--reason',
      'x',
    );
    const moment = expires.slice(0, 16).replace('T', ' ');
    expect(made).toMatchObject({ status: 0, out: expect.stringContaining(`$3.00 until ${moment}`) as string });
    expect((await spendlock(api, 'budget', 'show', tenantId)).out).toContain(
      `of tenant all per month: what is unused of $3.00 expires ${moment}`,
    );
    const [topUp, why] = [
      ['budget', 'topup', tenantId, '1'],
      ['--resource', 'all', '--reason', 'x', '--json'],
    ];
    const earliest = Date.parse(inHours(2));
    const { out } = await spendlock(api, ...topUp, '--expires', '2h', ...why);
    const at = Date.parse((JSON.parse(out) as { expiresAt: string }).expiresAt);
    expect([at >= earliest, at <= Date.parse(inHours(2))]).toEqual([true, true]);
    expect(await spendlock(api, ...topUp, '--expires', 'soon', ...why)).toMatchObject({ status: 2 });
  });
});
