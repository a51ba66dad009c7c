/** Keys are shown once and stored never; an Idempotency-Key outlives the key that it was sent with (XC1, XC6, XD7). */
import { randomUUID } from 'node:crypto';
import { createApiKey, revokeApiKey } from '../../store/api-keys';
import { asTenant } from '../../store/pool';
import type { Answer, TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('safety of keys', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });

  const named = (name: string): Record<string, string> => ({ 'idempotency-key': name });
  const works = async (key: unknown): Promise<boolean> =>
    (await api.request('/v1/keys/current', { key: String(key) })).status === 200;
  /** Whether a text stands anywhere in the database's rows. */
  const isStored = async (text: string): Promise<string[]> => {
    const { rows } = await stack.admin.query<{ name: string }>(
      `SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind = 'r'`,
    );
    const found = await Promise.all(
      rows.map(async ({ name }) => {
        const { rowCount } = await stack.admin.query(
          `SELECT FROM copilot_internal.${name} t WHERE to_jsonb(t)::text LIKE $1 LIMIT 1`,
          [`%${text}%`],
        );
        return rowCount ? [name] : [];
      }),
    );
    return found.flat();
  };

  test('XC1: a key that is made under an Idempotency-Key is stored nowhere, and a repeat is shown the same one', async () => {
    const tenantId = `t-${randomUUID().slice(0, 8)}`;
    const order = { body: { tenantId }, headers: named(randomUUID()) };
    const first = await api.call('POST', '/v1/tenants', order);
    expect(first.status).toBe(201);
    const again = await api.call('POST', '/v1/tenants', order);
    expect(again).toEqual(first);
    expect(await works(first.body.apiKey)).toBe(true);
    expect(await isStored(String(first.body.apiKey))).toEqual([]);
    const { keys } = (await api.call('GET', `/v1/keys?tenantId=${tenantId}`)).body as { keys: unknown[] };
    expect(keys).toHaveLength(1);
  });

  test('XC1: the same of keys that are made and rotated', async () => {
    const tenantId = await stack.tenant('1');
    const make = { body: { tenantId, label: 'service' }, headers: named(randomUUID()) };
    const made = await api.call('POST', '/v1/keys', make);
    expect(await api.call('POST', '/v1/keys', make)).toEqual(made);
    const rotate = { body: { tenantId }, headers: named(randomUUID()) };
    const to = `/v1/keys/${String(made.body.apiKeyId)}/rotate`;
    const rotated = await api.call('POST', to, rotate);
    expect(await api.call('POST', to, rotate)).toEqual(rotated);
    expect(rotated.body.apiKey).not.toBe(made.body.apiKey);
    for (const { body } of [made, rotated]) {
      expect(await works(body.apiKey)).toBe(true);
      expect(await isStored(String(body.apiKey))).toEqual([]);
    }
    const { keys } = (await api.call('GET', `/v1/keys?tenantId=${tenantId}`)).body as { keys: { label: string }[] };
    expect(keys.map(({ label }) => label)).toEqual(['service', 'service']);
  });

  test('XC1: a process of the version before cannot store a key with an answer either', async () => {
    const { apiKeyId } = await createApiKey(stack.pool, { label: 'old' });
    const name = randomUUID();
    await stack.pool.query(
      `INSERT INTO copilot_internal.idempotent_requests (api_key_id, idempotency_key, request_hash, response_status, response_body)
       VALUES ($1, $2, '\\x00', 201, '{"apiKey": "slk_secret", "tenantId": "x"}')`,
      [apiKeyId, name],
    );
    const { rows } = await stack.pool.query<{ response_body: object }>(
      'SELECT response_body FROM copilot_internal.idempotent_requests WHERE idempotency_key = $1',
      [name],
    );
    expect(rows).toEqual([{ response_body: { tenantId: 'x' } }]);
  });

  test('XC1: a tenant sees no answers of another, nor of the administration', async () => {
    const tenantId = `t-${randomUUID().slice(0, 8)}`;
    await api.call('POST', '/v1/tenants', { body: { tenantId }, headers: named(randomUUID()) });
    const key = await api.keyOf(tenantId);
    await api.call('POST', '/v1/quota-checks', { key, body: {}, headers: named('mine') });
    const other = await stack.tenant('1');
    const seen = (as: string): Promise<number> =>
      asTenant(stack.pool, as, async (client) => {
        const { rows } = await client.query('SELECT FROM copilot_internal.idempotent_requests');
        return rows.length;
      });
    expect(await seen(other)).toBe(0);
    expect(await seen('')).toBeGreaterThan(0);
  });

  test('XC6: an Idempotency-Key counts for the tenant, so that a rotated key starts nothing twice', async () => {
    const tenantId = await stack.tenant('10');
    const [old, rotated] = [await api.keyOf(tenantId), await api.keyOf(tenantId)];
    const start = (key: string): Promise<Answer> =>
      api.call('POST', '/v1/runs', { key, body: { task: 'Say something.' }, headers: named('one-run') });
    const first = await start(old);
    expect(first.status).toBe(202);
    expect(await start(rotated)).toEqual(first);
    const another = await stack.tenant('10');
    const theirs = await start(await api.keyOf(another));
    expect(theirs.body.runId).not.toBe(first.body.runId);
  });

  test('XC6: for the administration it counts for the whole installation, and no caller is locked out', async () => {
    const tenantId = `t-${randomUUID().slice(0, 8)}`;
    const { key: second } = await createApiKey(stack.pool, { label: 'second' });
    const order = { body: { tenantId }, headers: named(randomUUID()) };
    const first = await api.call('POST', '/v1/tenants', order);
    const again = await api.call('POST', '/v1/tenants', { ...order, key: second });
    expect(again.status).toBe(201);
    expect(await works(first.body.apiKey)).toBe(true);
    expect(await works(again.body.apiKey)).toBe(true);
  });

  test('XD7: a key that was revoked makes no key, whatever a process remembers of it', async () => {
    const { key, apiKeyId } = await createApiKey(stack.pool, { label: 'leaving' });
    expect(await works(key)).toBe(true);
    // Nobody is told: only the database knows.
    await stack.admin.query('ALTER TABLE copilot_internal.api_keys DISABLE TRIGGER key_changed');
    await revokeApiKey(stack.pool, { tenantId: undefined, apiKeyId });
    const attempts: [string, object][] = [
      ['/v1/keys', { label: 'mine' }],
      ['/v1/tenants', { tenantId: `t-${randomUUID().slice(0, 8)}` }],
      [`/v1/keys/${apiKeyId}/rotate`, {}],
    ];
    for (const [path, body] of attempts) {
      const answer = await api.call('POST', path, { key, body });
      expect(answer).toMatchObject({ status: 401, body: { error: 'unauthorized' } });
    }
    await stack.admin.query('ALTER TABLE copilot_internal.api_keys ENABLE TRIGGER key_changed');
    const { rowCount } = await stack.admin.query("SELECT FROM copilot_internal.api_keys WHERE label = 'mine'");
    expect(rowCount).toBe(0);
  });

  test('XC6: what administration makes and sets is in the audit, with who did it', async () => {
    const tenantId = `t-${randomUUID().slice(0, 8)}`;
    await api.call('POST', '/v1/tenants', { body: { tenantId, name: 'Acme' } });
    await api.call('PUT', `/v1/tenants/${tenantId}/quotas`, {
      body: { quotas: [{ resourceType: 'all', limitUsd: '3' }] },
    });
    const { rows } = await stack.admin.query<{ action: string; author: string | null; api_key_id: string | null }>(
      'SELECT action, author, api_key_id FROM copilot_internal.audit_entries WHERE tenant_id = $1 ORDER BY audit_entry_id',
      [tenantId],
    );
    const by = rows[0]?.api_key_id;
    expect(rows).toEqual([
      { action: 'create_tenant', author: `API key ${by}`, api_key_id: by },
      { action: 'set_quotas', author: `API key ${by}`, api_key_id: by },
    ]);
  });

  test('XC6: keys that nobody knows cost no queries without end', async () => {
    const guess = (): string =>
      `slk_${Buffer.from(randomUUID() + randomUUID())
        .toString('base64url')
        .slice(0, 43)}`;
    const answers = await Promise.all(
      Array.from({ length: 300 }, async () => (await api.request('/v1/keys/current', { key: guess() })).status),
    );
    expect(answers.filter((status) => status === 429).length).toBeGreaterThan(200);
    expect(answers.filter((status) => ![401, 429].includes(status))).toEqual([]);
    // What was known before is served meanwhile.
    expect(await works(api.adminKey)).toBe(true);
  });
});
