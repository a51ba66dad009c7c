/** What operators do with runs and keys, from their command line. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { command, spendlock } from '../support/cli';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('operators', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const json = async <T>(...args: string[]): Promise<T> => {
    const { status, out, err } = await spendlock(api, ...args, '--json');
    if (status !== 0) throw new Error(err);
    return JSON.parse(out) as T;
  };

  test('find out which quota denied a run, and what each step reserved and cost', async () => {
    const tenantId = await stack.tenant('0.01');
    const file = { name: 'data.csv', content: 'a\n1\n' };
    const run = await stack.run({ tenantId, task: 'Profile this file.', file, userId: 'ada' });
    expect(run.status).toBe('quota_exceeded');
    await stack.run({ tenantId, userId: 'bob' });
    const listed = await spendlock(api, 'runs', 'list', tenantId, '--status', 'quota_exceeded');
    expect(listed.out).toContain(run.runId);
    expect(listed.out).toMatch(/ada.*quota_exceeded.*claude-haiku-4-5/);
    expect(listed.out).not.toContain('bob');
    const shown = await spendlock(api, 'runs', 'show', tenantId, run.runId);
    expect(shown.out).toContain(`(run/${run.runId} in Temporal UI): quota_exceeded`);
    expect(shown.out).toMatch(/quota_exceeded: .*\$0\.01/);
    expect(shown.out).toMatch(/llm\.call.*committed.*\$0\.00/);
    expect(shown.out).toMatch(/sandbox\.create.*denied/);
    const { runs } = await json<{ runs: { userId: string }[] }>('runs', 'list', tenantId);
    expect(runs.map(({ userId }) => userId)).toEqual(['bob', 'ada']);
  });

  test('cancel a run', async () => {
    stack.anthropic.knobs.deltaSpacingMs = 20_000;
    const tenantId = await stack.tenant('5');
    const started = await stack.start({ tenantId });
    await until('it runs', () => stack.anthropic.calls().inFlight > 0);
    expect((await spendlock(api, 'runs', 'cancel', tenantId, started.runId)).out).toContain('was asked to stop');
    expect((await stack.finish({ tenantId, ...started })).status).toBe('cancelled');
    expect(await spendlock(api, 'runs', 'cancel', tenantId, started.runId)).toMatchObject({ status: 1 });
  });

  const tryKey = async (key: string): Promise<number> => (await api.request('/v1/runs', { key })).status;

  test('make, rotate and revoke keys; the old one of a rotation is taken for a while', async () => {
    const tenantId = await stack.tenant('5');
    type Made = { apiKeyId: string; apiKey: string };
    const made = await json<Made>('keys', 'create', '--tenant', tenantId, '--label', 'backend');
    expect(await tryKey(made.apiKey)).toBe(200);
    const rotated = await json<Made>('keys', 'rotate', made.apiKeyId, '--tenant', tenantId, '--grace', '2');
    expect([await tryKey(made.apiKey), await tryKey(rotated.apiKey)]).toEqual([200, 200]);
    // An API process remembers a key for five seconds.
    await until('the old key is refused', async () => (await tryKey(made.apiKey)) === 401, 15_000);
    expect(await tryKey(rotated.apiKey)).toBe(200);
    await json('keys', 'revoke', rotated.apiKeyId, '--tenant', tenantId);
    await until('the new key is refused', async () => (await tryKey(rotated.apiKey)) === 401, 15_000);
    const listed = await spendlock(api, 'keys', 'list', '--tenant', tenantId);
    expect(listed.out).toContain('backend');
    expect(listed.out).not.toContain(made.apiKey);
    const { rows } = await stack.admin.query<{ action: string }>(
      'SELECT action FROM copilot_internal.audit_entries WHERE tenant_id = $1 ORDER BY audit_entry_id',
      [tenantId],
    );
    expect(rows.map(({ action }) => action).slice(-3)).toEqual(['create_key', 'rotate_key', 'revoke_key']);
  });

  test('let the doctor look at an installation: all is well, or what is wrong and what to do', async () => {
    const healthy = {
      DATABASE_URL: stack.database.appUrl,
      TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
      SPENDLOCK_TASK_QUEUE_PREFIX: stack.prefix,
    };
    const well = await command(['doctor'], healthy);
    expect(well.out).not.toContain('wrong');
    expect(well).toMatchObject({ status: 0 });
    expect(well.out).toMatch(/migrations.*All \d+ are applied/);
    type Found = { findings: { what: string; state: string; says: string }[] };
    const ill = await command(['doctor', '--json'], {
      DATABASE_URL: stack.database.adminUrl,
      TEMPORAL_ADDRESS: healthy.TEMPORAL_ADDRESS,
      SPENDLOCK_TASK_QUEUE_PREFIX: 'nobody',
    });
    expect(ill.status).toBe(1);
    const states = Object.fromEntries((JSON.parse(ill.out) as Found).findings.map(({ what, state }) => [what, state]));
    expect(states).toMatchObject({ Postgres: 'ok', role: 'wrong', Temporal: 'ok', 'workers of nobody-runs': 'wrong' });
    const away = await command(['doctor'], {
      DATABASE_URL: 'postgres://spendlock_app@127.0.0.1:1/nothing',
      TEMPORAL_ADDRESS: '127.0.0.1:1',
    });
    expect(away.status).toBe(1);
    expect(away.out).toMatch(/Postgres.*ECONNREFUSED/);
    expect(away.out).toMatch(/Temporal.*cannot be reached/);
  });

  test('ready a namespace of a cluster, and keep how to reach it', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-setup-'));
    const file = path.join(folder, 'temporal.toml');
    const environment = {
      TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
      TEMPORAL_NAMESPACE: `set-up-${randomUUID().slice(0, 8)}`,
    };
    const none = await command(['setup'], environment);
    expect(none.status).toBe(1);
    expect(none.out).toMatch(/namespace +There is no set-up/);
    const made = await command(['setup', '--create-namespace', '--save', file, '--profile', 'cluster'], environment);
    expect(made).toMatchObject({ status: 0 });
    expect(made.out).toMatch(/Registered: SpendlockTenantId, .*SpendlockHoldsMoney/);
    expect(statSync(file).mode & 0o077).toBe(0);
    // What was saved is enough, and there is nothing left to do.
    const again = await command(['setup', '--json'], { TEMPORAL_CONFIG_FILE: file, TEMPORAL_PROFILE: 'cluster' });
    expect(JSON.parse(again.out)).toMatchObject({ isReady: true });
    expect(again.out).toContain(environment.TEMPORAL_NAMESPACE);
    expect(again.out).toContain('All are there.');
    expect((await command(['setup'], { TEMPORAL_ADDRESS: '127.0.0.1:1' })).err).toContain('Nothing was changed');
    rmSync(folder, { recursive: true });
  });

  test('make the first key of an installation past the API, once', async () => {
    const environment = { DATABASE_URL: stack.database.appUrl };
    // The test's own keys stand in the way, as an administrator's would.
    const late = await command(['keys', 'first'], environment);
    expect(late).toMatchObject({ status: 1 });
    expect(late.err).toContain('has a key already');
    await stack.admin.query('UPDATE copilot_internal.api_keys SET revoked_at = now() WHERE tenant_id IS NULL');
    const first = await command(['keys', 'first', '--json'], environment);
    const { apiKey } = JSON.parse(first.out) as { apiKey: string };
    expect((await api.request('/v1/tenants', { key: apiKey })).status).toBe(200);
    await stack.admin.query('UPDATE copilot_internal.api_keys SET revoked_at = NULL WHERE tenant_id IS NULL');
  });

  test('keys of the administration are its own, and no tenant’s key reaches any', async () => {
    const made = await json<{ apiKeyId: string; apiKey: string }>(
      'keys',
      'create',
      '--admin',
      '--label',
      'second administrator',
    );
    expect((await api.request('/v1/tenants', { key: made.apiKey })).status).toBe(200);
    const key = await api.keyOf(await stack.tenant('5'));
    expect((await api.request('/v1/keys', { key })).status).toBe(403);
    const tenantId = await stack.tenant('5');
    expect((await spendlock(api, 'keys', 'revoke', made.apiKeyId, '--tenant', tenantId)).status).toBe(1);
    expect((await spendlock(api, 'keys', 'revoke', made.apiKeyId)).status).toBe(0);
  });
});
