import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { Client as PgClient } from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSpendlockClient } from '../../client';
import { startApi } from '../../api/server';
import { errorCatalogue } from '../../core/errors';
import { createPool } from '../../store/pool';
import type { ApiDescription } from '../support/answers';
import type { Answer, TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

interface Body {
  error: string;
  message: string;
  [field: string]: unknown;
}

describe('the API', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  const bodyOf = async (response: Response): Promise<Body> => (await response.json()) as Body;
  const newTenantId = (): string => `api-${randomUUID().slice(0, 8)}`;

  describe('lists and addresses', () => {
    const follow = async (path: string, list: string, key = api.adminKey): Promise<unknown[]> => {
      const found: unknown[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const { status, body } = await api.call('GET', `${path}${path.includes('?') ? '&' : '?'}limit=2${cursor}`, {
          key,
        });
        expect([path, status]).toEqual([path, 200]);
        const page = body[list] as unknown[];
        expect(page.length).toBeLessThanOrEqual(2);
        found.push(...page);
        cursor = typeof body.nextCursor === 'string' ? `&cursor=${body.nextCursor}` : null;
      }
      return found;
    };

    test('XE13: each list is followed to its end by its cursor, without a gap or a repeat', async () => {
      const tenantId = await stack.tenant('50');
      const client = await api.clientOf(tenantId);
      await api.admin.tenants.setQuotas(tenantId, [
        { resourceType: 'all', limitUsd: '50', warningThreshold: 0.0002, moreWarningThresholds: [0.0004, 0.0006] },
      ]);
      const ids: Record<string, string[]> = { conversations: [], keys: [], holds: [] };
      for (let at = 0; at < 5; at += 1) {
        ids.conversations?.push((await client.conversations.create({ title: `Number ${at}` })).conversationId);
        ids.keys?.push((await api.admin.keys.create({ tenantId, label: `key ${at}` })).apiKeyId);
        const operationId = randomUUID();
        await client.reserve({ operationId, resource: 'llm', amountUsd: '0.01' });
        ids.holds?.push(operationId);
      }
      const key = await api.keyOf(tenantId);
      const newest = [...(ids.conversations ?? [])].reverse();
      const talks = (await follow('/v1/conversations', 'conversations', key)) as {
        conversationId: string;
        title: string;
      }[];
      expect(talks.map(({ conversationId }) => conversationId)).toEqual(newest);
      expect(talks.map(({ title }) => title)).toEqual([4, 3, 2, 1, 0].map((at) => `Number ${at}`));
      const runs = (await follow('/v1/runs?type=conversation', 'runs', key)) as { runId: string }[];
      expect(runs.map(({ runId }) => runId)).toEqual(newest);
      const holds = (await follow(`/v1/tenants/${tenantId}/holds`, 'holds', key)) as { operationId: string }[];
      expect(holds.map(({ operationId }) => operationId)).toEqual(ids.holds);
      const keys = (await follow(`/v1/keys?tenantId=${tenantId}`, 'keys')) as { apiKeyId: string }[];
      expect(keys.map(({ apiKeyId }) => apiKeyId)).toEqual(expect.arrayContaining(ids.keys ?? []));
      expect(new Set(keys.map(({ apiKeyId }) => apiKeyId)).size).toBe(keys.length);
      const tenants = (await follow('/v1/tenants', 'tenants')) as { tenantId: string }[];
      expect(new Set(tenants.map((one) => one.tenantId)).size).toBe(tenants.length);
      expect(tenants.map((one) => one.tenantId)).toContain(tenantId);
      for (const operationId of ids.holds ?? []) await client.commit(operationId, { costUsd: '0.01' });
      const records = await until('all is in the ledger', async () => {
        const found = (await follow('/v1/cost-records', 'records', key)) as { operationId: string }[];
        return found.length === 5 && found;
      });
      expect(records.map(({ operationId }) => operationId).sort()).toEqual([...(ids.holds ?? [])].sort());
      const changes = (await follow(`/v1/audit?tenantId=${tenantId}&action=create_key`, 'entries')) as {
        details: { apiKeyId: string };
      }[];
      const made = changes.map(({ details }) => details.apiKeyId);
      expect(made.filter((id) => ids.keys?.includes(id))).toEqual([...(ids.keys ?? [])].reverse());
      expect(new Set(made).size).toBe(made.length);
      const alerts = (await follow('/v1/alerts', 'alerts', key)) as { threshold: number }[];
      expect(alerts.map(({ threshold }) => threshold).sort()).toEqual([0.0002, 0.0004, 0.0006]);
      for (const cursor of ['x', Buffer.from('[1]').toString('base64url')]) {
        for (const path of ['/v1/runs', '/v1/audit', '/v1/alerts']) {
          const { status, body } = await api.call('GET', `${path}?cursor=${cursor}&tenantId=${tenantId}`);
          expect([status, body.message]).toEqual([400, expect.stringMatching(/^cursor: must be the `nextCursor`/)]);
        }
      }
    });

    test('XE13: a parameter that is not known is refused by every route, which names those that are', async () => {
      const { paths } = (await (await api.request('/openapi.json', { key: '' })).json()) as ApiDescription;
      const asked = Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).flatMap((method) =>
          path.startsWith('/v1/') ? [{ method: method.toUpperCase(), path }] : [],
        ),
      );
      expect(asked.length).toBeGreaterThan(45);
      for (const { method, path } of asked) {
        const where = `${path.replaceAll(/\{\w+\}/g, randomUUID())}?tennantId=acme`;
        const { status, body } = await api.call(method, where, method === 'GET' ? {} : { method, body: {} });
        expect([method, path, status, body.message]).toEqual([
          method,
          path,
          400,
          expect.stringMatching(/^"tennantId": .* has no such parameter[.] It takes .+[.] Nothing was done[.]$/),
        ]);
      }
      const { body } = await api.call('GET', '/v1/approvals?runid=x');
      expect(body.message).toContain('It takes tenantId, runId, cursor, limit.');
    });

    test('XE20: a conversation is listed by its title: the one it was given, else how its first message begins', async () => {
      const client = await api.clientOf(await stack.tenant('5'));
      const { conversationId } = await client.conversations.create();
      const title = async (): Promise<string | null> => (await client.conversations.get(conversationId)).title;
      expect(await title()).toBeNull();
      await client.conversations.send(conversationId, { message: `What did\n\nwe sell in ${'very '.repeat(30)}long?` });
      const beginning = `What did we sell in ${'very '.repeat(12)}`.slice(0, 79).trimEnd();
      expect(await title()).toBe(`${beginning}…`);
      expect(await client.conversations.setTitle(conversationId, { title: 'Sales' })).toMatchObject({ title: 'Sales' });
      expect((await client.conversations.list()).conversations).toMatchObject([{ conversationId, title: 'Sales' }]);
      await expect(client.conversations.setTitle(conversationId, { title: '' })).rejects.toMatchObject({ status: 400 });
      await client.conversations.close(conversationId);
    });
  });

  describe('tenants and quotas', () => {
    test('a new tenant has its default quotas and a key of its own, shown once', async () => {
      const tenantId = newTenantId();
      const { apiKey, quotas } = await api.admin.tenants.create({ tenantId });
      expect(quotas.map(({ resourceType, limitUsd }) => [resourceType, limitUsd]).sort()).toEqual([
        ['all', '150'],
        ['e2b', '50'],
        ['llm', '100'],
      ]);
      const response = await api.request(`/v1/tenants/${tenantId}/quotas`, { key: apiKey });
      expect(response.status).toBe(200);
      await expect(api.admin.tenants.create({ tenantId })).rejects.toMatchObject({
        code: 'tenant_exists',
        status: 409,
      });
    });

    test('a limit is set, audited, and used by the next decision', async () => {
      const { tenantId } = await api.admin.tenants.create({ tenantId: newTenantId() });
      const { quotas } = await api.admin.tenants.setQuotas(tenantId, [
        { resourceType: 'all', limitUsd: '0.0001' },
        { scope: 'user', scopeId: 'ada', resourceType: 'llm', period: 'day', limitUsd: '2.5' },
      ]);
      expect(quotas).toContainEqual(
        expect.objectContaining({ scope: 'user', scopeId: 'ada', limitUsd: '2.5', period: 'day' }),
      );
      expect(quotas).toContainEqual(
        expect.objectContaining({ resourceType: 'all', limitUsd: '0.0001', remainingUsd: '0.0001' }),
      );
      const { rows } = await stack.admin.query(
        'SELECT action FROM copilot_internal.audit_entries WHERE tenant_id = $1',
        [tenantId],
      );
      expect(rows).toEqual([{ action: 'create_tenant' }, { action: 'set_quotas' }]);
      const run = await stack.run({ tenantId });
      expect(run.status).toBe('quota_exceeded');
    });

    test.each([
      ['negative', '-1', 'invalid_amount'],
      ['not a number', 'abc', 'invalid_amount'],
      ['a JSON number', 5, 'invalid_request'],
      ['missing', undefined, 'invalid_request'],
    ])('a limit that is %s is refused and changes nothing', async (_name, limitUsd, code) => {
      const tenantId = await stack.tenant('5');
      const response = await api.request(`/v1/tenants/${tenantId}/quotas`, {
        method: 'PUT',
        body: { quotas: [{ resourceType: 'all', limitUsd }] },
      });
      const body = await bodyOf(response);
      expect([response.status, body.error]).toEqual([400, code]);
      expect(body.message).toContain('limitUsd');
      const { quotas } = await api.admin.tenants.quotas(tenantId);
      expect(quotas.find(({ resourceType }) => resourceType === 'all')?.limitUsd).toBe('5');
    });

    test('a tenant’s key neither sets limits nor makes tenants', async () => {
      const tenantId = await stack.tenant('5');
      const key = await api.keyOf(tenantId);
      const put = await api.request(`/v1/tenants/${tenantId}/quotas`, {
        method: 'PUT',
        key,
        body: { quotas: [{ resourceType: 'all', limitUsd: '999' }] },
      });
      const post = await api.request('/v1/tenants', { method: 'POST', key, body: { tenantId: newTenantId() } });
      expect([put.status, post.status]).toEqual([403, 403]);
    });
  });

  describe('runs', () => {
    test('a run is started, followed by its events, and shown with its steps', async () => {
      const tenantId = await stack.tenant('5');
      const client = await api.clientOf(tenantId);
      const { runId, workflowId } = await client.runs.start({
        task: 'Profile it.',
        file: { name: 'a.csv', content: Buffer.from('a\n1\n') },
      });
      expect(workflowId).toBe(`run/${runId}`);
      const events = [];
      for await (const event of client.runs.events(runId)) if (event.type !== 'delta') events.push(event);
      expect(events.map(({ type }) => type)).toEqual([
        'run.started',
        'model.replied',
        'code.executed',
        'model.replied',
        'sandbox.ended',
        'run.ended',
        'done',
      ]);
      expect(events.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, undefined]);
      const run = await client.runs.get(runId);
      expect(run).toMatchObject({
        status: 'completed',
        task: 'Profile it.',
        file: { name: 'a.csv', bytes: 4 },
        quota: { limitUsd: '5', topupUsd: '0', spentUsd: run.costUsd, reservedUsd: '0' },
      });
      expect(run.steps).toHaveLength(3);
      const usage = await client.usage.summary({ groupBy: 'resource' });
      expect(usage.costUsd).toBe(run.costUsd);
      expect(usage.lines.map(({ group }) => group).sort()).toEqual(['e2b', 'llm']);
    });

    test('XE16: a file keeps its name, whatever is printed in it, and UTF-16 is read; what is no name is refused by API and database', async () => {
      const tenantId = await stack.tenant('5');
      const client = await api.clientOf(tenantId);
      const name = "Ümsätze & mehr, „2026“ #1 (50%) – o'Neil.csv";
      const content = Buffer.from('\ufeffcity;people\r\nUlm;126\r\nBonn;330\r\n', 'utf16le');
      const { runId } = await client.runs.start({ task: 'Profile it.', file: { name, content } });
      for await (const { type } of client.runs.events(runId)) if (type === 'done') break;
      const { status, answer } = await client.runs.get(runId);
      expect({ status, answer }).toEqual({
        status: 'completed',
        answer: expect.stringMatching(
          /^The file has 2 rows and 2 columns.*\n- city: .*\n- people: number, 126 to 330/,
        ) as string,
      });
      const kept = async (other: string): Promise<boolean> =>
        stack.admin
          .query('UPDATE copilot_internal.run_files SET name = $1 WHERE run_id = $2', [other, runId])
          .then(({ rowCount }) => rowCount === 1)
          .catch(({ constraint }: { constraint?: string }) => constraint !== 'run_files_name_check');
      const taken = async (other: string): Promise<boolean> => {
        // Without a task nothing is started, and what is wrong with the name is said all the same.
        const body = { task: ' ', file: { name: other, contentBase64: '' } };
        const { message } = await bodyOf(
          await api.request('/v1/runs', { method: 'POST', key: await api.keyOf(tenantId), body }),
        );
        return !String(message).includes('file.name');
      };
      for (const good of ['.env', '-rf', ' a', 'ü'.repeat(127), '数据.csv', '👩‍👩‍👧.csv', 'a\u00a0b', '"', '...'])
        expect([good, await taken(good), await kept(good)]).toEqual([good, true, true]);
      const bad = [
        '',
        '.',
        '..',
        '../a',
        'a/b',
        'a\\b',
        'a\nb',
        'a\u0085b',
        'a\u2028b',
        'a\u202egpj.csv',
        'ü'.repeat(128),
      ];
      for (const other of bad) expect([other, await taken(other), await kept(other)]).toEqual([other, false, false]);
    });

    test('XE18: what was asked, said, run and printed is told to whoever may read it, with the file, page by page', async () => {
      const tenantId = await stack.tenant('5');
      const client = await api.clientOf(tenantId);
      stack.anthropic.knobs.replies = [{ text: 'I count.', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
      const csv = Buffer.concat([Buffer.from('ä;b\n'), Buffer.alloc(1_200_000, 'x')]);
      const { runId } = await client.runs.start({ task: 'Count it.', file: { name: 'my data.csv', content: csv } });
      await until('it has ended', async () => (await client.runs.get(runId)).endedAt !== null);
      const { messages, nextCursor } = await client.runs.messages(runId);
      expect(nextCursor).toBeNull();
      expect(messages.map(({ sequence, role, content }) => [sequence, role, content])).toEqual([
        [0, 'user', [{ type: 'text', text: 'Count it.' }]],
        [
          1,
          'assistant',
          [
            { type: 'text', text: 'I count.' },
            expect.objectContaining({ type: 'tool_use', name: 'run_code', input: { code: 'console.log(6 * 7)' } }),
          ],
        ],
        [2, 'user', [expect.objectContaining({ type: 'tool_result', content: '42\n' })]],
        [3, 'assistant', [{ type: 'text', text: 'It is 42.' }]],
      ]);
      const events = [];
      for await (const event of client.runs.events(runId)) events.push(event);
      expect(events.find(({ type }) => type === 'code.executed')?.data).toMatchObject({
        tools: ['run_code'],
        code: ['console.log(6 * 7)'],
        output: ['42\n'],
      });
      const first = await client.runs.messages(runId, { limit: 2 });
      const rest = await client.runs.messages(runId, { limit: 2, cursor: String(first.nextCursor) });
      expect([...first.messages, ...rest.messages]).toEqual(messages);
      const file = await api.request(`/v1/runs/${runId}/file`, { key: await api.keyOf(tenantId) });
      expect(file.headers.get('content-disposition')).toContain(`filename*=UTF-8''my%20data.csv`);
      expect(Buffer.compare(Buffer.from(await file.arrayBuffer()), csv)).toBe(0);
      // Of nobody else, and of no run without one.
      const stranger = await api.keyOf(await stack.tenant('5'));
      for (const what of ['messages', 'file'])
        expect((await api.request(`/v1/runs/${runId}/${what}`, { key: stranger })).status).toBe(404);
      const bare = await client.runs.start({ task: 'Without a file.' });
      expect(await api.call('GET', `/v1/runs/${bare.runId}/file?tenantId=${tenantId}`)).toMatchObject({ status: 404 });
      await client.runs.cancel(bare.runId).catch(() => undefined);
    });

    test('a client that comes back with Last-Event-ID misses no event and sees none twice', async () => {
      const tenantId = await stack.tenant('5');
      const key = await api.keyOf(tenantId);
      const client = await api.clientOf(tenantId);
      const { runId, workflowId } = await client.runs.start({
        task: 'Profile it.',
        file: { name: 'a.csv', content: Buffer.from('a\n1\n') },
      });
      await stack.ended(workflowId);
      for (const last of [0, 1, 4, 5]) {
        const text = await (
          await api.request(`/v1/runs/${runId}/events`, { key, headers: { 'last-event-id': String(last) } })
        ).text();
        const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
        expect(ids).toEqual([1, 2, 3, 4, 5, 6].filter((id) => id > last));
        expect(text).toMatch(/event: done\ndata: {"status":"completed"}\n\n$/);
      }
    });

    test('a run whose client leaves the stream halfway goes on, and what it was billed is recorded (F6)', async () => {
      const tenantId = await stack.tenant('5');
      const client = await api.clientOf(tenantId);
      stack.anthropic.knobs.latencyMs = 1_000;
      const { runId, workflowId } = await client.runs.start({ task: 'x' });
      const leaving = new AbortController();
      const follow = async (): Promise<void> => {
        for await (const event of client.runs.events(runId, { signal: leaving.signal }))
          if (event.id === 1) leaving.abort();
      };
      await expect(follow()).rejects.toThrow();
      await stack.ended(workflowId);
      const run = await client.runs.get(runId);
      expect(run).toMatchObject({ status: 'completed', steps: [{ settlement: 'actual', committedUsd: run.costUsd }] });
      expect(Number(run.costUsd)).toBeGreaterThan(0);
    });

    test('a run that is denied midway ends its open stream with an error and a done (C5)', async () => {
      const tenantId = await stack.tenant('0.01');
      const key = await api.keyOf(tenantId);
      const client = await api.clientOf(tenantId);
      const { runId } = await client.runs.start({
        task: 'Profile it.',
        file: { name: 'a.csv', content: Buffer.from('a\n1\n') },
      });
      const text = await (await api.request(`/v1/runs/${runId}/events`, { key })).text();
      const [error, done] = text.trim().split('\n\n').slice(-2);
      expect(error).toMatch(/^event: error\ndata: /);
      const body = JSON.parse(error?.split('data: ')[1] ?? '') as Body;
      expect(body).toMatchObject({
        error: 'quota_exceeded',
        resourceType: 'e2b',
        quotaDetails: { scope: 'tenant', scopeId: tenantId, limitUsd: 0.01, estimatedCostUsd: 0.0276 },
      });
      expect(done).toBe('event: done\ndata: {"status":"quota_exceeded"}');
    });

    test('with nothing left a run is refused before it starts, as JSON (C2) and as a stream (C3)', async () => {
      const tenantId = await stack.tenant('0');
      const key = await api.keyOf(tenantId);
      const ask = (accept: string) =>
        api.request('/v1/runs', { method: 'POST', key, body: { task: 'x' }, headers: { accept } });
      const json = await ask('application/json');
      expect(json.status).toBe(429);
      const body = await bodyOf(json);
      expect(body).toMatchObject({
        error: 'quota_exceeded',
        resourceType: 'llm',
        quotaDetails: {
          scope: 'tenant',
          scopeId: tenantId,
          limitUsd: 0,
          currentSpendUsd: 0,
          remainingUsd: 0,
          period: 'month',
          utilizationPercent: 100,
        },
      });
      // Of a limit of nothing no time is told: waiting does not help.
      expect([json.headers.get('retry-after'), body.retryAfter]).toEqual(['3600', undefined]);
      const stream = await ask('text/event-stream');
      expect([stream.status, stream.headers.get('content-type')]).toEqual([429, 'text/event-stream']);
      expect(await stream.text()).toMatch(
        /^event: error\ndata: {"error":"quota_exceeded".*\n\nevent: done\ndata: {"status":"quota_exceeded"}\n\n$/,
      );
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.runs WHERE tenant_id = $1', [tenantId]);
      expect(rows).toHaveLength(0);
    });

    test('a run is cancelled, once', async () => {
      const tenantId = await stack.tenant('5');
      const client = await api.clientOf(tenantId);
      stack.anthropic.knobs.latencyMs = 20_000;
      const { runId, workflowId } = await client.runs.start({ task: 'x' });
      await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
      expect(await client.runs.cancel(runId)).toMatchObject({ status: 'cancelling' });
      await stack.ended(workflowId);
      expect(await client.runs.get(runId)).toMatchObject({ status: 'cancelled' });
      await expect(client.runs.cancel(runId)).rejects.toMatchObject({ code: 'run_ended', status: 409 });
    });

    test('a start that is repeated with its Idempotency-Key starts one run, also when ten arrive at once', async () => {
      const tenantId = await stack.tenant('5');
      const client = await api.clientOf(tenantId);
      const idempotencyKey = randomUUID();
      const started = await Promise.all(
        Array.from({ length: 10 }, () => client.runs.start({ task: 'x', idempotencyKey })),
      );
      expect(new Set(started.map(({ runId }) => runId)).size).toBe(1);
      await expect(client.runs.start({ task: 'y', idempotencyKey })).rejects.toMatchObject({
        code: 'idempotency_conflict',
        status: 409,
      });
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.runs WHERE tenant_id = $1', [tenantId]);
      expect(rows).toHaveLength(1);
    });

    test('a start whose first request is still being carried out is waited for, and is the same run', async () => {
      const tenantId = await stack.tenant('5');
      const body = { task: 'Say something.' };
      const headers = { 'idempotency-key': randomUUID() };
      const other = new PgClient({ connectionString: stack.database.adminUrl });
      await other.connect();
      try {
        await other.query('BEGIN; LOCK TABLE copilot_internal.runs IN EXCLUSIVE MODE');
        const key = await api.keyOf(tenantId);
        const first = api.request('/v1/runs', { method: 'POST', key, body, headers });
        await until('the first request waits', async () => {
          const { rows } = await stack.admin.query(
            `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO copilot_internal.runs%'`,
          );
          return rows.length > 0;
        });
        const again = await api.request('/v1/runs', { method: 'POST', key, body, headers });
        expect([again.status, (await bodyOf(again)).error]).toEqual([409, 'idempotency_in_progress']);
        const repeated = createSpendlockClient({ baseUrl: api.url, apiKey: key }).runs.start({
          ...body,
          idempotencyKey: headers['idempotency-key'],
        });
        // Shorter than a statement may wait for a lock.
        await sleep(1_500);
        await other.query('ROLLBACK');
        const { runId } = (await (await first).json()) as { runId: string };
        expect((await repeated).runId).toBe(runId);
      } finally {
        await other.end();
      }
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.runs WHERE tenant_id = $1', [tenantId]);
      expect(rows).toHaveLength(1);
    });

    test.each([
      [
        'an unknown model',
        { task: 'x', model: 'claude-nonesuch' },
        422,
        'unpriced_model',
        /claude-nonesuch.*docs\/prices\.md/s,
      ],
      [
        'an unpriced sandbox',
        { task: 'x', sandbox: { tier: 'gigantic' } },
        422,
        'unpriced_sandbox',
        /gigantic.*standard/s,
      ],
      ['a task that is too large', { task: 'x'.repeat(100_001) }, 413, 'payload_too_large', /100000/],
      ['no task', { task: ' ' }, 400, 'invalid_request', /task/],
      [
        'a file name that is a path',
        { task: 'x', file: { name: '../etc/passwd', contentBase64: '' } },
        400,
        'invalid_request',
        /file\.name/,
      ],
      [
        'XE1: a file that is no text',
        { task: 'x', file: { name: 'a.csv', contentBase64: Buffer.from('a,b\n1,2\n', 'utf16le').toString('base64') } },
        400,
        'invalid_request',
        /^file: a\.csv is no text that can be read: it is in UTF-16\. Save it in UTF-8 \(.*iconv -f UTF-16LE .*\)\. Nothing was stored\./,
      ],
      ['a field that nobody knows', { task: 'x', budgett: '1' }, 400, 'invalid_request', /budgett/],
      ['malformed JSON', '{"task": ', 400, 'invalid_json', /not JSON/],
    ])('%s is refused, and nothing is stored', async (_name, body, status, code, message) => {
      const tenantId = await stack.tenant('5');
      const response = await api.request('/v1/runs', { method: 'POST', key: await api.keyOf(tenantId), body });
      const answer = await bodyOf(response);
      expect([response.status, answer.error]).toEqual([status, code]);
      expect(answer.message).toMatch(message);
      expect(answer.action).toBe(errorCatalogue[code as keyof typeof errorCatalogue].action);
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.runs WHERE tenant_id = $1', [tenantId]);
      expect(rows).toHaveLength(0);
    });

    test('an unknown tenant is named', async () => {
      const response = await api.request('/v1/runs', { method: 'POST', body: { task: 'x', tenantId: 'nobody' } });
      expect(response.status).toBe(404);
      expect(await bodyOf(response)).toMatchObject({
        error: 'unknown_tenant',
        message: expect.stringContaining('nobody') as string,
      });
    });
  });

  describe('keys', () => {
    test('no key and a wrong key are refused', async () => {
      for (const key of ['', 'slk_wrong']) {
        const response = await api.request('/v1/usage', { key });
        expect([response.status, (await bodyOf(response)).error]).toEqual([401, 'unauthorized']);
      }
    });

    test('a tenant sees no run, quota or usage of another, and is not told that it exists', async () => {
      const [mine, other] = [await stack.tenant('5'), await stack.tenant('5')];
      const client = await api.clientOf(mine);
      const { runId } = await (await api.clientOf(other)).runs.start({ task: 'x' });
      await expect(client.runs.get(runId)).rejects.toMatchObject({ code: 'not_found' });
      await expect(client.runs.get(randomUUID())).rejects.toMatchObject({ code: 'not_found' });
      await expect(client.runs.cancel(runId)).rejects.toMatchObject({ code: 'not_found' });
      await expect(client.runs.get(runId, other)).rejects.toMatchObject({ code: 'forbidden' });
      await expect(client.tenants.quotas(other)).rejects.toMatchObject({ code: 'forbidden' });
      expect((await client.usage.summary()).costUsd).toBe('0');
    });
  });

  describe('operations', () => {
    test('says that it is alive and ready, and what is missing when it is not', async () => {
      expect(await bodyOf(await api.request('/healthz', { key: '' }))).toEqual({ status: 'alive' });
      expect(await bodyOf(await api.request('/readyz', { key: '' }))).toEqual({
        status: 'ready',
        postgres: 'ok',
        temporal: 'ok',
      });
      const pool = createPool('postgres://nobody@127.0.0.1:1/none');
      const connection = Connection.lazy({ address: '127.0.0.1:1' });
      const lost = await startApi({
        ...stack.api,
        pool,
        temporal: new Client({ connection }),
        host: '127.0.0.1',
        port: 0,
      });
      const response = await fetch(`${lost.url}/readyz`);
      expect(response.status).toBe(503);
      expect(await response.json()).toEqual({ status: 'unavailable', postgres: 'missing', temporal: 'missing' });
      await lost.close();
      await pool.end();
      // The client retries for a while; closing its connection meanwhile would make it throw.
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      await connection.close();
    });

    test('a transaction that Postgres ends for the sake of another one may be sent again, and has left nothing', async () => {
      const { tenantId } = await api.admin.tenants.create({ tenantId: newTenantId() });
      const body = { quotas: [{ resourceType: 'all', limitUsd: '7' }] };
      const put = () => api.request(`/v1/tenants/${tenantId}/quotas`, { method: 'PUT', body });
      const other = new PgClient({ connectionString: stack.database.adminUrl });
      await other.connect();
      try {
        // It never gives way itself: the request, which waits for its audit entry, is the one that is ended.
        await other.query(`SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE copilot_internal.audit_entries`);
        const asked = put();
        await until('the request waits', async () => {
          const { rows } = await stack.admin.query(
            `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%set_quotas%'`,
          );
          return rows.length > 0;
        });
        await other.query('UPDATE copilot_internal.cost_quotas SET updated_at = updated_at WHERE tenant_id = $1', [
          tenantId,
        ]);
        const response = await asked;
        expect(response.status).toBe(503);
        expect(await bodyOf(response)).toMatchObject({ error: 'unavailable' });
        await other.query('ROLLBACK');
        const { quotas } = await api.admin.tenants.quotas(tenantId);
        expect(quotas.find(({ resourceType }) => resourceType === 'all')).toMatchObject({ limitUsd: '150' });
      } finally {
        await other.end();
      }
      expect((await put()).status).toBe(200);
    });

    test('a busy port is named', async () => {
      await expect(startApi({ ...stack.api, host: '127.0.0.1', port: api.port })).rejects.toThrow(
        `Port ${api.port} of 127.0.0.1 is taken`,
      );
    });

    test('describes every route', async () => {
      const { paths } = (await (await api.request('/openapi.json', { key: '' })).json()) as {
        paths: Record<string, object>;
      };
      const routes = Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
      );
      expect(routes.sort()).toEqual([
        'GET /healthz',
        'GET /readyz',
        'GET /v1/alerts',
        'GET /v1/approvals',
        'GET /v1/audit',
        'GET /v1/conversations',
        'GET /v1/conversations/{id}',
        'GET /v1/conversations/{id}/events',
        'GET /v1/conversations/{id}/file',
        'GET /v1/conversations/{id}/messages',
        'GET /v1/cost-records',
        'GET /v1/keys',
        'GET /v1/keys/current',
        'GET /v1/money-requests',
        'GET /v1/platform/quotas',
        'GET /v1/prices',
        'GET /v1/reservations/{operationId}',
        'GET /v1/runs',
        'GET /v1/runs/{id}',
        'GET /v1/runs/{id}/events',
        'GET /v1/runs/{id}/file',
        'GET /v1/runs/{id}/messages',
        'GET /v1/tenants',
        'GET /v1/tenants/events',
        'GET /v1/tenants/{id}/books',
        'GET /v1/tenants/{id}/export',
        'GET /v1/tenants/{id}/holds',
        'GET /v1/tenants/{id}/label-defaults',
        'GET /v1/tenants/{id}/mandate',
        'GET /v1/tenants/{id}/overview',
        'GET /v1/tenants/{id}/overview/events',
        'GET /v1/tenants/{id}/policy',
        'GET /v1/tenants/{id}/quotas',
        'GET /v1/tenants/{id}/user-defaults',
        'GET /v1/tools',
        'GET /v1/usage',
        'POST /v1/approvals/{id}',
        'POST /v1/conversations',
        'POST /v1/conversations/{id}/close',
        'POST /v1/conversations/{id}/interrupt',
        'POST /v1/conversations/{id}/messages',
        'POST /v1/conversations/{id}/title',
        'POST /v1/keys',
        'POST /v1/keys/{id}/revoke',
        'POST /v1/keys/{id}/rotate',
        'POST /v1/mcp',
        'POST /v1/money-requests/{id}',
        'POST /v1/platform/quotas/remove',
        'POST /v1/prices',
        'POST /v1/quota-checks',
        'POST /v1/reservations',
        'POST /v1/reservations/{operationId}/claim',
        'POST /v1/reservations/{operationId}/commit',
        'POST /v1/reservations/{operationId}/extend',
        'POST /v1/reservations/{operationId}/release',
        'POST /v1/runs',
        'POST /v1/runs/{id}/cancel',
        'POST /v1/sandbox-prices',
        'POST /v1/tenants',
        'POST /v1/tenants/{id}/adjustments',
        'POST /v1/tenants/{id}/books/repair',
        'POST /v1/tenants/{id}/delete',
        'POST /v1/tenants/{id}/freeze',
        'POST /v1/tenants/{id}/holds/{operationId}/release',
        'POST /v1/tenants/{id}/label-defaults',
        'POST /v1/tenants/{id}/mandate/allow',
        'POST /v1/tenants/{id}/mandate/recall',
        'POST /v1/tenants/{id}/policy',
        'POST /v1/tenants/{id}/quotas/enforce',
        'POST /v1/tenants/{id}/quotas/remove',
        'POST /v1/tenants/{id}/quotas/watch',
        'POST /v1/tenants/{id}/topups',
        'POST /v1/tenants/{id}/unfreeze',
        'POST /v1/tenants/{id}/user-defaults',
        'POST /v1/tenants/{id}/what-if',
        'POST /v1/tools',
        'POST /v1/tools/{name}/remove',
        'POST /v1/tools/{name}/test',
        'PUT /v1/platform/quotas',
        'PUT /v1/tenants/{id}/quotas',
      ]);
      const page = await (await api.request('/docs', { key: '' })).text();
      expect(page).toContain('/docs/reference.js');
      expect(page).not.toMatch(/(src|href)="https?:/);
    });

    test('holds for what otherwise the command line alone reads: keys that change, a hold that is released, a tenant that is deleted', async () => {
      const { tenantId } = await api.admin.tenants.create({ tenantId: newTenantId() });
      const post = async (path: string, body: object): Promise<Answer> => api.call('POST', path, { body });
      const { apiKeyId } = (await post('/v1/keys', { tenantId })).body as { apiKeyId: string };
      expect((await post(`/v1/keys/${apiKeyId}/rotate`, { tenantId })).status).toBe(201);
      expect((await post(`/v1/keys/${apiKeyId}/revoke`, { tenantId })).status).toBe(200);
      const operationId = randomUUID();
      const asked = { tenantId, operationId, resource: 'llm', amountUsd: '1' };
      expect((await post('/v1/reservations', asked)).status).toBe(201);
      const released = await post(`/v1/tenants/${tenantId}/holds/${operationId}/release`, { reason: 'not called' });
      expect(released).toEqual({ status: 200, body: { operationId, status: 'released' } });
      const deletion = { confirm: tenantId, reason: 'it was a test' };
      const deleted = await until('the balances are free of what was released', async () => {
        const answer = await post(`/v1/tenants/${tenantId}/delete`, deletion);
        return answer.status !== 409 && answer;
      });
      expect(deleted).toEqual({ status: 200, body: { tenantId, deleted: true } });
    });

    test('says of every answer what is in it, and which requests are refused for want of money', async () => {
      const { paths } = (await (await api.request('/openapi.json', { key: '' })).json()) as ApiDescription;
      const answers = Object.entries(paths).flatMap(([path, methods]) =>
        Object.entries(methods).flatMap(([method, { responses }]) =>
          Object.entries(responses).map(([status, { content }]) => ({
            name: `${method.toUpperCase()} ${path} ${status}`,
            schemas: Object.values(content ?? {}).map(({ schema }) => schema),
          })),
        ),
      );
      const saysNothing = (schema: object): boolean =>
        !['type', 'anyOf', 'oneOf', '$ref'].some((word) => word in schema);
      // A value that stands for an absent one is of requests: in an answer it would say that the field may be missing.
      const mayLack = (schema: object): boolean => JSON.stringify(schema).includes('"default":');
      expect(
        answers
          .filter(
            ({ schemas }) => schemas.length === 0 || schemas.some((schema) => saysNothing(schema) || mayLack(schema)),
          )
          .map(({ name }) => name),
      ).toEqual([]);
      expect(
        answers
          .map(({ name }) => name)
          .filter((name) => name.endsWith(' 429'))
          .sort(),
      ).toEqual([
        'POST /v1/conversations/{id}/messages 429',
        'POST /v1/quota-checks 429',
        'POST /v1/reservations 429',
        'POST /v1/runs 429',
      ]);
    });
  });
});
