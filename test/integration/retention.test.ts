/** What an installation forgets, what it keeps, and the end of a tenant. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createApiKey } from '../../store/api-keys';
import { setPlatformQuotas } from '../../store/leases';
import { budgetWorkflowId } from '../../contracts/messages';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

const canary = 'canary-of-what-was-said';

describe('retention', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), {
    environment: { SPENDLOCK_KEEP_TRANSCRIPTS_DAYS: '30', SPENDLOCK_KEEP_EVENTS_DAYS: '90' },
  });

  let forget: () => Promise<unknown>;
  beforeAll(async () => {
    const startNow = await stack.takeOverSchedules();
    forget = () => startNow('forgetOld');
  });
  /** Everything that Postgres has of a tenant, as text. */
  const everything = async (tenantId: string): Promise<string> =>
    (await api.request(`/v1/tenants/${tenantId}/export`)).text();
  /** A task and a conversation of a tenant that ended so many days ago, in which the canary was said in every place. */
  const past = async (tenantId: string, days: number): Promise<{ taskId: string; talkId: string }> => {
    stack.anthropic.knobs.replies = [{ text: '', code: `console.log("${canary}")` }, { text: canary }];
    const run = await stack.run({ tenantId, task: canary, file: { name: 'a.txt', content: canary } });
    stack.anthropic.knobs.replies = [{ text: canary }];
    const talk = await TestConversation.start(api, tenantId, { instructions: canary, title: canary });
    await talk.say(canary);
    await talk.close();
    await stack.admin.query(
      `UPDATE copilot_internal.runs SET ended_at = ended_at - $2 * interval '1 day', created_at = created_at - $2 * interval '1 day'
       WHERE tenant_id = $1 AND run_id = ANY ($3)`,
      [tenantId, days, [run.runId, talk.id]],
    );
    return { taskId: run.runId, talkId: talk.id };
  };

  test('words are forgotten after their time, steps and costs are not', async () => {
    const tenantId = await stack.tenant('5');
    const old = await past(tenantId, 31);
    const books = await stack.books(tenantId);
    expect(await everything(tenantId)).toContain(canary);
    const before = await stack.show({ tenantId, runId: old.taskId });
    await forget();
    const text = await everything(tenantId);
    expect(text).not.toContain(canary);
    expect(text).not.toContain(Buffer.from(canary).toString('hex'));
    const ask = (where: string) => api.call('GET', `${where}?tenantId=${tenantId}`);
    expect(await ask(`/v1/runs/${old.taskId}/messages`)).toEqual({
      status: 200,
      body: { messages: [], nextCursor: null },
    });
    expect(await ask(`/v1/runs/${old.taskId}`)).toMatchObject({ body: { task: null, file: null } });
    expect(await ask(`/v1/conversations/${old.talkId}`)).toMatchObject({ body: { title: null } });
    const file = await ask(`/v1/runs/${old.taskId}/file`);
    expect([file.status, String(file.body.message)]).toEqual([404, expect.stringContaining('forgotten')]);
    const after = await stack.show({ tenantId, runId: old.taskId });
    expect(after).toMatchObject({ status: 'completed', costUsd: before.costUsd, answer: null });
    expect(after.steps).toEqual(before.steps);
    expect(await stack.books(tenantId)).toEqual(books);
    // Its events still tell what happened, and what it cost.
    expect(text).toMatch(/"type": ?"model.replied"/);
    expect(await forget()).toMatchObject({ transcripts: 0 });
  });

  test('what is younger is kept, and so is a conversation that is open; events go later', async () => {
    const tenantId = await stack.tenant('5');
    const young = await past(tenantId, 29);
    const open = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.replies = [{ text: canary }];
    await open.say(canary);
    await stack.admin.query(
      `UPDATE copilot_internal.runs SET created_at = created_at - interval '400 days' WHERE run_id = $1`,
      [open.id],
    );
    await forget();
    expect((await stack.show({ tenantId, runId: young.taskId })).answer).toContain(canary);
    expect(JSON.stringify(await open.messages())).toContain(canary);
    await stack.admin.query(
      `UPDATE copilot_internal.runs SET ended_at = ended_at - interval '70 days' WHERE run_id = $1`,
      [young.taskId],
    );
    expect(await forget()).toMatchObject({ transcripts: 1, events: 1 });
    const { rows } = await stack.admin.query(`SELECT FROM copilot_internal.run_events WHERE run_id = $1`, [
      young.taskId,
    ]);
    expect(rows).toHaveLength(0);
    await open.close();
  });

  describe('the end of a tenant', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-export-'));
    afterAll(() => rmSync(folder, { recursive: true }));
    const remove = (tenantId: string, file: string, confirm = tenantId) =>
      spendlock(
        api,
        'tenants',
        'delete',
        tenantId,
        '--export',
        path.join(folder, file),
        '--confirm',
        confirm,
        '--reason',
        'over',
      );
    /** Rows of a tenant by table, those with none left out. */
    const rowsOf = async (tenantId: string): Promise<Record<string, number>> => {
      const { rows: tables } = await stack.admin.query<{ name: string }>(
        `SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
         WHERE c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind = 'r' ORDER BY 1`,
      );
      const counts: Record<string, number> = {};
      for (const { name } of tables) {
        const { rows } = await stack.admin.query<{ n: number }>(
          `SELECT count(*)::integer AS n FROM copilot_internal.${name} WHERE tenant_id = $1`,
          [tenantId],
        );
        if (rows[0]?.n) counts[name] = rows[0].n;
      }
      return counts;
    };

    test('takes all of its rows along, and leaves none of it', async () => {
      const tenantId = await stack.tenant('5');
      const other = await stack.tenant('5');
      const key = await api.keyOf(tenantId);
      await past(tenantId, 0);
      await past(other, 0);
      const theirs = await rowsOf(other);
      const counts = await rowsOf(tenantId);
      expect(Object.keys(counts).length).toBeGreaterThan(8);
      const done = await remove(tenantId, 'gone.ndjson');
      expect(done).toMatchObject({ status: 0 });
      expect(done.out).toContain(`${tenantId} is deleted`);
      expect(await rowsOf(tenantId)).toEqual({});
      expect(await rowsOf(other)).toEqual(theirs);
      await until(
        'its key is refused',
        async () => (await api.request('/v1/keys/current', { key })).status === 401,
        10_000,
      );
      const file = path.join(folder, 'gone.ndjson');
      expect(statSync(file).mode & 0o077).toBe(0);
      const lines = readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const exported: Record<string, number> = {};
      for (const { table } of lines) if (typeof table === 'string') exported[table] = (exported[table] ?? 0) + 1;
      // Answers that are kept for repeats, for a day, are not taken along.
      const { idempotent_requests: _, ...kept } = counts;
      expect(exported).toEqual(kept);
      expect(lines.at(-1)).toEqual({ end: true, rows: lines.length - 2 });
      expect(JSON.stringify(lines)).not.toContain('key_hash');
      const { rows: audit } = await stack.admin.query(
        `SELECT details FROM copilot_internal.audit_entries WHERE action = 'delete_tenant' AND details ->> 'tenantId' = $1`,
        [tenantId],
      );
      expect(audit).toEqual([{ details: { tenantId, reason: 'over' } }]);
      const { status } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).describe();
      expect(status.name).not.toBe('RUNNING');
    });

    test('waits until nothing of it is under way, and wants its name twice', async () => {
      const tenantId = await stack.tenant('5');
      const operationId = randomUUID();
      await api.call('POST', '/v1/reservations', {
        body: { operationId, tenantId, resource: 'llm', amountUsd: '1' },
      });
      const busy = await remove(tenantId, 'busy.ndjson');
      expect(busy.status).toBe(1);
      expect(busy.err).toContain('tenant_busy');
      expect(busy.err).toMatch(/was not deleted, and its export .*busy[.]ndjson was removed again/);
      expect((await remove(tenantId, 'wrong.ndjson', 'other')).err).toContain('Nothing was deleted');
      expect((await remove(tenantId, 'busy.ndjson')).err).toContain('tenant_busy');
      expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '1' });
      expect((await remove('nobody', 'nobody.ndjson')).err).toContain('unknown_tenant');
      const key = await api.keyOf(tenantId);
      const own = await api.call('POST', `/v1/tenants/${tenantId}/delete`, {
        key,
        body: { confirm: tenantId, reason: 'x' },
      });
      expect(own.status).toBe(403);
      await api.call('POST', `/v1/reservations/${operationId}/release`, { body: { tenantId } });
      await until('the next try writes its own file', async () => (await remove(tenantId, 'busy.ndjson')).status === 0);
    });

    test('leaves nothing that could be ordered for it, whatever the API remembers of it', async () => {
      const quotas = [{ resourceType: 'all', limitUsd: '1' }];
      const orders: [string, (tenantId: string) => [string, object]][] = [
        ['POST', (tenantId) => ['/v1/keys', { tenantId, role: 'operator' }]],
        ['POST', (tenantId) => ['/v1/runs', { tenantId, task: 'Say something.' }]],
        ['POST', (tenantId) => ['/v1/conversations', { tenantId }]],
        ['POST', (tenantId) => ['/v1/quota-checks', { tenantId, estimatedUsd: '1' }]],
        ['POST', (tenantId) => [`/v1/reservations/${randomUUID()}/release`, { tenantId }]],
        ['POST', (tenantId) => [`/v1/tenants/${tenantId}/freeze`, { reason: 'x' }]],
        ['POST', (tenantId) => [`/v1/tenants/${tenantId}/unfreeze`, {}]],
        ['POST', (tenantId) => [`/v1/tenants/${tenantId}/policy`, { onUnavailable: 'allow' }]],
        ['POST', (tenantId) => [`/v1/tenants/${tenantId}/topups`, { amountUsd: '1', reason: 'x' }]],
        ['PUT', (tenantId) => [`/v1/tenants/${tenantId}/quotas`, { quotas }]],
      ];
      for (const [method, orderOf] of orders) {
        const tenantId = await stack.tenant('5');
        expect((await api.call('GET', `/v1/tenants/${tenantId}/quotas`)).status).toBe(200);
        await api.call('POST', `/v1/tenants/${tenantId}/delete`, { body: { confirm: tenantId, reason: 'x' } });
        const [to, body] = orderOf(tenantId);
        expect([to, await api.call(method, to, { body })]).toMatchObject([
          to,
          { status: 404, body: { error: 'unknown_tenant' } },
        ]);
      }
    });

    test('does not give the platform back what it has spent', async () => {
      const quotas = [{ resourceType: 'all' as const, period: 'month' as const, limitUsd: '50' }];
      await setPlatformQuotas(stack.pool, { changes: quotas, by: { author: 'test' } });
      const tenantId = await stack.tenant('5');
      await stack.run({ tenantId });
      await stack.admin.query(`SELECT copilot_internal.bar_mandate($1, 'words of a person')`, [tenantId]);
      const spent = async (): Promise<unknown> =>
        ((await api.call('GET', '/v1/platform/quotas')).body.quotas as { spentUsd: string }[])[0]?.spentUsd;
      const before = await spent();
      expect(Number(before)).toBeGreaterThan(0);
      expect((await remove(tenantId, 'platform.ndjson')).status).toBe(0);
      expect(await spent()).toBe(before);
      const listed = (await api.call('GET', '/v1/tenants')).body.tenants as { tenantId: string }[];
      expect(listed.map((tenant) => tenant.tenantId)).not.toContain(tenantId);
      expect(await rowsOf(tenantId)).toEqual({ cost_quotas: 1, tenants: 1 });
      // Its id is not free yet, and who asks for it is told why.
      const again = await api.call('POST', '/v1/tenants', { body: { tenantId } });
      expect(again).toMatchObject({ status: 409, body: { error: 'tenant_exists' } });
      expect(again.body.message).toContain('was deleted');
      // A key that is made for it all the same speaks for nobody.
      const lost = await createApiKey(stack.pool, { tenantId, role: 'operator' });
      expect((await api.request('/v1/keys/current', { key: lost.key })).status).toBe(401);
      await stack.admin.query('DELETE FROM copilot_internal.api_keys WHERE api_key_id = $1', [lost.apiKeyId]);
      // What is left of it goes when the period is over.
      await stack.admin.query(
        `UPDATE copilot_internal.cost_quotas SET period_start = now() - interval '2 days', period_end = now() - interval '1 day'
         WHERE tenant_id = $1`,
        [tenantId],
      );
      await forget();
      expect(await rowsOf(tenantId)).toEqual({});
    });
  });
});
