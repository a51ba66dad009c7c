/** Keys are shown once and stored never; an Idempotency-Key outlives the key that it was sent with (XC1, XC6, XD7). */
import { randomBytes, randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { createApiKey, revokeApiKey } from '../../store/api-keys';
import { asTenant } from '../../store/pool';
import type { Answer, TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

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

  test('a key that is rotated by itself, to end at once, answers with the new one', async () => {
    const { body: own } = await api.call('POST', '/v1/keys', { body: { role: 'administration', label: 'own' } });
    const rotated = await api.call('POST', `/v1/keys/${String(own.apiKeyId)}/rotate`, {
      key: String(own.apiKey),
      body: { graceSeconds: 0 },
    });
    expect(rotated.status).toBe(201);
    expect((await api.call('GET', '/v1/keys/current', { key: String(rotated.body.apiKey) })).status).toBe(200);
    expect((await api.call('GET', '/v1/keys/current', { key: String(own.apiKey) })).status).toBe(401);
    const { body } = await api.call('GET', '/v1/keys');
    expect((body.keys as { label: string }[]).filter(({ label }) => label === 'own')).toHaveLength(2);
  });

  test('a key that is revoked while the body of a request comes changes nothing with it', async () => {
    const tenantId = await stack.tenant('1');
    const { key, apiKeyId } = await createApiKey(stack.pool, { tenantId, role: 'operator' });
    const body = JSON.stringify({ amountUsd: '5', reason: 'before it is too late' });
    const asked = request(`${api.url}/v1/tenants/${tenantId}/topups`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': body.length },
    });
    const status = new Promise((resolve, reject) => {
      asked.once('response', (answer) => resolve(answer.resume().statusCode));
      asked.once('error', reject);
    });
    await new Promise((resolve) => asked.write(body.slice(0, 5), resolve));
    // The request is under way before another one that comes after it is answered.
    expect(await works(key)).toBe(true);
    await revokeApiKey(stack.pool, { tenantId, apiKeyId });
    await until('the key is refused', async () => !(await works(key)));
    asked.end(body.slice(5));
    expect(await status).toBe(401);
    const { body: quotas } = await api.call('GET', `/v1/tenants/${tenantId}/quotas`);
    expect((quotas.quotas as { topupUsd: string }[]).filter(({ topupUsd }) => topupUsd !== '0')).toEqual([]);
  });

  test('a key that was revoked comes back by no rotation, and of rotations at once that end it one makes a key', async () => {
    const tenantId = await stack.tenant('1');
    const rotate = (apiKeyId: string, more: object = {}): Promise<Answer> =>
      api.call('POST', `/v1/keys/${apiKeyId}/rotate`, { body: { tenantId, graceSeconds: 0 }, ...more });
    const { apiKeyId: revoked } = await createApiKey(stack.pool, { tenantId });
    await revokeApiKey(stack.pool, { tenantId, apiKeyId: revoked });
    const refused = await rotate(revoked);
    expect(refused).toMatchObject({ status: 404, body: { error: 'not_found' } });
    expect(refused.body.message).toContain('revoked');
    const { apiKeyId: often } = await createApiKey(stack.pool, { tenantId });
    const answers = await Promise.all(Array.from({ length: 6 }, () => rotate(often)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 404, 404, 404, 404, 404]);
    // A repeat is shown the key that was made.
    const { apiKeyId: once } = await createApiKey(stack.pool, { tenantId });
    const order = { headers: named(randomUUID()) };
    const first = await rotate(once, order);
    expect([first.status, await rotate(once, order)]).toEqual([201, first]);
  });

  test('XC6: an Idempotency-Key counts for the tenant, so that a rotated key starts nothing twice', async () => {
    const tenantId = await stack.tenant('10');
    const [old, rotated] = [await api.keyOf(tenantId), await api.keyOf(tenantId)];
    const start = (key: string): Promise<Answer> =>
      api.call('POST', '/v1/runs', { key, body: { task: 'Say something.' }, headers: named('one-run') });
    const first = await start(old);
    expect(first).toMatchObject({ status: 202, body: { runId: expect.any(String) as string } });
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
      ['/v1/keys', { role: 'administration', label: 'mine' }],
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

  const guess = (): string => `slk_${randomBytes(32).toString('base64url')}`;
  const statusOf = async (key: string): Promise<number> => (await api.request('/v1/keys/current', { key })).status;
  /** How many statements look keys up while something is done, and how long that takes. */
  const lookUpsOf = async (work: () => Promise<void>): Promise<{ statements: number; tookMs: number }> => {
    const statements = jest.spyOn(stack.pool, 'query');
    const startedMs = performance.now();
    try {
      await work();
      const asked = statements.mock.calls.filter(([text]) => /find_key_owner/.test(String(text)));
      return { statements: asked.length, tookMs: performance.now() - startedMs };
    } finally {
      statements.mockRestore();
    }
  };

  test('XC6: keys that nobody knows cost few statements, and are told what they are', async () => {
    let answers: number[] = [];
    const { statements, tookMs } = await lookUpsOf(async () => {
      answers = await Promise.all(Array.from({ length: 2_000 }, () => statusOf(guess())));
    });
    expect(answers.filter((status) => status !== 401)).toEqual([]);
    expect(statements).toBeGreaterThan(0);
    expect(statements).toBeLessThan(10 + tookMs / 20);
  });

  test('XC6: a client that goes on with a revoked key, one request after the other, costs few statements', async () => {
    const tenantId = await stack.tenant('1');
    const { key, apiKeyId } = await createApiKey(stack.pool, { tenantId });
    await revokeApiKey(stack.pool, { tenantId, apiKeyId });
    const { statements, tookMs } = await lookUpsOf(async () => {
      for (let at = 0; at < 100; at += 1) expect(await statusOf(key)).toBe(401);
    });
    expect(statements).toBeLessThan(10 + tookMs / 20);
  });

  test('XC6: no good key is refused for the bad ones of others, not even one that the process has not seen', async () => {
    const tenantId = await stack.tenant('1');
    const good = await Promise.all(Array.from({ length: 200 }, () => api.keyOf(tenantId)));
    const { key: revoked, apiKeyId } = await createApiKey(stack.pool, { tenantId });
    await revokeApiKey(stack.pool, { tenantId, apiKeyId });
    const tookMs: number[] = [];
    const answers: number[] = [];
    const told: number[] = [];
    let isOver = false;
    // All of them come from one address.
    const flood = async (): Promise<void> => {
      while (!isOver) told.push(await statusOf(told.length % 2 ? guess() : revoked));
    };
    const flooding = Promise.all(Array.from({ length: 32 }, flood));
    const flooded = await lookUpsOf(async () => {
      await until('the flood has begun', () => Promise.resolve(told.length > 100));
      for (const key of good) {
        const startedMs = performance.now();
        answers.push(await statusOf(key));
        tookMs.push(performance.now() - startedMs);
      }
    });
    isOver = true;
    await flooding;
    expect(answers.filter((status) => status !== 200)).toEqual([]);
    expect(told.filter((status) => status !== 401)).toEqual([]);
    expect(told.length).toBeGreaterThan(1_000);
    expect(flooded.statements).toBeLessThan(10 + flooded.tookMs / 20);
    expect([...tookMs].sort((a, b) => a - b)[Math.floor(0.99 * tookMs.length)]).toBeLessThan(1_000);
    // The same beside a known one.
    expect(await works(api.adminKey)).toBe(true);
  });
});
