/** What the record of a tenant cannot be taken for: steps that ask again, nothing that was played, labels counted together, days and long spans. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WhatIfView } from '../../client';
import { Replay } from '../../core/budget/what-if-result';
import { ageHolds, passDay } from '../../scripts/chaos/days';
import { decideAndRecord } from '../../store/budget-batch';
import { inTransaction, isTooSlow } from '../../store/pool';
import { readUsedCalls } from '../../store/used-calls';
import { playRecord } from '../../store/what-if';
import { startTestApi, type TestApi } from '../support/api';
import { release, reserve } from '../support/budget-model';
import { spendlock } from '../support/cli';
import { TestStack } from '../support/stack';

describe('what a record tells of other limits', () => {
  let stack: TestStack;
  let api: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start();
    api = await startTestApi(stack);
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const decide = (tenantId: string, commands: Parameters<typeof decideAndRecord>[1]['commands']) =>
    decideAndRecord(stack.pool, { tenantId, commands, enforced: { llm: true, e2b: true }, timeoutMs: 10_000 });
  const whatIf = async (tenantId: string, body: object = {}) => {
    const answer = await api.call('POST', `/v1/tenants/${tenantId}/what-if`, { body });
    expect(answer).toMatchObject({ status: 200 });
    return answer.body as unknown as WhatIfView;
  };

  test('what was kept from a label is counted as the limit of all other values counts it', async () => {
    const tenantId = await stack.tenant('100');
    const ofOther = { scope: 'label', scopeId: 'team:other', resourceType: 'all', period: 'day', limitUsd: '6' };
    await api.admin.tenants.setQuotas(tenantId, [ofOther] as Parameters<typeof api.admin.tenants.setQuotas>[1]);
    const operationId = randomUUID();
    await decide(tenantId, [reserve(operationId, '9', { labels: { team: 'ads' } })]);
    // As it is where the value is none of those that are told apart, and of the limit's 6 there were 4 kept for others.
    await stack.admin.query('DELETE FROM copilot_internal.label_values WHERE tenant_id = $1', [tenantId]);
    const kept = [{ resource: 'llm', labels: { team: 'ads' }, keptUsd: '4' }];
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET minimum_usd = 1, granted_usd = 2, decided_with = $2 WHERE operation_id = $1`,
      [operationId, JSON.stringify({ kept })],
    );
    expect((await whatIf(tenantId)).record).toMatchObject({ played: 1, reproduced: 1, unlike: [] });
  });

  test('a span is read within its time, whatever of it takes so long', async () => {
    const tenantId = await stack.tenant('10');
    const span = { tenantId, from: new Date(0), to: new Date() };
    const reads = [
      () => playRecord(stack.pool, { ...span, tried: [] }, new Replay([]), 200),
      () => readUsedCalls(stack.pool, span, () => undefined, 200),
    ];
    await inTransaction(stack.admin, async (client) => {
      await client.query('LOCK TABLE copilot_internal.limit_changes, copilot_internal.cost_records');
      for (const read of reads) {
        const begunMs = performance.now();
        expect(isTooSlow(await read().catch((error: unknown) => error))).toBe(true);
        expect(performance.now() - begunMs).toBeLessThan(3_000);
      }
    });
  });

  test('a step that waits for money counts once, and of limits by which nothing was played nothing is said', async () => {
    const tenantId = await stack.tenant('1');
    const tried = ['what-if', tenantId, ...['50', 'llm/month=50', 'e2b/month=50'].flatMap((of) => ['--limit', of])];
    expect((await spendlock(api, ...tried)).out).toContain('no request was played, so nothing can be said of it');
    const step = { runId: randomUUID(), step: 3, attempt: 1 };
    for (let asked = 0; asked < 4; asked += 1) await decide(tenantId, [reserve(randomUUID(), '6', step)]);
    await decide(tenantId, [reserve(randomUUID(), '7')]);
    const limits = ['all', 'llm', 'e2b'].map((resourceType) => ({ resourceType, limitUsd: '50' }));
    expect(await whatIf(tenantId, { limits })).toMatchObject({ record: { played: 5 }, raised: 2, raisedUsd: '13' });
    expect((await spendlock(api, ...tried)).out).toContain('asked again counts once');
    const same = await spendlock(api, 'what-if', tenantId, '--limit', '2');
    expect(same.out).toContain('each of the 5 requests played would have been answered the same');
  });

  test('days that pass at once, as a chaos run has them pass, leave the record as it was', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'all', period: 'day', limitUsd: '10' }]);
    const ask = async (amountUsd: string): Promise<string> => {
      const operationId = randomUUID();
      await decide(tenantId, [reserve(operationId, amountUsd, { ttlSeconds: 600 })]);
      return operationId;
    };
    for (let day = 0; day < 3; day += 1) {
      const expiresAt = new Date(Date.now() + 1_000).toISOString();
      await api.admin.budget.topUp(tenantId, { period: 'day', amountUsd: '4', expiresAt, reason: 'a test' });
      const first = await ask('7');
      await ask('6');
      await ask('1.5');
      await api.admin.commit(first, { tenantId, costUsd: '7' });
      // The top-up has expired by then.
      await sleep(1_100);
      await ask('3');
      await passDay(stack.admin, tenantId);
      await ask('6');
      await decide(tenantId, [release(first)]);
    }
    await ageHolds(stack.admin);
    const { record } = await whatIf(tenantId, { from: new Date(0).toISOString() });
    expect(record).toEqual({ played: 15, reproduced: 15, unlike: [], notReplayed: [] });
  });
});
