/** Limits of runs where workflows spend: their own, those of what they belong to, and what resets and continuations leave of them. */
import { randomUUID } from 'node:crypto';
import type { RunView } from '../../api/runs/schemas';
import { formatUsd, parseUsd } from '../../core/money';
import { lookAtBooks } from '../../store/books';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { startLimitedWorker, type LimitedWorker } from '../support/limited-worker';
import { goOnSignal } from '../support/limited-workflows';
import { resetToBegin } from '../support/reset';
import { until, type TestStack } from '../support/stack';

describe('limits of workflows', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  let worker: LimitedWorker;
  beforeAll(async () => void (worker = await startLimitedWorker(stack)));
  afterAll(() => worker.stop());

  const start: LimitedWorker['start'] = (...asked) => worker.start(...asked);
  const limits = async (tenantId: string): Promise<Record<string, string>[]> => {
    const { rows } = await stack.admin.query<Record<string, string>>(
      `SELECT run_id::text AS id, trim_scale(limit_usd)::text AS "limit", trim_scale(spent_usd)::text AS spent,
              trim_scale(reserved_usd)::text AS reserved
       FROM copilot_internal.run_limits WHERE tenant_id = $1 ORDER BY cardinality(ancestor_ids), run_id`,
      [tenantId],
    );
    return rows;
  };
  test('of $1.00 admit two of three children at $0.40 at once, though the parent itself spends nothing (XD6)', async () => {
    const tenantId = await stack.tenant('100');
    const parent = await start('limitedParent', { tenantId, maxCostUsd: '1' }, ['0.4', '0.4', '0.4']);
    const ends = (await parent.result()) as string[];
    expect(ends.sort()).toEqual(['paid', 'paid', 'run_limit_exceeded']);
    const [own, ...children] = await limits(tenantId);
    expect(own).toMatchObject({ id: parent.firstExecutionRunId, limit: '1', spent: '0.8', reserved: '0' });
    expect(children.map(({ spent }) => spent).sort()).toEqual(['0', '0.4', '0.4']);
  });

  test('of $1.00 let four children at once that may cost $0.54 each, and cost $0.015, wait for each other', async () => {
    const tenantId = await stack.tenant('100');
    const parent = await start('limitedParent', { tenantId, maxCostUsd: '1' }, Array(4).fill('0.015'), '0.54');
    expect(await parent.result()).toEqual(Array(4).fill('paid'));
    const [own] = await limits(tenantId);
    expect(own).toMatchObject({ limit: '1', spent: '0.06', reserved: '0' });
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.06', reservedUsd: '0', openReservations: 0 });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('and its labels are with each of its costs, a child’s too', async () => {
    const tenantId = await stack.tenant('100');
    const parent = await start('limitedParent', { tenantId, maxCostUsd: '1', labels: { team: 'search' } }, ['0.4']);
    expect(await parent.result()).toEqual(['paid']);
    const alone = await start('limitedStep', { tenantId }, '0.1');
    await alone.result();
    const { rows } = await stack.admin.query<object>(
      `SELECT r.labels AS reserved, c.labels FROM copilot_internal.reservations r JOIN copilot_internal.cost_records c USING (tenant_id, operation_id)
       WHERE tenant_id = $1 ORDER BY c.cost_record_id`,
      [tenantId],
    );
    const search = { team: 'search' };
    expect(rows).toEqual([
      { reserved: search, labels: search },
      { reserved: null, labels: null },
    ]);
  });

  test('that share a run hold for all of them together', async () => {
    const tenantId = await stack.tenant('100');
    const scope = { tenantId, runId: randomUUID(), maxCostUsd: '1' };
    const three = await Promise.all([1, 2, 3].map(() => start('limitedStep', scope, '0.4')));
    const ends = await Promise.all(three.map((one) => one.result()));
    expect(ends.sort()).toEqual(['paid', 'paid', 'run_limit_exceeded']);
    const other = await start('limitedStep', { ...scope, maxCostUsd: '2' }, '0.1');
    expect(await other.result()).toBe('run_limit_conflict');
  });

  test('go on through resets and continuations: at most $0.50 over all executions, and every call is on record (XA7, XD6)', async () => {
    const tenantId = await stack.tenant('100');
    const chain = await start('limitedChain', { tenantId, maxCostUsd: '0.5' }, ['0.4', '0.1']);
    await until('the first has paid', async () => (await stack.books(tenantId)).ledgerUsd === '0.4');
    await resetToBegin(stack, chain.workflowId);
    const again = stack.temporal.workflow.getHandle(chain.workflowId);
    await again.signal(goOnSignal);
    await until('it went on in a new execution', async () => {
      const { runId } = await again.describe();
      return (
        runId !== chain.firstExecutionRunId &&
        (await again.fetchHistory()).events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId !==
          ''
      );
    });
    await again.signal(goOnSignal);
    expect(await again.result()).toEqual(['run_limit_exceeded', 'run_limit_exceeded']);
    expect(await limits(tenantId)).toEqual([
      { id: chain.firstExecutionRunId, limit: '0.5', spent: '0.4', reserved: '0' },
    ]);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.4', reservedUsd: '0', openReservations: 0 });
  });

  test('count what was committed, not what was held for it, though no workflow notes a cost (XF1)', async () => {
    const tenantId = await stack.tenant('100');
    const runId = randomUUID();
    const chain = await start('limitedChain', { tenantId, runId, maxCostUsd: '0.45' }, ['0.05']);
    await until('it has paid', async () => (await stack.books(tenantId)).ledgerUsd === '0.05');
    const next = await start('limitedStep', { tenantId, runId }, '0.4');
    expect(await next.result()).toBe('paid');
    expect(await limits(tenantId)).toEqual([{ id: runId, limit: '0.45', spent: '0.45', reserved: '0' }]);
    await chain.terminate();
  });

  test('bind callers that name a run, and the run shows what each part spent', async () => {
    const [tenantId, other] = [await stack.tenant('100'), await stack.tenant('100')];
    const run = await stack.run({ tenantId, limits: { maxCostUsd: '0.5' } });
    const reserve = async (amountUsd: string, runId: string, payer = tenantId) => {
      const body = { tenantId: payer, operationId: randomUUID(), resource: 'llm', amountUsd, runId };
      const { status, body: answer } = await api.call('POST', '/v1/reservations', { body });
      return [status, (answer as { error?: string }).error];
    };
    expect(await reserve('0.3', run.runId)).toEqual([201, undefined]);
    expect(await reserve('0.3', run.runId)).toEqual([409, 'run_limit_exceeded']);
    expect(await reserve('0.1', run.runId, other)).toEqual([404, 'not_found']);
    expect(await reserve('0.1', randomUUID())).toEqual([404, 'not_found']);
    const child = await start('limitedStep', { tenantId, parentRunId: run.runId, maxCostUsd: '0.1' }, '0.04');
    expect(await child.result()).toBe('run_parent_refused');
    // One that nobody limited binds nobody.
    const free = await stack.run({ tenantId });
    expect(await reserve('50', free.runId)).toEqual([201, undefined]);
    const shown = await api.call('GET', `/v1/runs/${run.runId}?tenantId=${tenantId}`);
    expect((shown.body as RunView).tree).toEqual([
      { runId: run.runId, parentRunId: null, limitUsd: '0.5', spentUsd: run.costUsd, reservedUsd: '0.3' },
    ]);
  });

  test('bind callers that name a run, or a conversation in its turn, before that has asked for anything', async () => {
    const tenantId = await stack.tenant('100');
    const [run, conversation, turn] = [randomUUID(), randomUUID(), randomUUID()];
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, type, options)
       SELECT id, $1, 'w', 'm', task, type, '{"limits": {"maxCostUsd": "0.50"}}'
       FROM (VALUES ($2::uuid, 't', 'task'), ($3, '', 'conversation')) AS made (id, task, type)`,
      [tenantId, run, conversation],
    );
    const reserve = async (amountUsd: string, runId: string) => {
      const body = { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd, runId };
      return (await api.call('POST', '/v1/reservations', { body })).status;
    };
    expect([await reserve('0.3', run), await reserve('0.3', run)]).toEqual([201, 409]);
    // A limit that came first stands for them too.
    await stack.admin.query('UPDATE copilot_internal.run_limits SET limit_usd = 1 WHERE run_id = $1', [run]);
    expect([await reserve('0.3', run), await reserve('0.5', run)]).toEqual([201, 409]);
    // Before its first turn it has what one turn may cost, and each turn its own.
    expect([await reserve('0.3', conversation), await reserve('0.3', conversation)]).toEqual([201, 409]);
    await stack.admin.query(
      `INSERT INTO copilot_internal.turns (turn_id, run_id, tenant_id, number, message, status)
       VALUES ($1, $2, $3, 1, 'm', 'running')`,
      [turn, conversation, tenantId],
    );
    expect([await reserve('0.4', conversation), await reserve('0.3', conversation)]).toEqual([201, 409]);
    expect((await limits(tenantId)).map(({ id }) => id).sort()).toEqual([run, conversation, turn].sort());
    const shown = await api.call('GET', `/v1/runs/${run}?tenantId=${tenantId}`);
    expect((shown.body as RunView).tree).toHaveLength(1);
  });

  test('count a run that names its parent, and hold for it: a run, or a conversation in its turn', async () => {
    const tenantId = await stack.tenant('100');
    const [run, ended, free, conversation, turn] = [1, 2, 3, 4, 5].map(() => randomUUID()) as [
      string,
      string,
      string,
      string,
      string,
    ];
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, type, options, ended_at, status)
       SELECT id, $1, 'w', 'm', CASE type WHEN 'task' THEN 't' ELSE '' END, type, options::jsonb, ended_at, coalesce(status, 'running')
       FROM (VALUES ($2::uuid, 'task', '{"limits": {"maxCostUsd": "1"}}', NULL::timestamptz, NULL::text),
                    ($3, 'task', '{"limits": {"maxCostUsd": "1"}}', now(), 'completed'), ($4, 'task', '{}', NULL, NULL),
                    ($5, 'conversation', '{"limits": {"maxCostUsd": "0.0001"}}', NULL, NULL)) AS made (id, type, options, ended_at, status)`,
      [tenantId, run, ended, free, conversation],
    );
    await stack.admin.query(
      `INSERT INTO copilot_internal.turns (turn_id, run_id, tenant_id, number, message, status) VALUES ($1, $2, $3, 1, 'm', 'running')`,
      [turn, conversation, tenantId],
    );
    const refused = async (parentRunId?: string) => {
      const body = { tenantId, task: 'x', parentRunId };
      const { status, body: answer } = await api.call('POST', '/v1/runs', { body });
      return [status, (answer as { error?: string }).error];
    };
    expect(await refused(ended)).toEqual([409, 'run_parent_refused']);
    expect(await refused(free)).toEqual([409, 'run_parent_refused']);
    expect(await refused(randomUUID())).toEqual([404, 'not_found']);

    const [child, own] = await Promise.all([
      stack.run({ tenantId, parentRunId: run }),
      stack.run({ tenantId, parentRunId: run, limits: { maxCostUsd: '0.5' } }),
    ]);
    expect([child.status, own.status]).toEqual(['completed', 'completed']);
    const spentUsd = formatUsd(parseUsd(child.costUsd) + parseUsd(own.costUsd));
    const shown = await api.call('GET', `/v1/runs/${run}?tenantId=${tenantId}`);
    const { tree } = shown.body as RunView;
    expect(tree[0]).toEqual({ runId: run, parentRunId: null, limitUsd: '1', spentUsd, reservedUsd: '0' });
    expect(tree).toContainEqual({
      ...{ runId: child.runId, parentRunId: run, limitUsd: null, spentUsd: child.costUsd, reservedUsd: '0' },
    });
    const beyond = await stack.run({ tenantId, parentRunId: conversation });
    expect(beyond).toMatchObject({ status: 'failed', failure: { code: 'run_limit_exceeded' }, costUsd: '0' });
    expect(beyond.tree.map(({ runId }) => runId)).toEqual([turn, beyond.runId]);
  });

  test('of a run are on record from its start, and what it bought before its reset counts once and is used (XD6)', async () => {
    const tenantId = await stack.tenant('100');
    stack.anthropic.knobs.replies = [{ text: '', code: `console.log('one')` }, { text: 'The answer.' }];
    const before = stack.anthropic.calls().billable;
    const run = await stack.run({ tenantId, limits: { maxCostUsd: '0.5' } });
    expect(run).toMatchObject({ status: 'completed' });
    const [limit] = await limits(tenantId);
    expect(limit).toEqual({ id: run.runId, limit: '0.5', spent: run.costUsd, reserved: '0' });
    await resetToBegin(stack, run.workflowId);
    await stack.temporal.workflow.getHandle(run.workflowId).result();
    expect(stack.anthropic.calls().billable - before).toBe(2);
    await until('all has ended', async () => (await stack.books(tenantId)).openReservations === 0);
    const { ledgerUsd } = await stack.books(tenantId);
    expect(await limits(tenantId)).toEqual([{ id: run.runId, limit: '0.5', spent: ledgerUsd, reserved: '0' }]);
  });
});
