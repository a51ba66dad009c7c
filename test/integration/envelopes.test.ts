/**
 * Envelopes: what is in one cannot be denied for want of money, whoever takes everything else, and the books agree whatever becomes of it
 * and of its parts (B3, docs/decisions/0065-envelopes.md).
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { BudgetCommand, ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import { Replay } from '../../core/budget/what-if-result';
import { lookAtBooks } from '../../store/books';
import { decideAndRecord } from '../../store/budget-batch';
import { readEnvelope } from '../../store/envelopes';
import { recordOutcomes } from '../../store/outcomes';
import { asTenant, type PoolClient, inTransaction, sqlState } from '../../store/pool';
import { playRecord } from '../../store/what-if';
import { claimReservation, extendReservation } from '../../store/reservations';
import { commit, release, reserve, usd } from '../support/budget-model';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { mandated, type promptAnyhow } from '../support/mandates';
import { until, TestStack } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

const enforced = { llm: true, e2b: true };
const seed = Number(process.env.SPENDLOCK_TEST_SEED ?? Date.now() % 2 ** 31);

describe('an envelope', () => {
  let stack: TestStack;
  let api: TestApi;
  /** Asks the authority alone. */
  let signalling: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: 'on' });
    api = await startTestApi(stack, { mandates: true });
    signalling = await startTestApi(stack, { mandates: false });
  });
  afterAll(async () => {
    await api.close();
    await signalling.close();
    await stack.stop();
  });

  const envelope = (operationId: string, amountUsd: string, more: Partial<ReserveCommand> = {}): ReserveCommand =>
    reserve(operationId, amountUsd, {
      resource: 'all',
      ofResource: 'llm',
      envelopeOf: ['llm'],
      ttlSeconds: 600,
      ...more,
    });
  const part = (parentOperationId: string, amountUsd: string, more: Partial<ReserveCommand> = {}): ReserveCommand =>
    reserve(randomUUID(), amountUsd, {
      resource: 'all',
      ofResource: 'llm',
      ttlSeconds: 600,
      parentOperationId,
      ...more,
    });
  const decide = async (tenantId: string, ...commands: BudgetCommand[]): Promise<(ReserveAnswer | undefined)[]> => {
    const recorded = await decideAndRecord(stack.pool, { tenantId, commands, enforced, timeoutMs: 5_000 });
    if (!recorded) throw new Error('there is no such tenant');
    return recorded.decision.answers;
  };
  const cost = async (tenantId: string, operationId: string, costUsd: string): Promise<unknown> =>
    recordOutcomes(stack.pool, tenantId, [{ operationId, costUsd: usd(costUsd), anyClaim: true }]);
  const pass = (tenantId: string, operationId: string): Promise<unknown> =>
    stack.admin.query(
      `UPDATE copilot_internal.reservations SET expires_at = now() - interval '1 second' WHERE tenant_id = $1 AND operation_id = $2`,
      [tenantId, operationId],
    );
  const quotasOf = async (tenantId: string): Promise<Record<string, string>> => {
    const { rows } = await stack.admin.query<{ name: string; sums: string }>(
      `SELECT concat_ws(' ', scope, resource_type, period) AS name, trim_scale(current_spend_usd) || '+' || trim_scale(reserved_usd) AS sums
       FROM copilot_internal.cost_quotas WHERE tenant_id = $1`,
      [tenantId],
    );
    return Object.fromEntries(rows.map(({ name, sums }) => [name, sums]));
  };
  const statusOf = async (tenantId: string, operationId: string): Promise<string | undefined> =>
    (
      await stack.admin.query<{ status: string }>(
        'SELECT status FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2',
        [tenantId, operationId],
      )
    ).rows[0]?.status;
  const agree = async (tenantId: string): Promise<void> => expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  /** Each decision once more, from the record: by the limits that there were it is the same. */
  const reproduced = async (tenantId: string, from = new Date(0)): Promise<void> => {
    const replay = new Replay([]);
    await playRecord(stack.pool, { tenantId, from, to: new Date(Date.now() + 60_000), tried: [] }, replay);
    expect(replay.unlike).toEqual([]);
  };
  const ask = (at: TestApi, body: object): Promise<Answer> =>
    at.call('POST', '/v1/reservations', { body: { operationId: randomUUID(), resource: 'llm', ...body } });

  for (const way of ['directly', 'by its authority'] as const) {
    test(`of $10 has exactly five of ten parts of $2 at once, while others take all else, decided ${way}`, async () => {
      const at = way === 'directly' ? api : signalling;
      const tenantId = way === 'directly' ? await mandated(stack, api, '15') : await stack.tenant('15');
      const operationId = randomUUID();
      expect(await ask(at, { tenantId, operationId, amountUsd: '10', envelope: true })).toMatchObject({ status: 201 });
      const others = Array.from({ length: 20 }, () => ask(at, { tenantId, amountUsd: '1' }));
      const parts = await Promise.all(
        Array.from({ length: 10 }, () => ask(at, { tenantId, amountUsd: '2', parentOperationId: operationId })),
      );
      const granted = parts.filter(({ status }) => status === 201);
      expect(granted).toHaveLength(5);
      for (const { body } of parts.filter(({ status }) => status !== 201))
        expect(body).toMatchObject({ error: 'envelope_exceeded' });
      // Of the rest of the limit the others had no more than there was.
      expect((await Promise.all(others)).filter(({ status }) => status === 201).length).toBeLessThanOrEqual(5);
      const [first, second] = granted.map(({ body }) => String(body.operationId)) as [string, string];
      await at.call('POST', `/v1/reservations/${first}/commit`, { body: { tenantId, costUsd: '0.5' } });
      await at.call('POST', `/v1/reservations/${second}/release`, { body: { tenantId } });
      await until('what they did not need is back', async () => {
        const found = await readEnvelope(stack.pool, { tenantId, operationId });
        return found?.restUsd === '3.5' && found;
      });
      // There is nothing of the tenant's left, and this much is there all the same.
      expect(await ask(at, { tenantId, amountUsd: '3.5', parentOperationId: operationId })).toMatchObject({
        status: 201,
        body: { grantedUsd: '3.5', parentOperationId: operationId },
      });
      expect(await readEnvelope(stack.pool, { tenantId, operationId })).toEqual({
        ...{ resources: ['llm'], amountUsd: '10', restUsd: '0', partsHoldUsd: '9.5', partsSpentUsd: '0.5' },
      });
      await agree(tenantId);
    });
  }

  test('is counted once in the account of its mandate, and not again with each of its parts', async () => {
    const tenantId = await mandated(stack, api, '20');
    const account = async (): Promise<number[]> => {
      const { body } = await api.call('GET', `/v1/tenants/${tenantId}/mandate`);
      return [Number(body.granted), Number(body.grantedUsd)];
    };
    const [granted = 0, usdBefore = 0] = await account();
    const operationId = randomUUID();
    for (const asked of [
      { operationId, amountUsd: '8', envelope: true },
      { amountUsd: '2', parentOperationId: operationId },
    ])
      expect(await ask(api, { tenantId, ...asked })).toMatchObject({ status: 201 });
    expect(await account()).toEqual([granted + 2, usdBefore + 8]);
  });

  test('holds on the limits of each of its resources, and what its parts cost counts for their own alone', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'tenant', resourceType: 'llm', period: 'day', limitUsd: '20' },
      { scope: 'tenant', resourceType: 'e2b', period: 'day', limitUsd: '12' },
      { scope: 'user', scopeId: 'ada', resourceType: 'e2b', period: 'day', limitUsd: '11' },
    ]);
    const [id, of] = [randomUUID(), { userId: 'ada', labels: { team: 'search' } }];
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'label', scopeId: 'team:search', resourceType: 'e2b', period: 'day', limitUsd: '10' },
    ]);
    // The tightest of all of them binds.
    const [denied] = await decide(tenantId, envelope(randomUUID(), '10.5', { ...of, envelopeOf: ['e2b', 'llm'] }));
    expect(denied).toMatchObject({ decision: 'denied', quota: { scope: 'label', resourceType: 'e2b' } });
    await decide(tenantId, envelope(id, '10', { ...of, envelopeOf: ['e2b', 'llm'] }));
    const [call, box] = [part(id, '4', of), part(id, '3', { ...of, ofResource: 'e2b' })];
    expect(await decide(tenantId, call, box)).toMatchObject([{ decision: 'granted' }, { decision: 'granted' }]);
    const held = '0+10';
    expect(await quotasOf(tenantId)).toEqual({
      ...{ 'tenant all month': held, 'tenant llm month': held, 'tenant llm day': held },
      ...{ 'tenant e2b month': held, 'tenant e2b day': held, 'user e2b day': held, 'label e2b day': held },
    });
    await cost(tenantId, call.operationId, '1.5');
    await decide(tenantId, commit(call.operationId), release(box.operationId));
    const [spent, other] = ['1.5+8.5', '0+8.5'];
    expect(await quotasOf(tenantId)).toEqual({
      ...{ 'tenant all month': spent, 'tenant llm month': spent, 'tenant llm day': spent },
      ...{ 'tenant e2b month': other, 'tenant e2b day': other, 'user e2b day': other, 'label e2b day': other },
    });
    await agree(tenantId);
    await decide(tenantId, release(id));
    expect(Object.values(await quotasOf(tenantId))).toEqual(expect.arrayContaining(['1.5+0', '0+0']));
    await agree(tenantId);
  });

  test('is held on a limit of each of its resources that is set while it is open, or watched, or comes to bind', async () => {
    const tenantId = await stack.tenant('100');
    const [id, of] = [randomUUID(), { userId: 'ada', labels: { team: 'search' } }];
    await decide(tenantId, envelope(id, '10', { ...of, envelopeOf: ['e2b', 'llm'] }));
    const [call, box] = [part(id, '4', of), part(id, '3', { ...of, ofResource: 'e2b' })];
    await decide(tenantId, call, box);
    const day = { period: 'day', limitUsd: '20' } as const;
    const limits = (['llm', 'e2b', 'all'] as const).flatMap((resourceType) => [
      { scope: 'tenant' as const, resourceType, ...day },
      { scope: 'user' as const, scopeId: 'ada', resourceType, ...day },
      { scope: 'label' as const, scopeId: 'team:search', resourceType, ...day },
    ]);
    await api.admin.tenants.setQuotas(tenantId, limits);
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'tenant', resourceType: 'e2b', period: 'week', limitUsd: '20', enforced: false },
    ]);
    expect([...new Set(Object.values(await quotasOf(tenantId)))]).toEqual(['0+10']);
    await api.admin.budget.enforceQuota(tenantId, { resourceType: 'e2b', period: 'week', reason: 'a test' });
    expect([...new Set(Object.values(await quotasOf(tenantId)))]).toEqual(['0+10']);
    await cost(tenantId, call.operationId, '1.5');
    await decide(tenantId, commit(call.operationId), release(box.operationId));
    await agree(tenantId);
    await decide(tenantId, release(id));
    expect(new Set(Object.values(await quotasOf(tenantId)))).toEqual(new Set(['1.5+0', '0+0']));
    await agree(tenantId);
  });

  test('frees at its expiry what no part holds; a part that is under way ends right, and gives the rest to the limits', async () => {
    const tenantId = await stack.tenant('10');
    const id = randomUUID();
    const [call, lost] = [part(id, '4'), part(id, '2', { ttlSeconds: 900 })];
    await decide(tenantId, envelope(id, '10'), call, lost);
    expect(
      await claimReservation(stack.pool, { tenantId, operationId: call.operationId, claimToken: randomUUID() }),
    ).toBe(usd('4'));
    await pass(tenantId, id);
    await decide(tenantId);
    expect(await statusOf(tenantId, id)).toBe('expired');
    expect(await quotasOf(tenantId)).toMatchObject({ 'tenant all month': '0+6' });
    const [none] = await decide(tenantId, part(id, '1'));
    expect(none).toMatchObject({ decision: 'rejected', code: 'envelope_refused' });
    expect(await decide(tenantId, { ...part(id, '1'), orBeyond: true })).toMatchObject([{ decision: 'granted' }]);
    await cost(tenantId, call.operationId, '3');
    await decide(tenantId, commit(call.operationId), release(lost.operationId));
    expect(await quotasOf(tenantId)).toMatchObject({ 'tenant all month': '3+1' });
    await agree(tenantId);
  });

  test('pays for what a part cost beyond its grant, as far as it has something, and is prolonged as others are', async () => {
    const tenantId = await stack.tenant('10');
    const id = randomUUID();
    const [call, dear] = [part(id, '2'), part(id, '2')];
    await decide(tenantId, envelope(id, '5'), call, dear);
    expect(await extendReservation(stack.pool, { tenantId, operationId: id, ttlSeconds: 3_600 })).toBeInstanceOf(Date);
    await cost(tenantId, call.operationId, '2.75');
    await decide(tenantId);
    expect(await readEnvelope(stack.pool, { tenantId, operationId: id })).toMatchObject({
      restUsd: '0.25',
      partsSpentUsd: '2.75',
    });
    await cost(tenantId, dear.operationId, '9');
    await decide(tenantId);
    expect(await readEnvelope(stack.pool, { tenantId, operationId: id })).toMatchObject({
      restUsd: '0',
      partsHoldUsd: '0',
    });
    expect(await quotasOf(tenantId)).toMatchObject({ 'tenant all month': '11.75+0' });
    await agree(tenantId);
  });

  test('carries over to the next period, with its parts', async () => {
    const tenantId = await stack.tenant('10');
    const id = randomUUID();
    const call = part(id, '2');
    await decide(tenantId, envelope(id, '9'), call);
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '1 month', period_end = period_start WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await decide(tenantId, part(id, '7'), reserve(randomUUID(), '1.5'))).toMatchObject([
      { decision: 'granted' },
      { decision: 'denied' },
    ]);
    await cost(tenantId, call.operationId, '1');
    await decide(tenantId);
    expect(await quotasOf(tenantId)).toMatchObject({ 'tenant all month': '1+8' });
    await agree(tenantId);
  });

  test('holds its part of the platform’s money, and its parts draw none', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'e2b', limitUsd: '5' }] });
    try {
      const operationId = randomUUID();
      expect(
        await ask(signalling, {
          ...{ resource: 'e2b', tenantId, operationId, amountUsd: '4' },
          ...{ envelope: true, ttlSeconds: 50_000 },
        }),
      ).toMatchObject({
        status: 201,
      });
      const asked = { resource: 'e2b', tenantId, amountUsd: '2', parentOperationId: operationId };
      expect(await ask(signalling, asked)).toMatchObject({ status: 201 });
      const other = await stack.tenant('100');
      const first = { resource: 'e2b', tenantId: other, amountUsd: '1', ttlSeconds: 60_000 };
      expect(await ask(signalling, first)).toMatchObject({ status: 201 });
      const denied = await ask(signalling, { resource: 'e2b', tenantId: other, amountUsd: '1' });
      expect(denied).toMatchObject({ status: 429 });
      // Not when the part runs out, whose money is its envelope's.
      expect(denied.body.retryAfter).toBeGreaterThan(49_000);
      expect(await ask(signalling, asked)).toMatchObject({ status: 201 });
      await agree(tenantId);
    } finally {
      await api.admin.platform.removeQuota({ resourceType: 'e2b', period: 'month', reason: 'the test is over' });
    }
  });

  test('has parts of its payer and resources alone, and is itself neither a part, nor claimed or committed', async () => {
    const tenantId = await stack.tenant('20');
    const [id, labels] = [randomUUID(), { team: 'search' }];
    const one = part(id, '1', { labels, userId: 'ada' });
    const plain = reserve(randomUUID(), '1', { labels, userId: 'ada' });
    await decide(tenantId, envelope(id, '5', { labels, userId: 'ada' }), one, plain);
    const refused = async (command: ReserveCommand): Promise<string> => {
      const [answer] = await decide(tenantId, command);
      if (answer?.decision !== 'rejected' || answer.code !== 'envelope_refused')
        throw new Error(JSON.stringify(answer));
      return answer.message;
    };
    expect(await refused(part(randomUUID(), '1'))).toContain('the tenant has no such envelope');
    expect(await refused(part(id, '1', { labels }))).toContain('it is of another user');
    expect(await refused(part(id, '1', { userId: 'ada', labels: { team: 'ads' } }))).toContain('it has other labels');
    expect(await refused(part(id, '1', { userId: 'ada', labels, ofResource: 'e2b' }))).toContain(
      'it is for llm, and not for e2b',
    );
    expect(await refused(part(one.operationId, '1', { userId: 'ada', labels }))).toContain('it is a part itself');
    expect(await refused(part(plain.operationId, '1', { userId: 'ada', labels }))).toContain('it is no envelope');
    const post = (verb: string, body: object = {}): Promise<Answer> =>
      api.call('POST', `/v1/reservations/${id}/${verb}`, { body: { tenantId, ...body } });
    for (const answer of [await post('claim'), await post('commit', { costUsd: '1' })])
      expect(answer).toMatchObject({ status: 409, body: { error: 'envelope_refused' } });
    // A repeat is answered as it was; another request under its id is none.
    expect(await decide(tenantId, envelope(id, '5', { labels, userId: 'ada' }), one)).toMatchObject([
      { decision: 'granted', grantedUsd: '5' },
      { decision: 'granted', grantedUsd: '1' },
    ]);
    expect(
      await decide(
        tenantId,
        envelope(id, '5', { labels, userId: 'ada', envelopeOf: ['e2b', 'llm'] }),
        { ...one, parentOperationId: randomUUID() },
        reserve(one.operationId, '1', { labels, userId: 'ada' }),
      ),
    ).toMatchObject(Array.from({ length: 3 }, () => ({ decision: 'rejected', code: 'operation_conflict' })));
    expect(await decide(tenantId, commit(id))).toEqual([]);
    expect(await statusOf(tenantId, id)).toBe('granted');
    await agree(tenantId);
  });

  test('is shown with what it has, and kept by the command line', async () => {
    const tenantId = await stack.tenant('20');
    const reserved = await spendlock(api, 'holds', 'reserve', tenantId, '10', '--envelope', 'e2b', '--json');
    const { operationId } = JSON.parse(reserved.out) as { operationId: string };
    expect((await spendlock(api, 'holds', 'reserve', tenantId, '2', '--parent', operationId)).status).toBe(0);
    const told = (await spendlock(api, 'holds', 'show', tenantId, operationId)).out;
    expect(told).toContain('"restUsd":"8"');
    expect(told).toContain('"resources":["e2b","llm"]');
    const { holds } = await api.admin.budget.holds(tenantId);
    const [rest, part] = [holds.find(({ envelope }) => envelope), holds.find(({ envelope }) => !envelope)];
    expect(rest).toMatchObject({ grantedUsd: '8', envelope: { amountUsd: '10', partsHoldUsd: '2' } });
    expect([rest?.parentOperationId, part?.parentOperationId]).toEqual([null, operationId]);
    const listed = (await spendlock(api, 'holds', 'list', tenantId)).out;
    expect(listed).toMatch(/\$8\.00 +│ left for parts of an envelope of \$10\.00/);
    expect(listed).toMatch(new RegExp(`not told +│ ${operationId}`));
    await ask(api, { tenantId, amountUsd: '1' });
    const figures = { reservedUsd: '11', inEnvelopesUsd: '10' };
    expect((await api.admin.tenants.quotas(tenantId)).quotas[0]).toMatchObject(figures);
    const overview = await api.admin.tenants.overview(tenantId);
    expect(overview.quotas[0]).toMatchObject(figures);
    expect(overview.holds.map(({ envelope }) => envelope?.restUsd)).toEqual(expect.arrayContaining(['8', undefined]));
    expect((await spendlock(api, 'budget', 'show', tenantId)).out).toContain('$11.00, $10.00 of it in envelopes');
    expect((await api.admin.tenants.quotas(await stack.tenant('20'))).quotas[0]).not.toHaveProperty('inEnvelopesUsd');
    expect(await ask(api, { tenantId, amountUsd: '1', resources: ['e2b'] })).toMatchObject({ status: 400 });
    expect(await ask(api, { tenantId, amountUsd: '1', orBeyond: true })).toMatchObject({ status: 400 });
  });

  test('is guarded in Postgres: a decision that takes from it twice, or gives back what was never there, is refused', async () => {
    const tenantId = await stack.tenant('20');
    const id = randomUUID();
    await decide(tenantId, envelope(id, '5'), part(id, '1'));
    const changed = (set: string, ofPart: boolean): Promise<unknown> =>
      asTenant(stack.pool, tenantId, (client) =>
        client.query(
          `UPDATE copilot_internal.reservations SET ${set} WHERE tenant_id = $1 AND ${ofPart ? 'parent_id' : 'operation_id'} = $2`,
          [tenantId, id],
        ),
      ).then(
        () => 'changed',
        (error: unknown) => sqlState(error),
      );
    expect(await changed('granted_usd = 5.5', false)).toBe('SL001');
    expect(await changed('granted_usd = 0.5', true)).toBe('SL001');
    expect(await changed('parent_id = gen_random_uuid()', true)).toBe('SL001');
    const check = (rows: object[], moves: object[] = []): Promise<unknown> =>
      asTenant(stack.pool, tenantId, (client) =>
        client.query('SELECT copilot_internal.check_envelopes($1, $2, $3)', [
          tenantId,
          JSON.stringify(rows),
          JSON.stringify(moves),
        ]),
      ).then(
        () => 'right',
        (error: unknown) => (error as Error).message,
      );
    const open = { operation_id: id, envelope_usd: 5, was_usd: 4, granted_usd: 4, status: 'granted', was: 'granted' };
    const added = { operation_id: randomUUID(), parent_id: id, granted_usd: 1, status: 'granted' };
    expect(await check([open])).toBe('right');
    // The part is granted, and the envelope keeps its money.
    expect(await check([open, added])).toContain('would change by 0 USD, and its parts moved -1');
    const ended = { ...added, was: 'granted', status: 'released', returned_usd: 2 };
    const grown = { ...open, granted_usd: 6 };
    expect(await check([grown, ended], [{ operation_id: id, reserved_usd: 2 }])).toContain(
      'would give 2 USD back of 1 USD',
    );
    expect(await check([{ ...open, granted_usd: 3 }, added], [{ operation_id: id, reserved_usd: -1 }])).toBe('right');
    expect(await check([{ ...open, granted_usd: 3 }, added])).toContain('what is held for the envelope');
  });

  test('has no part of another run in Postgres either', async () => {
    const tenantId = await stack.tenant('20');
    const [id, partId] = [randomUUID(), randomUUID()];
    await decide(tenantId, envelope(id, '5'), part(id, '1', { operationId: partId }));
    const envelopeRow = { operation_id: id, envelope_usd: 5, granted_usd: 4, status: 'granted' };
    const partRow = { operation_id: partId, parent_id: id, granted_usd: 1, status: 'granted' };
    const moves = [{ operation_id: id, reserved_usd: -1 }];
    const check = (client: PoolClient): Promise<unknown> =>
      client.query('SELECT copilot_internal.check_envelopes($1, $2, $3)', [
        tenantId,
        JSON.stringify([envelopeRow, partRow]),
        JSON.stringify(moves),
      ]);
    const client = await stack.admin.connect();
    try {
      await client.query('BEGIN');
      await check(client);
      await client.query('SET LOCAL session_replication_role = replica');
      const ofRun = 'UPDATE copilot_internal.reservations SET run_id = $1 WHERE tenant_id = $2 AND operation_id = $3';
      await client.query(ofRun, [randomUUID(), tenantId, partId]);
      await check(client);
      await client.query(ofRun, [randomUUID(), tenantId, id]);
      await expect(check(client)).rejects.toThrow('which is no envelope for it');
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  });

  test('has its parts ended by a worker of the version before on all their limits, which then have what is left of them', async () => {
    const tenantId = await stack.tenant('20');
    const labels = { team: 'search' };
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'label', scopeId: 'team:search', resourceType: 'e2b', period: 'day', limitUsd: '20' },
    ]);
    const id = randomUUID();
    const call = part(id, '2', { labels });
    await decide(tenantId, envelope(id, '5', { labels, envelopeOf: ['e2b', 'llm'] }), call);
    // It says nothing of the envelope, and takes the part for a row of its resource alone.
    await inTransaction(stack.pool, async (client) => {
      await client.query('SELECT copilot_internal.load_budget_batch($1, $2, $3, 0)', [
        tenantId,
        [call.operationId],
        [],
      ]);
      const { rows } = await client.query<{ row: object; at: string }>(
        `SELECT jsonb_build_object('operationId', operation_id, 'resource', resource, 'kind', kind, 'priceVersion', price_version,
           'requestedUsd', requested_usd, 'grantedUsd', granted_usd, 'decidedAt', decided_at, 'expiresAt', expires_at, 'outcomeFolded', false,
           'status', 'released', 'settlement', 'released', 'endedAt', clock_timestamp()) AS row, clock_timestamp()::text AS at
         FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2`,
        [tenantId, call.operationId],
      );
      const change = {
        ...{ sequence: 0, operationId: call.operationId, resource: 'llm', reservedDeltaUsd: '-2', spentDeltaUsd: '0' },
        ...{ postedAt: rows[0]?.at, grant: false, enforced: true },
      };
      const batch = { reservations: [rows[0]?.row], changes: [change], ledger: [], alerts: [], served: [] };
      await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(batch)]);
    });
    expect(await quotasOf(tenantId)).toEqual({
      ...{ 'tenant all month': '0+3', 'tenant llm month': '0+3', 'tenant e2b month': '0+3', 'label e2b day': '0+3' },
    });
    await agree(tenantId);
    expect(await decide(tenantId, part(id, '3', { labels }))).toMatchObject([{ decision: 'granted' }]);
    await agree(tenantId);
  });

  test('agrees with the books after whatever happens to it and its parts', async () => {
    process.stdout.write(`envelopes: seed ${seed}\n`);
    const step = fc.record({
      do: fc.constantFrom('envelope', 'part', 'part', 'part', 'plain', 'cost', 'cost', 'commit', 'release', 'expire'),
      of: fc.nat(30),
      amount: fc.constantFrom('0', '0.5', '1', '3', '7.25'),
      resource: fc.constantFrom('llm', 'e2b'),
      both: fc.boolean(),
      labels: fc.constantFrom({}, { labels: { team: 'search' } }),
      orBeyond: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 4, maxLength: 14 }),
        fc.constantFrom(
          enforced,
          enforced,
          { llm: true, e2b: false },
          { llm: false, e2b: true },
          { llm: false, e2b: false },
        ),
        async (batches, binds) => {
          const tenantId = await stack.tenant('20');
          await api.admin.tenants.setQuotas(tenantId, [
            { scope: 'tenant', resourceType: 'e2b', period: 'day', limitUsd: '15' },
            { scope: 'label', scopeId: 'team:search', resourceType: 'all', period: 'day', limitUsd: '9' },
            { scope: 'label', scopeId: 'team:search', resourceType: 'llm', period: 'day', limitUsd: '8' },
          ]);
          const ids: string[] = [];
          const envelopes: ReserveCommand[] = [];
          const moments: Date[] = [];
          for (const batch of batches) {
            const commands: BudgetCommand[] = [];
            for (const one of batch) {
              const { amount, resource, labels } = one;
              const id = ids[one.of % Math.max(ids.length, 1)];
              const parent = envelopes[one.of % Math.max(envelopes.length, 1)];
              const add = (command: ReserveCommand): void => {
                ids.push(command.operationId);
                commands.push(command);
              };
              if (one.do === 'envelope') {
                const made = envelope(randomUUID(), amount, {
                  ...labels,
                  ofResource: resource,
                  envelopeOf: one.both ? ['e2b', 'llm'] : [resource],
                });
                envelopes.push(made);
                add(made);
              } else if (one.do === 'plain') add(reserve(randomUUID(), amount, { resource, ...labels }));
              else if (one.do === 'part' && parent) {
                const of = parent.labels ? { labels: parent.labels } : {};
                add(
                  part(parent.operationId, amount, {
                    ofResource: resource,
                    ...of,
                    ...(one.orBeyond ? { orBeyond: true } : {}),
                  }),
                );
              } else if (id === undefined) continue;
              else if (one.do === 'cost') await cost(tenantId, id, amount);
              else if (one.do === 'expire') await pass(tenantId, id);
              else if (one.do === 'commit') commands.push(commit(id));
              else if (one.do === 'release') commands.push(release(id));
            }
            // The guard refuses none of it: what is wrong is refused as a whole.
            await decideAndRecord(stack.pool, { tenantId, commands, enforced: binds, timeoutMs: 5_000 });
            const { rows } = await stack.admin.query<{ now: Date }>('SELECT clock_timestamp() AS now');
            if (rows[0]) moments.push(rows[0].now);
          }
          await agree(tenantId);
          await reproduced(tenantId);
          await reproduced(tenantId, moments[Math.floor(moments.length / 2)]);
          const { rows } = await stack.admin.query<Record<'rest' | 'should', string>>(
            `SELECT e.granted_usd AS rest, e.envelope_usd - coalesce((SELECT sum(p.granted_usd - coalesce(p.returned_usd, 0))
             FROM copilot_internal.reservations p WHERE p.parent_id = e.operation_id), 0) AS should
           FROM copilot_internal.reservations e WHERE e.tenant_id = $1 AND e.envelope_usd IS NOT NULL`,
            [tenantId],
          );
          for (const { rest, should } of rows) expect(rest).toBe(should);
        },
      ),
      { seed, numRuns: Number(process.env.SPENDLOCK_TEST_RUNS ?? 40) },
    );
  }, 240_000);
});
