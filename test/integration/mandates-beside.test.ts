/**
 * Who decides under mandates beside those that do not: workers of one's own, and, while a new version is rolled out, processes that know
 * nothing of mandates (B1, docs/decisions/0046).
 */
import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ReserveAnswer } from '../../core/budget/commands';
import { decideUnderMandate } from '../../store/budget-batch';
import { createPool } from '../../store/pool';
import { budgetForOwnWorker, type OwnWorker } from '../../workers/own-workers';
import { startTestApi, type TestApi } from '../support/api';
import { decidedDirectly, mandated, type promptAnyhow } from '../support/mandates';
import { olderInstallation } from '../support/older-installation';
import { TestStack, until } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

describe('beside those that decide under mandates', () => {
  let stack: TestStack;
  let api: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    // It keeps no workflow, so that another worker has a turn at each batch.
    await stack.startWorker({ environment: { SPENDLOCK_MANDATES: 'on', SPENDLOCK_TEST_FORGETFUL: 'yes' } });
    api = await startTestApi(stack, { mandates: true });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const isOpen = async (tenantId: string): Promise<boolean> => {
    const { rows } = await stack.admin.query<{ open: boolean | null }>(
      'SELECT open_until > clock_timestamp() AS open FROM copilot_internal.mandates WHERE tenant_id = $1',
      [tenantId],
    );
    return rows[0]?.open === true;
  };

  describe('a worker of one’s own', () => {
    let own: OwnWorker | undefined;
    afterEach(() => own?.close());
    /** Asks by a worker that is told this, until it is answered, as its workflow would. */
    const asks = async (tenantId: string, environment: NodeJS.ProcessEnv): Promise<ReserveAnswer> => {
      own = budgetForOwnWorker({
        ...{ databaseUrl: stack.database.appUrl, client: stack.temporal, taskQueuePrefix: stack.prefix, environment },
      });
      const request = { tenantId, operationId: randomUUID(), amountUsd: '0.01', ttlSeconds: 60 } as const;
      const step = { resource: 'llm', kind: 'own.call', priceVersion: 'own' } as const;
      const { activities } = own;
      const ask = async (): Promise<ReserveAnswer | undefined> =>
        (await activities.reserveQuickly({ ...request, ...step })) ?? undefined;
      return until('it is answered', () => new MockActivityEnvironment().run(ask));
    };

    test('decides as the workers of budgets do', async () => {
      const tenantId = await mandated(stack, api, '10');
      const before = await decidedDirectly(stack, tenantId);
      expect(await asks(tenantId, {})).toMatchObject({ decision: 'granted', grantedUsd: '0.01' });
      expect(await decidedDirectly(stack, tenantId)).toBe(before + 1);
    });

    test.each([
      ['that enforces something else', { ENFORCE_E2B_QUOTAS: 'false' }],
      ['that is not to decide', { SPENDLOCK_MANDATES: 'off' }],
    ])('%s has the authority decide', async (_what, environment) => {
      const tenantId = await mandated(stack, api, '10');
      const before = await decidedDirectly(stack, tenantId);
      expect(await asks(tenantId, environment)).toMatchObject({ decision: 'granted', grantedUsd: '0.01' });
      expect(await decidedDirectly(stack, tenantId)).toBe(before);
      expect(await isOpen(tenantId)).toBe(true);
    });
  });

  test('a database of the version before is decided of by its authorities alone', async () => {
    const older = await olderInstallation();
    const pool = createPool(older.appUrl, { max: 1 });
    try {
      const decided = await decideUnderMandate(pool, {
        ...{ tenantId: 'older', timeoutMs: 3_000, lockMs: 500, enforced: { llm: true, e2b: true } },
        commands: [{ type: 'release', operationId: randomUUID() }],
      });
      expect(decided).toBe('closed');
    } finally {
      await pool.end();
      await older.drop();
    }
  });

  test('workers and processes that know nothing of mandates decide one tenant beside those that do, to the last cent', async () => {
    const tenantId = await mandated(stack, api, '11');
    await stack.startWorker({ environment: { SPENDLOCK_MANDATES: 'off', SPENDLOCK_TEST_FORGETFUL: 'yes' } });
    const before = await startTestApi(stack, { mandates: false });
    const reserve = (at: TestApi, amountUsd: string) =>
      at.call('POST', '/v1/reservations', {
        body: { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd },
      });
    const { reservedUsd: held } = await stack.books(tenantId);
    let isOver = false;
    const statuses: number[] = [];
    const askers = [api, api, api, before, before, before].map(async (at) => {
      while (!isOver) statuses.push((await reserve(at, '0.00001')).status);
    });
    // A recording of who knows nothing of it closes the mandate. Each kind has its turns while the other has.
    for (let turn = 0; turn < 3; turn += 1) {
      await until('one that knows nothing of mandates has decided', async () => !(await isOpen(tenantId)));
      const decided = await decidedDirectly(stack, tenantId);
      await until('one under a mandate has decided', async () => (await decidedDirectly(stack, tenantId)) > decided);
    }
    isOver = true;
    await Promise.all(askers);
    expect(new Set(statuses)).toEqual(new Set([201]));
    const { reservedUsd } = await stack.books(tenantId);
    expect(Number(reservedUsd)).toBeCloseTo(Number(held) + statuses.length * 0.00001, 8);
    // Ten of them fit, and what was asked for above.
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, call) => reserve(call % 2 === 0 ? api : before, '1')),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual(answers.map((_, place) => (place < 10 ? 201 : 429)));
    await before.close();
  });
});
