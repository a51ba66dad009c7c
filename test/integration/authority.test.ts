import { randomUUID } from 'node:crypto';
import { WorkflowNotFoundError } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { createApiKey } from '../../store/api-keys';
import { authenticate } from '../../store/key-callers';
import { decideAndRecord } from '../../store/budget-batch';
import { asTenant, inTransaction } from '../../store/pool';
import { recordOutcome } from '../../store/outcomes';
import { claimReservation } from '../../store/reservations';
import { budgetStateQuery, budgetWorkflowId, taskQueues } from '../../contracts/messages';
import type { BudgetCommand } from '../../core/budget/commands';
import { TestStack, until } from '../support/stack';

describe('the authority', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start();
  });
  afterAll(() => stack.stop());
  beforeEach(() => {
    Object.assign(stack.anthropic.knobs, {
      failNext: [],
      replies: [],
      usage: undefined,
      latencyMs: 0,
      deltaSpacingMs: 0,
    });
  });

  const reserve = (operationId: string, amountUsd: string, ttlSeconds = 60): BudgetCommand => ({
    type: 'reserve',
    operationId,
    resource: 'llm',
    amountUsd,
    priceVersion: 'test',
    ttlSeconds,
    kind: 'test',
  });
  const decide = (tenantId: string, commands: BudgetCommand[]) =>
    decideAndRecord(stack.pool, { tenantId, commands, enforced: { llm: true, e2b: true }, timeoutMs: 3_000 });
  const reservation = async (operationId: string): Promise<Record<string, unknown> | undefined> => {
    const { rows } = await stack.admin.query<Record<string, unknown>>(
      'SELECT * FROM copilot_internal.reservations WHERE operation_id = $1',
      [operationId],
    );
    return rows[0];
  };

  test('terminated with commits in its mailbox: they are in the ledger when the run ends', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 3_000;
    const started = await stack.start({ tenantId });
    await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
    // It is gone before the commit arrives, and gone again after.
    const killer = setInterval(() => {
      stack.temporal.workflow
        .getHandle(budgetWorkflowId(tenantId))
        .terminate('an operator')
        .catch((error: unknown) => {
          if (!(error instanceof WorkflowNotFoundError)) throw error;
        });
    }, 150);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    clearInterval(killer);
    const run = await stack.finish({ tenantId, ...started });
    expect(run.status).toBe('completed');
    expect(run.steps).toMatchObject([{ settlement: 'actual' }]);
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: run.costUsd,
      spentUsd: run.costUsd,
      reservedUsd: '0',
      openReservations: 0,
    });
  });

  test('terminated while something is overdue: the minutely look wakes it, and the money comes back', async () => {
    const startNow = await stack.takeOverSchedules();
    const tenantId = await stack.tenant('10');
    await decide(tenantId, [reserve(randomUUID(), '4')]);
    // Long overdue, and nobody sleeps until then.
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET expires_at = now() - interval '1 minute' WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '4', openReservations: 1 });
    const { budget: taskQueue } = taskQueues(stack.prefix);
    expect(await startNow('lookAfter')).toEqual({ woken: 1, lost: 0, rung: 0, told: 0 });
    await until('it has expired', async () => (await stack.books(tenantId)).openReservations === 0);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', ledgerUsd: '0' });
    const schedule = await stack.temporal.schedule.getHandle(`look-after/${taskQueue}`).describe();
    expect(schedule.spec.intervals).toMatchObject([{ every: 60_000 }]);
  });

  test('sets one bad command aside, and decides the others', async () => {
    const tenantId = await stack.tenant('5');
    const good = randomUUID();
    await stack.signal(tenantId, [reserve('not-a-uuid', '1'), reserve(good, '2'), reserve(randomUUID(), '-3')]);
    await until('the good one is decided', () => reservation(good));
    expect(await reservation(good)).toMatchObject({ status: 'granted', granted_usd: '2.000000000000' });
    expect((await stack.books(tenantId)).reservedUsd).toBe('2');
  });

  test('lets what nobody ends expire, and frees its money without being asked', async () => {
    const tenantId = await stack.tenant('5');
    const operationId = randomUUID();
    await stack.signal(tenantId, [reserve(operationId, '2', 1)]);
    await until('it expired', async () => (await reservation(operationId))?.status === 'expired');
    expect((await stack.books(tenantId)).reservedUsd).toBe('0');
  });

  test('continues as new under a flood of signals and loses no command; no task fails of it', async () => {
    const tenantId = await stack.tenant('1000');
    const operations = Array.from({ length: 2_300 }, () => randomUUID());
    for (let from = 0; from < operations.length; from += 100) {
      await Promise.all(
        operations
          .slice(from, from + 100)
          .map((operationId) => stack.signal(tenantId, [reserve(operationId, '0.01', 600)])),
      );
    }
    await until('all are decided', async () => (await stack.books(tenantId)).openReservations === operations.length);
    expect((await stack.books(tenantId)).reservedUsd).toBe('23');
    const handle = stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId));
    const state = await handle.query(budgetStateQuery);
    expect(state.quotas.find(({ resourceType }) => resourceType === 'all')).toMatchObject({ reservedUsd: '23' });
    const runs = stack.temporal.workflow.list({ query: `WorkflowId = "${budgetWorkflowId(tenantId)}"` });
    const chain = await until('the chain is listed', async () => {
      const found = [];
      for await (const { runId, status } of runs) found.push({ runId, status: status.name });
      return found.length > 1 && found;
    });
    expect(chain.map(({ status }) => status)).toContain('CONTINUED_AS_NEW');
    const causes = temporal.api.enums.v1.WorkflowTaskFailedCause;
    const failed = new Set<string>();
    for (const { runId } of chain) {
      const { events } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId), runId).fetchHistory();
      for (const { workflowTaskFailedEventAttributes: task } of events ?? [])
        if (task) failed.add(causes[task.cause ?? 0] ?? '');
    }
    // A signal that comes in the task that continues as new makes it run again; nothing else may.
    expect([...failed].filter((cause) => !cause.endsWith('UNHANDLED_COMMAND'))).toEqual([]);
    await handle.terminate('the test is over');
  });

  test('hands over what waits once all of it can be: of thousands of reserves none is lost, and it gets there under load (XF7)', async () => {
    const tenantId = await stack.tenant('1000');
    const handle = stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId));
    const asked: string[] = [];
    // About a kilobyte each, as with trace contexts and long labels.
    const ask = (count: number): Promise<void> => {
      const operationIds = Array.from({ length: count }, () => randomUUID());
      asked.push(...operationIds);
      const commands = operationIds.map((operationId) => ({
        ...reserve(operationId, '0.01', 3_600),
        model: 'm'.repeat(900),
      }));
      return stack.signal(tenantId, commands);
    };
    const lock = await stack.admin.connect();
    try {
      await lock.query('BEGIN');
      await lock.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
      // More than one execution can hand to the next, while nothing can be decided.
      for (let sent = 0; sent < 600; sent += 40) await Promise.all(Array.from({ length: 40 }, () => ask(5)));
      const { runId: first } = await handle.describe();
      await lock.query('COMMIT');
      await until('it continued as new, while more came', async () => {
        await ask(1);
        return (await handle.describe()).runId !== first;
      });
    } finally {
      lock.release();
    }
    await until('all are decided', async () => (await stack.books(tenantId)).openReservations === asked.length);
    const { rows } = await stack.admin.query<{ granted: number }>(
      `SELECT count(*)::integer AS granted FROM copilot_internal.reservations WHERE operation_id = ANY ($1::uuid[]) AND status = 'granted'`,
      [asked],
    );
    expect(rows[0]?.granted).toBe(asked.length);
    expect((await stack.books(tenantId)).reservedUsd).toBe(String(asked.length / 100));
    await handle.terminate('the test is over');
  });

  test('that continued as new wakes up for what expires, and knows its quotas, before anything else comes', async () => {
    const tenantId = await stack.tenant('1000');
    const operations = Array.from({ length: 200 }, () => randomUUID());
    // As many signals as an execution takes, the last of them for what expires first.
    for (const [index, operationId] of operations.entries()) {
      const isLast = index === operations.length - 1;
      await stack.signal(tenantId, [reserve(operationId, '1', isLast ? 3 : 600)]);
    }
    const handle = stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId));
    const { runId, firstExecutionRunId } = await until('it continued as new', async () => {
      const { runId, raw } = await handle.describe();
      const firstExecutionRunId = raw.workflowExecutionInfo?.firstRunId;
      return runId !== firstExecutionRunId && { runId, firstExecutionRunId };
    });
    expect(firstExecutionRunId).toEqual(expect.any(String));
    const { quotas, nextWakeUpAt } = await handle.query(budgetStateQuery);
    expect(quotas.map(({ reservedUsd }) => reservedUsd)).toContain('200');
    expect(nextWakeUpAt).toEqual(expect.any(String));
    await until('it expired', async () => (await reservation(operations.at(-1) ?? ''))?.status === 'expired', 15_000);
    expect((await handle.describe()).runId).toBe(runId);
    expect((await stack.books(tenantId)).reservedUsd).toBe('199');
    await handle.terminate('the test is over');
  });

  test('raises one alert a quota and kind, however many are refused', async () => {
    const tenantId = await stack.tenant('1');
    await stack.signal(
      tenantId,
      Array.from({ length: 5 }, () => reserve(randomUUID(), '2')),
    );
    const sent = await until('the alert is sent', async () => {
      const { rows } = await stack.admin.query<{ kind: string; sent_at: Date | null }>(
        'SELECT kind, sent_at FROM copilot_internal.quota_alerts WHERE tenant_id = $1',
        [tenantId],
      );
      return rows.length > 0 && rows.every((row) => row.sent_at !== null) && rows;
    });
    expect(sent.map(({ kind }) => kind)).toEqual(['quota_exceeded']);
  });

  describe('below it, Postgres', () => {
    test('refuses a grant over a limit even when the decision is wrong, and records nothing', async () => {
      const tenantId = await stack.tenant('10');
      const change = (sequence: number, reservedDeltaUsd: string) => ({
        sequence,
        resource: 'llm',
        reservedDeltaUsd,
        spentDeltaUsd: '0',
        postedAt: new Date().toISOString(),
        grant: true,
        enforced: true,
      });
      const record = (changes: unknown[]) =>
        asTenant(stack.pool, tenantId, (client) =>
          client.query('SELECT copilot_internal.check_and_record_quota_atomic($1, $2)', [
            tenantId,
            JSON.stringify(changes),
          ]),
        );
      await record([change(0, '6')]);
      await expect(record([change(0, '4'), change(1, '0.000000000001')])).rejects.toMatchObject({ code: 'SL001' });
      expect((await stack.books(tenantId)).reservedUsd).toBe('6');
      await record([change(0, '4')]);
    });

    test('lets one execution claim a reservation, and none without a grant', async () => {
      const tenantId = await stack.tenant('10');
      const [granted, denied] = [randomUUID(), randomUUID()];
      await decide(tenantId, [reserve(granted, '6'), reserve(denied, '6')]);
      const [first, second] = [randomUUID(), randomUUID()];
      const claim = (operationId: string, claimToken: string) =>
        claimReservation(stack.pool, { tenantId, operationId, claimToken });
      expect(await claim(denied, first)).toBeUndefined();
      expect(await claim(randomUUID(), first)).toBeUndefined();
      expect(await claim(granted, first)).toBe(6_000_000_000_000n);
      expect(await claim(granted, second)).toBeUndefined();
      // The same execution may ask again, if the reply was lost.
      expect(await claim(granted, first)).toBe(6_000_000_000_000n);
      const outcome = (claimToken: string) =>
        asTenant(stack.pool, tenantId, (client) =>
          recordOutcome(client, { tenantId, operationId: granted, claimToken, outcome: { billed: true, costUsd: 1n } }),
        );
      expect(await outcome(second)).toBe(false);
      // By a statement of its own it sees one tenant as well, and writes for whoever claimed where no token says who.
      const alone = (whose: string) =>
        recordOutcome(stack.pool, { tenantId: whose, operationId: granted, outcome: { billed: false, reason: '' } });
      expect(await alone(await stack.tenant('10'))).toBe(false);
      expect(await alone(tenantId)).toBe(true);
      expect(await outcome(first)).toBe(true);
      const { rows } = await stack.admin.query(
        'SELECT outcome FROM copilot_internal.reservations WHERE operation_id = $1',
        [granted],
      );
      expect(rows).toEqual([{ outcome: 'not_billed' }]);
    });

    test('gives the same answer when a batch is repeated, also when two are decided at once', async () => {
      const tenantId = await stack.tenant('10');
      const commands = Array.from({ length: 8 }, () => reserve(randomUUID(), '2'));
      const results = await Promise.all(Array.from({ length: 6 }, () => decide(tenantId, commands)));
      for (const result of results) expect(result?.decision.answers).toEqual(results[0]?.decision.answers);
      expect(results[0]?.decision.answers.filter((answer) => answer?.decision === 'granted')).toHaveLength(5);
      expect((await stack.books(tenantId)).reservedUsd).toBe('10');
    });

    test('a connection that breaks in the middle of a transaction fails it, and ends no process', async () => {
      const broken = inTransaction(stack.pool, async (client) => {
        const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await stack.admin.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
        // Long enough for the connection to say so while no query waits for it.
        await new Promise((resolve) => setTimeout(resolve, 300));
        await client.query('SELECT 1');
      });
      await expect(broken).rejects.toThrow();
      await expect(stack.pool.query('SELECT 1 AS one')).resolves.toMatchObject({ rows: [{ one: 1 }] });
    });

    test('shows the application one tenant at a time', async () => {
      const [mine, other] = [await stack.tenant('10'), await stack.tenant('20')];
      await decide(other, [reserve(randomUUID(), '1')]);
      const seen = await asTenant(stack.pool, mine, async (client) => {
        const { rows } = await client.query<{ tenant_id: string | null }>(
          'SELECT tenant_id FROM copilot_internal.cost_quotas UNION SELECT tenant_id FROM copilot_internal.reservations',
        );
        return rows.map((row) => row.tenant_id);
      });
      expect(seen).toEqual([mine]);
      await expect(
        asTenant(stack.pool, mine, (client) =>
          client.query('UPDATE copilot_internal.cost_quotas SET limit_usd = 999 WHERE tenant_id = $1', [other]),
        ),
      ).resolves.toMatchObject({ rowCount: 0 });
    });

    test('does not let the application change the schema, or rewrite the ledger', async () => {
      const tenantId = await stack.tenant('10');
      for (const statement of [
        'DROP TABLE copilot_internal.cost_records',
        'UPDATE copilot_internal.cost_records SET amount_usd = 0',
        'DELETE FROM copilot_internal.cost_records',
        'ALTER TABLE copilot_internal.cost_quotas DISABLE ROW LEVEL SECURITY',
        'CREATE TABLE copilot_internal.mine (a int)',
      ]) {
        await expect(asTenant(stack.pool, tenantId, (client) => client.query(statement))).rejects.toMatchObject({
          code: '42501',
        });
      }
    });

    test('gives new tenants their default quotas, and existing ones too, once (Q4, Q5, F1)', async () => {
      const tenantId = `fresh-${randomUUID().slice(0, 8)}`;
      await stack.admin.query('INSERT INTO copilot_internal.tenants (tenant_id) VALUES ($1)', [tenantId]);
      const quotas = async () => {
        const { rows } = await stack.admin.query<{
          resource_type: string;
          limit_usd: string;
          warning_threshold: string;
          day: number;
        }>(
          `SELECT resource_type, trim_scale(limit_usd)::text AS limit_usd, warning_threshold, extract(day FROM period_end AT TIME ZONE 'UTC')::integer AS day
           FROM copilot_internal.cost_quotas WHERE tenant_id = $1 ORDER BY limit_usd`,
          [tenantId],
        );
        return rows;
      };
      const expected = [
        { resource_type: 'e2b', limit_usd: '50', warning_threshold: '0.8000', day: 1 },
        { resource_type: 'llm', limit_usd: '100', warning_threshold: '0.8000', day: 1 },
        { resource_type: 'all', limit_usd: '150', warning_threshold: '0.8000', day: 1 },
      ];
      expect((await quotas()).sort((a, b) => Number(a.limit_usd) - Number(b.limit_usd))).toEqual(expected);
      await stack.admin.query('DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1', [tenantId]);
      const initialize = 'SELECT copilot_internal.initialize_existing_tenant_quotas() AS added';
      expect((await stack.admin.query<{ added: number }>(initialize)).rows[0]?.added).toBe(3);
      expect((await stack.admin.query<{ added: number }>(initialize)).rows[0]?.added).toBe(0);
      expect(await quotas()).toHaveLength(3);
      // The first ten calls of somebody nobody has seen are bound together.
      const result = await decide(
        tenantId,
        Array.from({ length: 10 }, () => reserve(randomUUID(), '15')),
      );
      expect(result?.decision.answers.filter((answer) => answer?.decision === 'granted')).toHaveLength(6);
    });

    test('keeps no API key, only what recognises it', async () => {
      const tenantId = await stack.tenant('1');
      const { key } = await createApiKey(stack.pool, { tenantId });
      expect(key).toMatch(/^slk_[A-Za-z0-9_-]{43}$/);
      const found = await authenticate(stack.pool, [`${key}x`, key]);
      expect(found).toEqual([undefined, expect.objectContaining({ tenantId })]);
    });
  });
});
