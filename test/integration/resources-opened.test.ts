/** What opens a resource and what a tool is billed as, where a tenant's own limits are not the only ones (docs/decisions/0057). */
import { randomUUID } from 'node:crypto';
import type { BindingQuota, Enforced, ReserveCommand } from '../../core/budget/commands';
import { usdToNumber } from '../../core/money';
import { billedAs, sentAs } from '../../core/resources';
import { decideAndRecord } from '../../store/budget-batch';
import { allowUnreserved, recordMade } from '../../store/decided';
import { addWaiter, listWaiters } from '../../store/money-waiters';
import { asTenant } from '../../store/pool';
import { listQuotas } from '../../store/quotas';
import { billedResource } from '../../store/resources';
import { reserve, usd } from '../support/budget-model';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

const both: Enforced = { llm: true, e2b: true };

describe('beside the limits of users and of the platform', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** A tenant that itself limits these alone. */
  const limiting = async (limits: Record<string, string>): Promise<string> => {
    const tenantId = await stack.tenant('100');
    const quotas = Object.entries(limits).map(([resourceType, limitUsd]) => ({ resourceType, limitUsd }));
    await api.admin.tenants.setQuotas(tenantId, quotas);
    await stack.admin.query(
      `DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND NOT resource_type = ANY ($2)`,
      [tenantId, Object.keys(limits)],
    );
    return tenantId;
  };
  const setUserDefault = (tenantId: string, resourceType: string, limitUsd: string, period: 'day' | 'month' = 'day') =>
    api.admin.budget.setUserDefaults(tenantId, { quotas: [{ resourceType, limitUsd, period }] });
  const ask = (tenantId: string, resource: string, amountUsd: string, more: object = {}) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource, amountUsd, ...more },
    });
  const check = (tenantId: string, resource: string, estimatedUsd: string, more: object = {}) =>
    api.call('POST', '/v1/quota-checks', { body: { tenantId, resource, estimatedUsd, ...more } });
  const allow = (tenantId: string, resource: string, amountUsd: string, more: Partial<ReserveCommand> = {}) =>
    allowUnreserved(stack.pool, {
      ...{ tenantId, enforced: both },
      command: reserve(randomUUID(), amountUsd, { ...sentAs(resource), ...more }),
    });
  const missing = { status: 409, body: { error: 'quota_missing' } };

  test('a name is opened by a limit of the tenant alone: no user that somebody made up and no lease opens it', async () => {
    const tenantId = await limiting({ llm: '100', e2b: '50' });
    await setUserDefault(tenantId, 'all', '5');
    const userId = `made-up-${randomUUID()}`;
    expect(await ask(tenantId, 'x', '5', { userId })).toMatchObject(missing);
    expect(await check(tenantId, 'x', '5', { userId })).toMatchObject(missing);
    expect(await allow(tenantId, 'x', '5', { userId })).toMatchObject({ code: 'quota_missing' });
    expect(await ask(tenantId, 'llm', '5', { userId })).toMatchObject({ status: 201 });
    await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'all', limitUsd: '10000' }] });
    try {
      expect(await ask(tenantId, 'x', '9000')).toMatchObject(missing);
      expect(await check(tenantId, 'x', '9000')).toMatchObject(missing);
      expect(await allow(tenantId, 'x', '9000')).toMatchObject({ code: 'quota_missing' });
      // What there was before is open to it, as it was.
      const ofNone = await limiting({ weather: '1' });
      expect(await check(ofNone, 'e2b', '1')).toMatchObject({ status: 200 });
      expect(await ask(ofNone, 'tool', '1')).toMatchObject({ status: 201 });
    } finally {
      await api.admin.platform.removeQuota({ resourceType: 'all', period: 'month', reason: 'a test' });
    }
  });

  test('a check says no where no limit allows anything', async () => {
    const tenantId = await limiting({ llm: '100' });
    for (const resource of ['e2b', 'tool', 'search'])
      expect([await check(tenantId, resource, '0.1'), await ask(tenantId, resource, '0.1')]).toMatchObject([
        missing,
        missing,
      ]);
  });

  test('a tool is under the limit for sandboxes of its user or the platform, where that is all there is', async () => {
    const tenantId = await limiting({ llm: '100' });
    await setUserDefault(tenantId, 'e2b', '5');
    // Nobody has seen this user.
    const userId = `new-${randomUUID()}`;
    const more = { userId };
    const denied = { status: 429, body: { resourceType: 'e2b', quota: { scope: 'user', resourceType: 'e2b' } } };
    expect(await check(tenantId, 'tool', '6', more)).toMatchObject(denied);
    expect(await check(tenantId, 'tool', '4', more)).toMatchObject({ status: 200, body: { resourceType: 'e2b' } });
    expect(await allow(tenantId, 'tool', '6', more)).toMatchObject({ decision: 'denied', quota: { scope: 'user' } });
    expect(await allow(tenantId, 'tool', '4', more)).toMatchObject({ decision: 'granted' });
    expect(await ask(tenantId, 'tool', '4', more)).toMatchObject({ status: 201 });
    expect(await ask(tenantId, 'tool', '4', more)).toMatchObject(denied);
    const { rows } = await stack.admin.query(
      'SELECT DISTINCT resource FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    expect(rows).toEqual([{ resource: 'e2b' }]);
  });

  test.each<[string, Record<string, string>, [string, string] | undefined, string | undefined]>([
    ['its own', { e2b: '1' }, ['tool', '1'], undefined],
    ['its own and tools', { e2b: '1', tool: '1' }, ['e2b', '1'], undefined],
    ['none', { llm: '1' }, undefined, undefined],
    ['a new user’s', { llm: '1' }, ['e2b', '1'], undefined],
    ['a new user’s, beside its own of all', { all: '1' }, ['e2b', '1'], undefined],
    ['a new user’s of all', { llm: '1' }, ['all', '1'], undefined],
    ['the platform’s', { llm: '1' }, undefined, 'e2b'],
    ['the platform’s, beside a user’s of tools', { llm: '1' }, ['tool', '1'], 'e2b'],
  ])('the database says of a tool what a decision says of it: of %s', async (_whose, limits, ofUser, ofPlatform) => {
    const tenantId = await limiting(limits);
    const userId = randomUUID();
    if (ofUser) await setUserDefault(tenantId, ...ofUser);
    if (ofPlatform) await api.admin.platform.setQuotas({ quotas: [{ resourceType: ofPlatform, limitUsd: '9' }] });
    const billed = () =>
      asTenant(stack.pool, tenantId, (client) => billedResource(client, tenantId, { ...sentAs('tool'), userId }));
    try {
      const ofNew = await billed();
      const commands = [reserve(randomUUID(), '0', { ...sentAs('tool'), userId })];
      const options = { tenantId, commands, enforced: both, timeoutMs: 5_000 };
      const decided = await decideAndRecord(stack.pool, options);
      expect(decided?.decision.reservations).toMatchObject([{ request: { resource: ofNew } }]);
      const quotas = await listQuotas(stack.pool, tenantId, { userIds: [userId] });
      expect([billedAs('tool', quotas, { userId }), await billed()]).toEqual([ofNew, ofNew]);
    } finally {
      if (ofPlatform)
        await api.admin.platform.removeQuota({ resourceType: ofPlatform, period: 'month', reason: 'a test' });
    }
  });

  test('a step that asks again waits for what it is billed as by then', async () => {
    const tenantId = await limiting({ e2b: '3', tool: '1' });
    const waiter = { waiterId: randomUUID(), tenantId, workflowId: 'w', neededUsd: usd('5'), ...sentAs('tool') };
    const quota: BindingQuota = {
      ...{ scope: 'tenant', scopeId: tenantId, resourceType: 'tool', period: 'month', resetsAt: '2100-01-01' },
      ...{ limitUsd: '1', spentUsd: '0', reservedUsd: '0', remainingUsd: '1', estimatedUsd: '5' },
    };
    await addWaiter(stack.pool, waiter, { quota });
    expect(await listWaiters(stack.pool, tenantId)).toMatchObject([{ resource: 'tool' }]);
    await api.admin.budget.removeQuota(tenantId, { resourceType: 'tool', period: 'month', reason: 'a test' });
    await addWaiter(stack.pool, waiter, { quota });
    expect(await listWaiters(stack.pool, tenantId)).toMatchObject([{ resource: 'e2b' }]);
  });

  test('what is told of a tool that is billed as a sandbox is bound as sandboxes are', async () => {
    const tenantId = await limiting({ llm: '9', e2b: '3' });
    const tell = (enforced: Enforced | undefined) => {
      const command = reserve(randomUUID(), '50', sentAs('tool'));
      const item = { operationId: command.operationId, costUsd: usd('50') };
      return recordMade(stack.pool, { tenantId, command, item, enforced });
    };
    const beyond = await tell({ llm: false, e2b: true });
    expect(beyond && usdToNumber(beyond.beyondUsd)).toBe(6);
    expect(await tell({ llm: true, e2b: false })).toBeUndefined();
    expect(await tell(undefined)).toBeUndefined();
  });

  test('who sets a limit is told that tools are billed as something else from then on', async () => {
    const tenantId = await limiting({ llm: '9', e2b: '3' });
    const set = async (resourceType: string, more: object = {}) =>
      (await api.admin.tenants.setQuotas(tenantId, [{ resourceType, limitUsd: '9', ...more }])).warnings;
    expect(await set('llm')).toEqual([]);
    expect(await set('tool', { scope: 'user', scopeId: 'ada' })).toEqual([expect.stringContaining('binds nothing')]);
    expect(await set('all')).toContainEqual(expect.stringContaining('billed as tool from now on, and no more as e2b'));
  });

  test('where nobody decides a database of the version before is asked to hold no other, and a tool is what it was', async () => {
    const tenantId = await limiting({ all: '9' });
    const rename = (from: string, to: string) =>
      stack.admin.query(`ALTER FUNCTION copilot_internal.${from} RENAME TO ${to}`);
    await rename('are_too_many_resources', 'not_there_yet');
    await rename('billed_as', 'not_there_either');
    try {
      expect(await allow(tenantId, 'geocoding', '1')).toMatchObject({
        code: 'invalid_request',
        message: expect.stringContaining('has not been migrated') as string,
      });
      expect(await allow(tenantId, 'tool', '1')).toMatchObject({ decision: 'granted' });
    } finally {
      await rename('not_there_yet', 'are_too_many_resources');
      await rename('not_there_either', 'billed_as');
    }
    const { rows } = await stack.admin.query(
      'SELECT resource FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    expect(rows).toEqual([{ resource: 'e2b' }]);
    expect(await allow(tenantId, 'geocoding', '1')).toMatchObject({ decision: 'granted' });
  });

  test('the default of a user that nobody has seen binds its first call, with what it has spent and holds', async () => {
    const tenantId = await limiting({ all: '100' });
    const userId = `new-${randomUUID()}`;
    expect(await ask(tenantId, 'llm', '3', { userId })).toMatchObject({ status: 201 });
    await setUserDefault(tenantId, 'llm', '5');
    const denied = { scope: 'user', scopeId: userId, limitUsd: '5' };
    expect(await check(tenantId, 'llm', '6', { userId: 'nobody' })).toMatchObject({
      status: 429,
      body: { quota: { scope: 'user', remainingUsd: '5' } },
    });
    expect(await check(tenantId, 'llm', '4', { userId })).toMatchObject({
      status: 429,
      body: { quota: { ...denied, reservedUsd: '3', remainingUsd: '2' } },
    });
    expect(await allow(tenantId, 'llm', '6', { userId })).toMatchObject({ decision: 'denied', quota: denied });
    expect(await check(tenantId, 'geocoding', '6', { userId })).toMatchObject({ status: 200 });
    expect(await check(tenantId, 'llm', '6')).toMatchObject({ status: 200 });
    // What was set for the user itself holds.
    const own = { scope: 'user', scopeId: 'ada', resourceType: 'llm', period: 'day', limitUsd: '9' } as const;
    await api.admin.tenants.setQuotas(tenantId, [own]);
    expect(await check(tenantId, 'llm', '8', { userId: 'ada' })).toMatchObject({ status: 200 });
  });
});
