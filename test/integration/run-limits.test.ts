/** Limits of runs in the books: decided with the quotas, counted by whoever ends a reservation, and guarded in SQL. */
import { randomUUID } from 'node:crypto';
import type { BudgetCommand, ReserveCommand, RunLimitRef } from '../../core/budget/commands';
import { decideAndRecord } from '../../store/budget-batch';
import { lookAtBooks } from '../../store/books';
import { allowUnreserved } from '../../store/decided';
import { recordOutcomes } from '../../store/outcomes';
import { parseUsd } from '../../core/money';
import { asTenant, inTransaction, sqlState } from '../../store/pool';
import { claimReservation } from '../../store/reservations';
import { forgetLeftovers } from '../../store/retention';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('limits of runs', () => {
  let stack: TestStack;
  withInstallation((made) => ({ stack } = made));

  const ask = (amountUsd: string, runLimit: RunLimitRef, more: Partial<ReserveCommand> = {}): ReserveCommand => ({
    type: 'reserve',
    operationId: randomUUID(),
    resource: 'llm',
    amountUsd,
    priceVersion: 'test',
    ttlSeconds: 600,
    kind: 'test',
    runLimit,
    ...more,
  });
  const decide = (tenantId: string, ...commands: BudgetCommand[]): Promise<string[]> =>
    decideDue(tenantId, {}, commands);
  const decideDue = async (
    tenantId: string,
    due: { dueMax?: number },
    commands: BudgetCommand[],
  ): Promise<string[]> => {
    const options = { tenantId, commands, enforced: { llm: true, e2b: true }, timeoutMs: 3_000, ...due };
    const { answers = [] } = (await decideAndRecord(stack.pool, options))?.decision ?? {};
    return answers.map((answer) => (answer && 'code' in answer ? answer.code : (answer?.decision ?? 'undecided')));
  };
  const limits = async (tenantId: string, runId: string): Promise<unknown> => {
    const { rows } = await stack.admin.query(
      `SELECT trim_scale(spent_usd)::text AS spent, trim_scale(reserved_usd)::text AS reserved FROM copilot_internal.run_limits
       WHERE tenant_id = $1 AND run_id = $2`,
      [tenantId, runId],
    );
    return rows[0];
  };

  test('a limit of $1.00 admits two of three children at $0.40 at once, and nobody else is bound by it', async () => {
    const tenantId = await stack.tenant('100');
    const root = randomUUID();
    const children = Array.from({ length: 3 }, () => ask('0.4', { id: randomUUID(), parentId: root }));
    await decide(tenantId, ask('0', { id: root, limitUsd: '1' }));
    const answers = await Promise.all(children.map((child) => decide(tenantId, child)));
    expect(answers.flat().sort()).toEqual(['granted', 'granted', 'run_limit_exceeded']);
    expect(await limits(tenantId, root)).toEqual({ spent: '0', reserved: '0.8' });
    expect(await decide(tenantId, ask('0.3', { id: root }), ask('50', { id: randomUUID(), limitUsd: '50' }))).toEqual([
      'run_limit_exceeded',
      'granted',
    ]);
    // The same from the record.
    expect((await Promise.all(children.map((child) => decide(tenantId, child)))).flat().sort()).toEqual(
      answers.flat().sort(),
    );
  });

  test('what was committed counts: a cost below its grant, a release, an expiry, a late cost, a correction', async () => {
    const tenantId = await stack.tenant('100');
    const runLimit = { id: randomUUID(), limitUsd: '1' };
    const [used, given, short, free] = ['0.3', '0.3', '0.2', '0.2'].map((amount, index) =>
      ask(amount, runLimit, index === 2 ? { ttlSeconds: 0.05 } : {}),
    ) as [ReserveCommand, ReserveCommand, ReserveCommand, ReserveCommand];
    expect(await decide(tenantId, used, given, short)).toEqual(['granted', 'granted', 'granted']);
    await allowUnreserved(stack.pool, { tenantId, command: free, enforced: { llm: true, e2b: true } });
    const costs = (operationId: string, costUsd: bigint) =>
      recordOutcomes(stack.pool, tenantId, [{ operationId, claimToken: used.operationId, costUsd }]);
    for (const { operationId } of [used, free])
      await claimReservation(stack.pool, { tenantId, operationId, claimToken: used.operationId });
    await costs(used.operationId, 50_000_000_000n);
    await costs(free.operationId, 70_000_000_000n);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await decide(tenantId, { type: 'release', operationId: given.operationId });
    expect(await limits(tenantId, runLimit.id)).toEqual({ spent: '0.12', reserved: '0' });
    await recordOutcomes(stack.pool, tenantId, [{ operationId: short.operationId, costUsd: 10_000_000_000n }]);
    await decide(tenantId, { type: 'reload' });
    expect(await limits(tenantId, runLimit.id)).toEqual({ spent: '0.13', reserved: '0' });
    await asTenant(stack.pool, tenantId, (client) =>
      client.query('SELECT copilot_internal.adjust_cost($1, $2, 0.5, $3, $4)', [
        tenantId,
        used.operationId,
        'a test',
        'a test',
      ]),
    );
    expect(await limits(tenantId, runLimit.id)).toEqual({ spent: '0.58', reserved: '0' });
    expect(await decide(tenantId, ask('0.43', runLimit), ask('0.42', runLimit))).toEqual([
      'run_limit_exceeded',
      'granted',
    ]);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('what goes on without an answer brings the limit, as its reserve would, and is refused what that would be', async () => {
    const tenantId = await stack.tenant('100');
    const [run, child] = [randomUUID(), randomUUID()];
    const allow = async (amountUsd: string, runLimit: RunLimitRef): Promise<string> => {
      const command = ask(amountUsd, runLimit);
      const answer = await allowUnreserved(stack.pool, { tenantId, command, enforced: { llm: true, e2b: true } });
      if (answer.decision !== 'granted') return 'code' in answer ? answer.code : answer.decision;
      const { operationId } = command;
      await recordOutcomes(stack.pool, tenantId, [{ operationId, costUsd: parseUsd(amountUsd) }]);
      return answer.decision;
    };
    expect(await allow('0.4', { id: run, limitUsd: '1' })).toBe('granted');
    expect(await allow('0.3', { id: child, parentId: run, limitUsd: '0.5' })).toBe('granted');
    expect(await allow('0.1', { id: child, limitUsd: '0.6' })).toBe('run_limit_conflict');
    expect(await allow('0.1', { id: randomUUID(), parentId: randomUUID() })).toBe('run_parent_refused');
    expect(await decide(tenantId, ask('0.31', { id: run }))).toEqual(['run_limit_exceeded']);
    expect(await limits(tenantId, run)).toEqual({ spent: '0.7', reserved: '0' });
    expect(await limits(tenantId, child)).toEqual({ spent: '0.3', reserved: '0' });
    expect(await allow('0.31', { id: run })).toBe('run_limit_exceeded');
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('what waits to be settled of a tree is settled before it is refused, however much waits before it', async () => {
    const tenantId = await stack.tenant('100');
    const [run, child] = [randomUUID(), randomUUID()];
    await decide(tenantId, ask('0', { id: run, limitUsd: '1' }));
    const before = Array.from({ length: 4 }, () => ask('0.1', { id: randomUUID() }));
    const billed = ask('0.5', { id: child, parentId: run });
    const [overdueBefore, overdue] = [{ id: randomUUID() }, { id: run }].map((of) =>
      ask('0.4', of, { ttlSeconds: 0.05 }),
    );
    await decide(tenantId, ...before, billed, overdueBefore as ReserveCommand, overdue as ReserveCommand);
    for (const { operationId } of [...before, billed])
      await recordOutcomes(stack.pool, tenantId, [{ operationId, costUsd: 10_000_000_000n }]);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await decideDue(tenantId, { dueMax: 1 }, [ask('0.99', { id: child })])).toEqual(['granted']);
    expect(await limits(tenantId, run)).toEqual({ spent: '0.01', reserved: '0.99' });
    const left = await stack.admin.query(
      `SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 AND outcome IS NOT NULL AND NOT outcome_folded`,
      [tenantId],
    );
    expect(left.rowCount).toBe(3);
  });

  test('of several that come for a run at once the first that can be stands, and who brings another is refused', async () => {
    const tenantId = await stack.tenant('100');
    const id = randomUUID();
    const come = [{ parentId: randomUUID() }, { limitUsd: '0.5' }, { limitUsd: '5' }, {}];
    expect(await decide(tenantId, ...come.map((brings) => ask('0.3', { id, ...brings })))).toEqual([
      'run_limit_conflict',
      'granted',
      'run_limit_conflict',
      'run_limit_exceeded',
    ]);
    expect(await limits(tenantId, id)).toEqual({ spent: '0', reserved: '0.3' });
  });

  test('what was granted and given back in one batch is on record with its run', async () => {
    const tenantId = await stack.tenant('100');
    const both = ask('0.3', { id: randomUUID(), limitUsd: '1' });
    await decide(tenantId, both, { type: 'release', operationId: both.operationId });
    const { rows } = await stack.admin.query(
      `SELECT status, limit_ids::text[] AS "limitIds" FROM copilot_internal.reservations WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(rows).toEqual([{ status: 'released', limitIds: [both.runLimit?.id] }]);
    expect(await limits(tenantId, both.runLimit?.id as string)).toEqual({ spent: '0', reserved: '0' });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('a parent is of the same tenant, goes on, and is less than eight deep; parent and child may come at once', async () => {
    const [tenantId, other] = [await stack.tenant('100'), await stack.tenant('100')];
    const foreign = randomUUID();
    await decide(other, ask('1', { id: foreign, limitUsd: '1' }));
    const line = Array.from({ length: 9 }, () => randomUUID());
    const tree = line.map((id, index) =>
      ask('0.1', { id, ...(index === 0 ? { limitUsd: '1' } : { parentId: line[index - 1] as string }) }),
    );
    expect(await decide(tenantId, ...tree.reverse())).toEqual([
      'run_parent_refused',
      ...Array<string>(8).fill('granted'),
    ]);
    expect(await limits(tenantId, line[0] as string)).toEqual({ spent: '0', reserved: '0.8' });
    expect(await limits(tenantId, line[7] as string)).toEqual({ spent: '0', reserved: '0.1' });
    const ended = randomUUID();
    await decide(tenantId, ask('0', { id: ended, limitUsd: '1' }));
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, status, ended_at)
       VALUES ($1, $2, 'w', 'm', 't', 'completed', clock_timestamp())`,
      [ended, tenantId],
    );
    const refused = [foreign, ended, randomUUID()].map((parentId) => ask('0.1', { id: randomUUID(), parentId }));
    expect(await decide(tenantId, ...refused)).toEqual(Array(3).fill('run_parent_refused'));
    expect(await decide(tenantId, ask('0.1', { id: ended, limitUsd: '2' }))).toEqual(['run_limit_conflict']);
  });

  test('the guard refuses a grant above a limit of an ancestor, whoever decides it, and knows the runs of old ones', async () => {
    const tenantId = await stack.tenant('100');
    const [root, child] = [randomUUID(), randomUUID()];
    await decide(tenantId, ask('0.1', { id: root, limitUsd: '1' }), ask('0.1', { id: child, parentId: root }));
    const grant = (grantedUsd: string, named: object, batch: object): Promise<unknown> =>
      inTransaction(stack.pool, async (client) => {
        const operationId = randomUUID();
        const at = new Date().toISOString();
        await client.query('SELECT copilot_internal.load_budget_batch($1, $2, $3, 0)', [tenantId, [operationId], []]);
        const row = {
          operationId,
          resource: 'llm',
          kind: 'k',
          priceVersion: 'v',
          requestedUsd: grantedUsd,
          grantedUsd,
          status: 'granted',
        };
        const move = {
          resource: 'llm',
          reservedDeltaUsd: grantedUsd,
          spentDeltaUsd: '0',
          postedAt: at,
          grant: true,
          enforced: true,
        };
        const made = {
          reservations: [{ ...row, decidedAt: at, expiresAt: '2030-01-01T00:00:00Z', outcomeFolded: false, ...named }],
          ...{ ledger: [], alerts: [], changes: [{ sequence: 0, ...move }], ...batch },
        };
        await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(made)]);
      }).then(
        () => 'recorded',
        (error: unknown) => sqlState(error),
      );
    const before = await limits(tenantId, root);
    expect(await grant('0.81', { runLimitId: child }, { countsRuns: true })).toBe('SL001');
    // A worker of the version before says whose run it is, and nothing of limits.
    expect(await grant('0.81', { runId: child }, {})).toBe('SL001');
    expect(await limits(tenantId, root)).toEqual(before);
    expect(await grant('0.3', { runId: child }, {})).toBe('recorded');
    expect(await limits(tenantId, root)).toEqual({ spent: '0', reserved: '0.5' });
    expect(await limits(tenantId, child)).toEqual({ spent: '0', reserved: '0.4' });
    // What is no run of a limit is bound by none.
    expect(await grant('50', { runId: randomUUID() }, {})).toBe('recorded');
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('the doctor tells sums that do not agree; a limit that is used no more goes, one that holds money or goes on stays', async () => {
    const tenantId = await stack.tenant('100');
    const [idle, holding, recent] = [randomUUID(), randomUUID(), randomUUID()];
    await decide(
      tenantId,
      ...[idle, holding, recent].map((id) => ask(id === holding ? '0.1' : '0', { id, limitUsd: '1' })),
    );
    await stack.admin.query(
      `UPDATE copilot_internal.run_limits SET used_on = current_date - 100 WHERE tenant_id = $1 AND run_id <> $2`,
      [tenantId, recent],
    );
    await forgetLeftovers(stack.pool, new Date(0), 100);
    expect(await Promise.all([idle, holding, recent].map((id) => limits(tenantId, id)))).toEqual([
      undefined,
      { spent: '0', reserved: '0.1' },
      { spent: '0', reserved: '0' },
    ]);
    await stack.admin.query(`UPDATE copilot_internal.run_limits SET spent_usd = 3 WHERE run_id = $1`, [holding]);
    expect(await lookAtBooks(stack.pool, tenantId)).toMatchObject([{ check: 'balance', name: `run ${holding}` }]);
  });
});
