/** Labels of what is paid for: from a request or a workflow of one's own into reservation and ledger (docs/decisions/0053). */
import { randomUUID } from 'node:crypto';
import type { ReserveCommand } from '../../core/budget/commands';
import type { Labels } from '../../core/labels';
import { decideAndRecord } from '../../store/budget-batch';
import { lookAtBooks } from '../../store/books';
import { inTransaction } from '../../store/pool';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

const search = { team: 'search' };

describe('labels', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const reserve = (tenantId: string, operationId: string, labels?: unknown) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId, resource: 'llm', amountUsd: '1', ...(labels === undefined ? {} : { labels }) },
    });
  /** What the ledger says each entry of an operation was for, in their order. */
  const linesOf = async (operationId: string): Promise<[string, Labels | null][]> => {
    const { rows } = await stack.admin.query<{ entry: string; labels: Labels | null }>(
      'SELECT entry, labels FROM copilot_internal.cost_records WHERE operation_id = $1 ORDER BY cost_record_id',
      [operationId],
    );
    return rows.map(({ entry, labels }) => [entry, labels]);
  };
  const recorded = (operationId: string, lines: number) =>
    until('it is in the ledger', async () => {
      const found = await linesOf(operationId);
      return found.length >= lines ? found : undefined;
    });

  test('of a reserve over HTTP are in its reservation and in each of its lines, a correction and an adjustment too', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    expect(await reserve(tenantId, operationId, search)).toMatchObject({ status: 201 });
    expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject({ labels: search });
    await api.admin.release(operationId, { tenantId });
    await until(
      'it is released',
      async () => (await api.admin.reservation(operationId, { tenantId })).status === 'released',
    );
    await api.admin.commit(operationId, { tenantId, costUsd: '0.5' });
    await recorded(operationId, 1);
    await api.admin.budget.adjust(tenantId, { operationId, costUsd: '0.4', reason: 'the bill' });
    expect(await recorded(operationId, 2)).toEqual([
      ['correction', search],
      ['adjustment', search],
    ]);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('of nothing are null, and another request is refused under the same operation', async () => {
    const tenantId = await stack.tenant('10');
    const [labelled, plain] = [randomUUID(), randomUUID()];
    expect(await reserve(tenantId, labelled, search)).toMatchObject({ status: 201 });
    expect(await reserve(tenantId, plain)).toMatchObject({ status: 201 });
    expect(await api.admin.reservation(plain, { tenantId })).toMatchObject({ labels: null });
    expect(await reserve(tenantId, labelled, { team: 'search' })).toMatchObject({ status: 201 });
    const conflict = { status: 409, body: { error: 'operation_conflict' } };
    expect(await reserve(tenantId, labelled, { team: 'ads' })).toMatchObject(conflict);
    expect(await reserve(tenantId, labelled)).toMatchObject(conflict);
    expect(await reserve(tenantId, plain, search)).toMatchObject(conflict);
    expect(await reserve(tenantId, plain, {})).toMatchObject({ status: 201 });
    for (const wrong of [{ Team: 'a' }, { team: 'other' }, { team: 'x'.repeat(65) }, { team: 1 }, ['a']])
      expect(await reserve(tenantId, randomUUID(), wrong)).toMatchObject({
        status: 400,
        body: { error: 'invalid_request', message: expect.stringMatching(/^labels/) as string },
      });
  });

  test('of a call that was made without a reservation are on record', async () => {
    const tenantId = await stack.tenant('10');
    await api.admin.budget.setPolicy(tenantId, { onUnavailable: 'allow', answerTimeoutMs: 2_000 });
    const operationId = randomUUID();
    await api.admin.commit(operationId, {
      ...{ tenantId, costUsd: '0.5' },
      unreserved: { resource: 'llm', amountUsd: '0.5', labels: search },
    });
    expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject({ labels: search, unreserved: true });
    expect(await recorded(operationId, 1)).toEqual([['commit', search]]);
  });

  test('come from the key, the run and the request, and the later one of a key wins', async () => {
    const tenantId = await stack.tenant('10');
    const made = await api.call('POST', '/v1/keys', {
      body: { tenantId, role: 'agent', labels: { team: 'search', stage: 'test', by: 'key' } },
    });
    const { apiKeyId, apiKey: key } = made.body as { apiKeyId: string; apiKey: string };
    const start = (labels: object) => api.call('POST', '/v1/runs', { key, body: { task: 'Say something.', labels } });
    const ofRun = { team: 'search', stage: 'test', by: 'run', feature: 'chat' };
    const { runId } = (await start({ by: 'run', feature: 'chat' })).body as { runId: string };
    expect(await api.admin.runs.get(runId, tenantId)).toMatchObject({ labels: ofRun });
    // All that it spends, and what is reserved for it from outside.
    await until('it has ended', async () => (await api.admin.runs.get(runId, tenantId)).status === 'completed');
    const { rows } = await stack.admin.query<{ labels: Labels }>(
      'SELECT DISTINCT labels FROM copilot_internal.cost_records WHERE tenant_id = $1 AND run_id = $2',
      [tenantId, runId],
    );
    expect(rows).toEqual([{ labels: ofRun }]);
    const operationId = randomUUID();
    const ask = (named: object, by = key) =>
      api.call('POST', '/v1/reservations', {
        key: by,
        body: { tenantId, operationId, resource: 'llm', amountUsd: '0.1', ...named },
      });
    expect(await ask({ runId, labels: { feature: 'geocoding' } })).toMatchObject({ status: 201 });
    const held = { ...ofRun, feature: 'geocoding' };
    expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject({ labels: held });
    // By what was sent it is the same with another key, and with what that key brings another.
    expect(await ask({ labels: { feature: 'geocoding' } }, await api.keyOf(tenantId, 'agent'))).toMatchObject({
      status: 201,
    });
    expect(await ask({ runId, labels: held })).toMatchObject({ status: 409, body: { error: 'operation_conflict' } });
    // A key that replaces it has the same.
    const rotated = await api.call('POST', `/v1/keys/${apiKeyId}/rotate`, { body: { tenantId } });
    const next = randomUUID();
    const plain = { tenantId, operationId: next, resource: 'llm', amountUsd: '0.1' };
    const { apiKey } = rotated.body as { apiKey: string };
    expect(await api.call('POST', '/v1/reservations', { key: apiKey, body: plain })).toMatchObject({ status: 201 });
    expect(await api.admin.reservation(next, { tenantId })).toMatchObject({
      labels: { team: 'search', stage: 'test', by: 'key' },
    });
    const nine = Object.fromEntries(Array.from({ length: 6 }, (_, at) => [`k${at}`, 'v']));
    expect(await start(nine)).toMatchObject({
      status: 400,
      body: { message: 'labels: with those of the key and the run they must be at most 8. The run was not started.' },
    });
  });

  test('that are inherited never refuse by themselves, and those of a call that was made refuse no cost', async () => {
    const tenantId = await stack.tenant('10');
    await api.admin.budget.setPolicy(tenantId, { onUnavailable: 'allow', answerTimeoutMs: 2_000 });
    const some = (prefix: string, count: number): Labels =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`${prefix}${at}`, 'v']));
    const made = await api.call('POST', '/v1/keys', { body: { tenantId, role: 'agent', labels: some('key', 5) } });
    const { apiKey: key } = made.body as { apiKey: string };
    const runId = randomUUID();
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, type, options, labels)
       VALUES ($1, $2, 'w', 'm', 't', 'task', '{"limits": {"maxCostUsd": "1"}}', $3)`,
      [runId, tenantId, JSON.stringify(some('run', 6))],
    );
    const ask = (operationId: string, more: object) =>
      api.call('POST', '/v1/reservations', {
        key,
        body: { operationId, resource: 'llm', amountUsd: '0.1', runId, ...more },
      });
    const [plain, told] = [randomUUID(), randomUUID()];
    expect(await ask(plain, {})).toMatchObject({ status: 201 });
    const held = { ...some('run', 6), key0: 'v', key1: 'v' };
    expect(await api.admin.reservation(plain, { tenantId })).toMatchObject({ labels: held });
    expect(await ask(randomUUID(), { labels: { team: 'search' } })).toMatchObject({ status: 400 });
    const unreserved = { resource: 'llm', amountUsd: '0.1', labels: some('sent', 6) };
    const commit = await api.call('POST', `/v1/reservations/${told}/commit`, {
      key,
      body: { costUsd: '0.1', unreserved },
    });
    expect(commit).toMatchObject({ status: 200 });
    expect(await recorded(told, 1)).toEqual([['commit', { ...some('sent', 6), key0: 'v', key1: 'v' }]]);
  });

  test('of a run are with what a run that belongs to it spends', async () => {
    const tenantId = await stack.tenant('10');
    const parentRunId = randomUUID();
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, type, options, labels)
       VALUES ($1, $2, 'w', 'm', 't', 'task', '{"limits": {"maxCostUsd": "1"}}', '{"team": "search", "by": "parent"}')`,
      [parentRunId, tenantId],
    );
    const started = { tenantId, task: 'Say something.', parentRunId, labels: { by: 'child' } };
    const { runId } = await api.admin.runs.start(started);
    expect(await api.admin.runs.get(runId, tenantId)).toMatchObject({ labels: { ...search, by: 'child' } });
  });

  test('of a conversation are with what its turns spend', async () => {
    const tenantId = await stack.tenant('10');
    const { conversationId } = await api.admin.conversations.create({ tenantId, labels: search });
    await api.call('POST', `/v1/conversations/${conversationId}/messages`, { body: { tenantId, message: 'Hello.' } });
    const spent = await until('it has spent', async () => {
      const { rows } = await stack.admin.query<{ labels: Labels }>(
        'SELECT labels FROM copilot_internal.cost_records WHERE tenant_id = $1 AND run_id = $2',
        [tenantId, conversationId],
      );
      return rows.length > 0 ? rows : undefined;
    });
    for (const { labels } of spent) expect(labels).toEqual(search);
    expect(await api.admin.conversations.get(conversationId, { tenantId })).toMatchObject({ labels: search });
  });

  test('of what a process of the version before decided are not known: its repeat is told the same', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    const at = new Date().toISOString();
    const row = { operationId, resource: 'llm', kind: 'k', priceVersion: 'v', requestedUsd: '1', status: 'denied' };
    const refusal = { type: 'denied', message: 'no', quota: { scope: 'tenant' } };
    await inTransaction(stack.pool, async (client) => {
      await client.query('SELECT copilot_internal.load_budget_batch($1, $2, $3, 0)', [tenantId, [operationId], []]);
      const batch = {
        reservations: [{ ...row, refusal, decidedAt: at, outcomeFolded: false }],
        ...{ ledger: [], alerts: [], changes: [], countsRuns: true },
      };
      await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(batch)]);
    });
    const asked: ReserveCommand = {
      ...{
        type: 'reserve',
        operationId,
        resource: 'llm',
        amountUsd: '1',
        priceVersion: 'v',
        kind: 'k',
        ttlSeconds: 60,
      },
      labels: search,
    };
    const decided = await decideAndRecord(stack.pool, {
      ...{ tenantId, commands: [asked], enforced: { llm: true, e2b: true }, timeoutMs: 3_000 },
    });
    expect(decided?.decision.answers).toMatchObject([{ decision: 'denied', message: 'no' }]);
    expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject({ labels: null });
  });
});
