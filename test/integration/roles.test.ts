/**
 * What a key may do goes by its role: every role is tried on every route, as the OpenAPI document has them (XE5, XE19). What the wire proxy
 * passes on is in no document, since it is its providers': its keys are tried in proxy-refusals.test.ts.
 */
import { randomUUID } from 'node:crypto';
import { isTenantRole, roles, type Role } from '../../core/roles';
import { createApiKey } from '../../store/api-keys';
import type { Answer, TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

interface Operation {
  operationId: string;
  method: string;
  path: string;
  allowed: readonly Role[];
}

const [runId, operationId] = [randomUUID(), randomUUID()];

/** What is sent where not everybody may: a request that would do something. Those that the table lacks need no body. */
const bodyOf = (tenantId: string): Record<string, object> => ({
  startRun: { task: 'Say something.' },
  startConversation: {},
  closeConversation: {},
  sendMessage: { message: 'Hello' },
  interruptTurn: {},
  decideApproval: { decision: 'approve' },
  answerMoneyRequest: { decision: 'grant' },
  reserve: { operationId, resource: 'llm', amountUsd: '0.01' },
  claimReservation: {},
  commitReservation: { costUsd: '0.01' },
  releaseReservation: {},
  extendReservation: { ttlSeconds: 60 },
  addTool: {
    ...{ name: 'weather', kind: 'http', url: 'https://tools.example.com/weather' },
    ...{ description: 'The weather.', inputSchema: { type: 'object' } },
  },
  setQuotas: { quotas: [{ resourceType: 'llm', limitUsd: '5' }] },
  enforceQuota: { resourceType: 'llm', reason: 'tried' },
  watchQuota: { resourceType: 'llm', reason: 'tried' },
  removeQuota: { resourceType: 'e2b', reason: 'one for all' },
  topUpBudget: { amountUsd: '1', reason: 'more' },
  freezeBudget: { reason: 'a look' },
  unfreezeBudget: {},
  setPolicy: { onUnavailable: 'deny' },
  setUserDefaults: { quotas: [{ limitUsd: '1' }] },
  setLabelDefaults: { quotas: [{ key: 'team', limitUsd: '1' }] },
  adjustCost: { operationId, costUsd: '0.02', reason: 'the bill' },
  releaseHold: { reason: 'not called' },
  createTenant: { tenantId: `t-${randomUUID().slice(0, 8)}` },
  setPlatformQuotas: { quotas: [{ resourceType: 'all', limitUsd: '1000' }] },
  removePlatformQuota: { reason: 'no common limit' },
  addPrices: {
    prices: [
      {
        provider: 'anthropic',
        model: 'roles-1',
        inputUsd: '1',
        outputUsd: '2',
        source: 'a test',
        sourceDate: '2026-01-01',
      },
    ],
  },
  addSandboxPrice: {
    tier: 'roles',
    vcpu: 1,
    memoryMib: 512,
    vcpuSecondUsd: '0.1',
    gibSecondUsd: '0.1',
    source: 'a test',
    sourceDate: '2026-01-01',
  },
  createKey: { tenantId, label: 'one more' },
  rotateKey: { tenantId },
  revokeKey: { tenantId },
  recallMandate: { reason: 'a look' },
  allowMandate: {},
  repairBooks: { reason: 'looked' },
  setTitle: { title: 'of a role' },
  deleteTenant: { confirm: tenantId, reason: 'gone' },
});

describe('roles of keys', () => {
  let stack: TestStack;
  let api: TestApi;
  let tenantId: string;
  let operations: Operation[];
  const keys: Partial<Record<Role, string>> = {};
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  beforeAll(async () => {
    tenantId = await stack.tenant('10');
    for (const role of roles)
      keys[role] =
        role === 'administration' ? api.adminKey : await api.keyOf(tenantId, isTenantRole(role) ? role : undefined);
    const document = (await (await api.request('/openapi.json')).json()) as {
      paths: Record<string, Record<string, { operationId: string; 'x-roles'?: Role[] }>>;
    };
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, { operationId, 'x-roles': allowed }]) =>
        allowed ? [{ operationId, method: method.toUpperCase(), path, allowed }] : [],
      ),
    );
  });

  /** The status and the error of one operation, asked for with the key of a role. What goes on is not listened to. */
  const ask = async (role: Role, { operationId: name, method, path }: Operation, more = {}): Promise<Answer> => {
    const id = path.startsWith('/v1/tenants/') ? tenantId : runId;
    const where = path.replace('{id}', id).replace('{operationId}', operationId);
    const body = ['POST', 'PUT'].includes(method) ? { body: { ...bodyOf(tenantId)[name], ...more } } : {};
    const response = await api.request(where, { method, key: keys[role] ?? '', ...body });
    const isError = response.status >= 400;
    const answer = { status: response.status, body: isError ? ((await response.json()) as Answer['body']) : {} };
    if (!isError) await response.body?.cancel();
    return answer;
  };

  /** All rows of the database, in a few letters a table. */
  const rows = async (): Promise<unknown> => {
    const { rows: tables } = await stack.admin.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE relnamespace = 'copilot_internal'::regnamespace AND relkind = 'r' ORDER BY 1`,
    );
    const hashes = await Promise.all(
      tables.map(({ name }) =>
        stack.admin.query(`SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM copilot_internal.${name} t`),
      ),
    );
    return hashes.map((found, at) => [tables[at]?.name, found.rows[0] as unknown]);
  };

  test('XE19: a role that a route does not name is refused there, told which it needs, and nothing is done', async () => {
    const before = await rows();
    const refused = roles.flatMap((role) =>
      operations.filter(({ allowed }) => !allowed.includes(role)).map((operation) => ({ role, operation })),
    );
    expect(refused.length).toBeGreaterThan(100);
    const wrong: unknown[] = [];
    for (const { role, operation } of refused) {
      const { status, body } = await ask(role, operation);
      const needed = operation.allowed.filter((one) => one !== 'tenant').join(' or ');
      const message = `This needs a key of the role ${needed}; this key has the role ${role}. Nothing was done.`;
      if (status !== 403 || body.error !== 'forbidden' || body.message !== message)
        wrong.push({ role, ...operation, status, body });
    }
    expect(wrong).toEqual([]);
    expect(await rows()).toEqual(before);
  });

  test('a role that a route names is not refused there for what it is', async () => {
    const wrong: unknown[] = [];
    // Administration, which deletes the tenant, comes last.
    for (const role of roles.toReversed()) {
      for (const operation of operations.filter(({ allowed }) => allowed.includes(role))) {
        // Nobody is there to answer for the authority, and what is wrong in a body is found after the role.
        const asksAuthority = /^(reserve|(commit|release|extend)Reservation)$/.test(operation.operationId);
        const { status, body } = await ask(role, operation, asksAuthority ? { wrong: true } : {});
        // An administration key has to name the tenant where another speaks for its own.
        const isUnfit = status === 400 && !String(body.message).includes('has to name the tenant');
        const needsMore = asksAuthority || operation.allowed.length === roles.length;
        if (body.error === 'forbidden' || (isUnfit && !needsMore)) wrong.push({ role, ...operation, status, body });
      }
    }
    expect(wrong).toEqual([]);
  });

  test('what a role may not do is refused before its body is read, and HEAD as GET', async () => {
    const key = keys.reader ?? '';
    expect((await api.call('POST', '/v1/runs', { key, body: 'not JSON' })).body.error).toBe('forbidden');
    expect((await api.request('/v1/keys', { method: 'HEAD', key })).status).toBe(403);
    expect((await api.request('/v1/runs', { method: 'HEAD', key })).status).toBe(200);
  });

  test('a key of another tenant stays one of another tenant, whatever its role', async () => {
    const other = await stack.tenant('1');
    const key = await api.keyOf(other, 'operator');
    const mine = await stack.tenant('1');
    const lift = { key, body: { amountUsd: '1', reason: 'mine' } };
    expect(await api.call('POST', `/v1/tenants/${mine}/topups`, lift)).toMatchObject({
      status: 403,
      body: { error: 'forbidden', message: 'This key is for another tenant. Nothing was done.' },
    });
    expect(
      (await api.call('POST', `/v1/tenants/${other}/topups`, { ...lift, body: { ...lift.body, resourceType: 'llm' } }))
        .status,
    ).toBe(200);
  });

  const current = async (key: unknown): Promise<unknown> =>
    (await api.call('GET', '/v1/keys/current', { key: String(key) })).body.role;

  test('XE5: a new key is an agent’s where nothing is said, a rotated one keeps its role, and one of the administration has to be asked for', async () => {
    const { body: made } = await api.call('POST', '/v1/tenants', {
      body: { tenantId: `t-${randomUUID().slice(0, 8)}` },
    });
    const mine = String(made.tenantId);
    expect([made.role, await current(made.apiKey)]).toEqual(['agent', 'agent']);
    const create = (body: object): Promise<Answer> => api.call('POST', '/v1/keys', { body });
    expect((await create({ tenantId: mine })).body.role).toBe('agent');
    const { body: reader } = await create({ tenantId: mine, role: 'reader' });
    expect([reader.role, await current(reader.apiKey)]).toEqual(['reader', 'reader']);
    const rotated = await api.call('POST', `/v1/keys/${String(reader.apiKeyId)}/rotate`, {
      body: { tenantId: mine },
      headers: { 'idempotency-key': randomUUID() },
    });
    expect([rotated.body.role, await current(rotated.body.apiKey)]).toEqual(['reader', 'reader']);
    const { apiKeyId: before } = await createApiKey(stack.pool, { tenantId: mine });
    const { body: old } = await api.call('POST', `/v1/keys/${before}/rotate`, { body: { tenantId: mine } });
    expect([old.role, await current(old.apiKey)]).toEqual(['tenant', 'tenant']);
    for (const body of [
      {},
      { tenantId: mine, role: 'administration' },
      { role: 'operator' },
      { tenantId: mine, role: 'tenant' },
    ])
      expect([body, await create(body)]).toMatchObject([body, { status: 400, body: { error: 'invalid_request' } }]);
    expect((await create({ role: 'administration' })).body.role).toBe('administration');
    const { keys: listed } = (await api.call('GET', `/v1/keys?tenantId=${mine}`)).body as { keys: { role: string }[] };
    expect(listed.map(({ role }) => role).sort()).toEqual(['agent', 'agent', 'reader', 'reader', 'tenant', 'tenant']);
  });

  test('XE5: the last key of the administration is revoked only where it is named once more, also by two at once', async () => {
    const { rows: mine } = await stack.admin.query<{ id: string }>(
      'UPDATE copilot_internal.api_keys SET revoked_at = NULL WHERE label = $1 RETURNING api_key_id AS id',
      ['test'],
    );
    await stack.admin.query(
      `UPDATE copilot_internal.api_keys SET revoked_at = now() WHERE tenant_id IS NULL AND label <> 'test'`,
    );
    const last = mine[0]?.id ?? '';
    const revoke = (id: string, body = {}): Promise<Answer> => api.call('POST', `/v1/keys/${id}/revoke`, { body });
    expect(await revoke(last)).toMatchObject({ status: 409, body: { error: 'last_key' } });
    expect(await revoke(last, { confirm: randomUUID() })).toMatchObject({ status: 409 });
    const { body: second } = await api.call('POST', '/v1/keys', { body: { role: 'administration' } });
    const both = await Promise.all([last, String(second.apiKeyId)].map((id) => revoke(id)));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    const key = String(both[0]?.status === 200 ? second.apiKey : api.adminKey);
    const left = both[0]?.status === 200 ? String(second.apiKeyId) : last;
    expect(await api.call('POST', `/v1/keys/${left}/revoke`, { key, body: { confirm: left } })).toMatchObject({
      status: 200,
    });
    await stack.admin.query('UPDATE copilot_internal.api_keys SET revoked_at = NULL WHERE api_key_id = $1', [last]);
  });

  test('a process of the version before, which knows no roles, knows no key that has one', async () => {
    const found = async (key: string): Promise<number | null> =>
      (await stack.pool.query(`SELECT FROM copilot_internal.find_api_key(sha256($1::text::bytea))`, [key])).rowCount;
    expect(await found(keys.reader ?? '')).toBe(0);
    expect(await found(keys.tenant ?? '')).toBe(1);
  });
});
