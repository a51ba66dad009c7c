/** Callers that race each other for the same money, through two APIs, on the real stack (V4). */
import { randomUUID } from 'node:crypto';
import { formatUsd, parseUsd } from '../../core/money';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { decidedDirectly, mandatedWith, type promptAnyhow } from '../support/mandates';
import { TestStack, until } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

describe.each(['on', 'off'] as const)('races, with mandates %s', (mandates) => {
  let stack: TestStack;
  let apis: TestApi[];
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: mandates });
    const decides = { mandates: mandates === 'on' };
    apis = [await startTestApi(stack, decides), await startTestApi(stack, decides)];
  });
  afterAll(async () => {
    for (const api of apis) await api.close();
    await stack.stop();
  });

  /** The tenants of a test, and what had been decided directly of each before its race. */
  const racing = new Map<string, number>();
  /** A tenant for which those who ask decide, where they may. */
  const tenant = async (limitUsd: string, userLimit: { userLimitUsd?: string } = {}): Promise<string> => {
    if (mandates === 'off') return stack.tenant(limitUsd, userLimit);
    const tenantId = await mandatedWith(stack, apis[0] as TestApi, limitUsd, userLimit);
    racing.set(tenantId, await decidedDirectly(stack, tenantId));
    return tenantId;
  };
  /** Of how many tenants, and of how many of them something was decided directly: on a busy machine what meets a lock goes by signal. */
  const raced = { tenants: 0, directly: 0 };
  afterEach(async () => {
    for (const [tenantId, before] of racing) {
      raced.tenants += 1;
      if ((await decidedDirectly(stack, tenantId)) > before) raced.directly += 1;
    }
    racing.clear();
  });

  let turn = 0;
  /** By one API and the other in turns. */
  const send = (method: string, where: string, body: unknown): Promise<Answer> =>
    (apis[(turn += 1) % apis.length] as TestApi).call(method, where, { body });
  const reserve = (tenantId: string, amountUsd: string, more: object = {}): Promise<Answer> =>
    send('POST', '/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ...more });
  const end = (how: 'commit' | 'release', tenantId: string, operationId: unknown, more: object = {}): Promise<Answer> =>
    send('POST', `/v1/reservations/${String(operationId)}/${how}`, { tenantId, ...more });
  const atOnce = <T>(count: number, one: (index: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: count }, (_, index) => one(index)));
  const granted = (answers: readonly Answer[]): Answer[] => answers.filter(({ status }) => status === 201);
  const settled = async (tenantId: string, books: object): Promise<void> => {
    await until('everything is folded', async () => (await stack.books(tenantId)).openReservations === 0);
    expect(await stack.books(tenantId)).toEqual({ reservedUsd: '0', openReservations: 0, ...books });
  };

  test.each([
    { callers: 2, amountUsd: '1', limitUsd: '1', expected: 1 },
    { callers: 10, amountUsd: '2', limitUsd: '10', expected: 5 },
    { callers: 10, amountUsd: '3', limitUsd: '10', expected: 3 },
    { callers: 10, amountUsd: '1', limitUsd: '10', expected: 10 },
    { callers: 10, amountUsd: '11', limitUsd: '10', expected: 0 },
    { callers: 20, amountUsd: '0.000000000001', limitUsd: '0.000000000007', expected: 7 },
    { callers: 40, amountUsd: '0.1', limitUsd: '1', expected: 10 },
    { callers: 50, amountUsd: '0.07', limitUsd: '1', expected: 14 },
    { callers: 100, amountUsd: '0.5', limitUsd: '10', expected: 20 },
    { callers: 100, amountUsd: '999999.99', limitUsd: '3000000', expected: 3 },
    { callers: 5, amountUsd: '0', limitUsd: '0', expected: 5 },
  ])('$callers callers want $amountUsd each of $limitUsd: $expected get it', async (race) => {
    const tenantId = await tenant(race.limitUsd);
    const answers = await atOnce(race.callers, () => reserve(tenantId, race.amountUsd));
    expect(granted(answers)).toHaveLength(race.expected);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(race.callers - race.expected);
    await atOnce(race.expected, (index) =>
      end('commit', tenantId, granted(answers)[index]?.body.operationId, { costUsd: race.amountUsd }),
    );
    await until('all is spent', async () => (await stack.books(tenantId)).openReservations === 0);
    const all = formatUsd(parseUsd(race.amountUsd) * BigInt(race.expected));
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: all, spentUsd: all, reservedUsd: '0' });
  });

  test.each([2, 5, 20])('one operation, asked for %d times at once, is one reservation', async (times) => {
    const tenantId = await tenant('10');
    const operationId = randomUUID();
    const answers = await atOnce(times, () => reserve(tenantId, '4', { operationId }));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '4', openReservations: 1 });
  });

  test.each([2, 10])('one cost, committed %d times at once, is one entry of the ledger', async (times) => {
    const tenantId = await tenant('10');
    const { body } = await reserve(tenantId, '4');
    await atOnce(times, () => end('commit', tenantId, body.operationId, { costUsd: '3' }));
    await settled(tenantId, { ledgerUsd: '3', spentUsd: '3' });
  });

  test.each([2, 10])('released %d times at once, the money is free once', async (times) => {
    const tenantId = await tenant('10');
    const [kept, given] = [await reserve(tenantId, '4'), await reserve(tenantId, '6')];
    await atOnce(times, () => end('release', tenantId, given.body.operationId));
    await until('it is free', async () => (await stack.books(tenantId)).reservedUsd === '4');
    expect((await reserve(tenantId, '6.01')).status).toBe(429);
    expect((await reserve(tenantId, '6')).status).toBe(201);
    expect(kept.status).toBe(201);
  });

  test.each(['1', '4', '7'])(
    'a commit of $%s races a release: one end, and a cost that came is kept',
    async (costUsd) => {
      const tenantId = await tenant('10');
      const { body } = await reserve(tenantId, '4');
      const [committed] = await Promise.all([
        end('commit', tenantId, body.operationId, { costUsd }),
        end('release', tenantId, body.operationId),
      ]);
      expect(committed.status).toBe(200);
      await settled(tenantId, { ledgerUsd: costUsd, spentUsd: costUsd });
    },
  );

  test.each([3, 12])(
    'a reserve races %d releases of the same operation: granted and freed, or refused',
    async (times) => {
      const tenantId = await tenant('10');
      // Of the race itself nothing may be decided, but that it was given up before it was asked for.
      await end('release', tenantId, (await reserve(tenantId, '1')).body.operationId);
      const operationId = randomUUID();
      await Promise.all([
        reserve(tenantId, '4', { operationId }),
        ...Array.from({ length: times }, () => end('release', tenantId, operationId)),
      ]);
      await end('release', tenantId, operationId);
      await settled(tenantId, { ledgerUsd: '0', spentUsd: '0' });
    },
  );

  test.each([5, 25])('%d callers with a minimum share the last dollars to the cent', async (callers) => {
    const tenantId = await tenant('10');
    const answers = await atOnce(callers, () => reserve(tenantId, '3', { minimumUsd: '0.5' }));
    const grants = granted(answers).map(({ body }) => Number(body.grantedUsd));
    expect(grants.sort((a, b) => a - b)).toEqual([1, 3, 3, 3]);
    expect((await stack.books(tenantId)).reservedUsd).toBe('10');
  });

  test.each([4, 16])('%d callers of one user meet his limit, those of another do not', async (callers) => {
    const tenantId = await tenant('100', { userLimitUsd: '3' });
    const [ada, grace] = await Promise.all([
      atOnce(callers, () => reserve(tenantId, '1', { userId: 'ada' })),
      atOnce(callers, () => reserve(tenantId, '1', { userId: 'grace' })),
    ]);
    expect(granted(ada)).toHaveLength(3);
    expect(granted(grace)).toHaveLength(callers);
    expect((await stack.books(tenantId)).reservedUsd).toBe(String(3 + callers));
  });

  test.each([2, 6])('%d tenants race at once, and none takes the money of another', async (count) => {
    const tenants = await atOnce(count, () => tenant('3'));
    const answers = await atOnce(count * 6, (index) => reserve(tenants[index % count] ?? '', '1'));
    for (const tenantId of tenants) {
      const own = answers.filter((_, index) => tenants[index % count] === tenantId);
      expect(granted(own)).toHaveLength(3);
      expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '3', openReservations: 3 });
    }
  });

  test('sandboxes and models race for the quota that covers both', async () => {
    const tenantId = await tenant('5');
    const answers = await atOnce(20, (index) => reserve(tenantId, '1', { resource: index % 2 === 0 ? 'llm' : 'e2b' }));
    expect(granted(answers)).toHaveLength(5);
  });

  test.each(['2', '6'])(
    'a limit lowered to $%s in the middle: nothing is granted beyond the higher, nor after it',
    async (lower) => {
      const tenantId = await tenant('10');
      const quotas = (['all', 'llm'] as const).map((resourceType) => ({ resourceType, limitUsd: lower }));
      const [answers] = await Promise.all([
        atOnce(20, () => reserve(tenantId, '1')),
        send('PUT', `/v1/tenants/${tenantId}/quotas`, { quotas }),
      ]);
      expect(granted(answers).length).toBeLessThanOrEqual(10);
      const held = Number((await stack.books(tenantId)).reservedUsd);
      expect(held).toBe(granted(answers).length);
      expect((await reserve(tenantId, '1')).status).toBe(held < Number(lower) ? 201 : 429);
    },
  );

  test('a freeze in the middle: what was granted before it stands, and nothing is after it', async () => {
    const tenantId = await tenant('100');
    const [answers] = await Promise.all([
      atOnce(20, () => reserve(tenantId, '1')),
      send('POST', `/v1/tenants/${tenantId}/freeze`, { reason: 'a race' }),
    ]);
    expect((await stack.books(tenantId)).reservedUsd).toBe(String(granted(answers).length));
    expect((await reserve(tenantId, '1')).status).not.toBe(201);
  });

  test('two requests under one operation id: one is decided, the other is told', async () => {
    const tenantId = await tenant('10');
    const operationId = randomUUID();
    const answers = await Promise.all([
      reserve(tenantId, '2', { operationId }),
      reserve(tenantId, '3', { operationId }),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    expect(answers.find(({ status }) => status === 409)?.body).toMatchObject({ error: 'operation_conflict' });
    expect(await stack.books(tenantId)).toMatchObject({ openReservations: 1 });
  });

  test('an expiry races a commit: the cost is recorded once, whoever comes first', async () => {
    const tenantId = await tenant('10');
    const holds = await atOnce(10, () => reserve(tenantId, '0.5', { ttlSeconds: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 950));
    const ended = await atOnce(10, (index) =>
      end('commit', tenantId, holds[index]?.body.operationId, { costUsd: '0.25' }),
    );
    expect(new Set(ended.map(({ status }) => status))).toEqual(new Set([200]));
    await settled(tenantId, { ledgerUsd: '2.5', spentUsd: '2.5' });
  });

  if (mandates === 'on')
    test('those who asked decided for most of the tenants of these races', () => {
      expect(raced.tenants).toBeGreaterThan(20);
      expect(raced.directly / raced.tenants).toBeGreaterThan(2 / 3);
    });
});
