/**
 * Decisions under a mandate: the process that asks takes them itself, exactly as its authority would, for as long as that lets it
 * (B1, docs/decisions/0046).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { temporal } from '@temporalio/proto';
import { budgetWorkflowId } from '../../contracts/messages';
import { rulesOf } from '../../core/budget/rules';
import { decideAndRecord, decideUnderMandate } from '../../store/budget-batch';
import { roundTripAs } from '../../store/deciding-processes';
import { asTenant, createPool } from '../../store/pool';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { command, spendlock } from '../support/cli';
import { decidedDirectly, mandated as mandatedTenant, type promptAnyhow } from '../support/mandates';
import { TestStack, until } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

describe('under a mandate', () => {
  let stack: TestStack;
  let api: TestApi;
  /** Asks the authority alone. */
  let signalling: TestApi;

  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: 'on' });
    api = await startTestApi(stack, { mandates: true });
    signalling = await startTestApi(stack, { mandates: false });
  });
  afterAll(async () => {
    await api.close();
    await signalling.close();
    await stack.stop();
  });

  const reserve = (
    tenantId: string,
    amountUsd = '0.01',
    { at = api, operationId = randomUUID(), ...more }: { at?: TestApi; operationId?: string; labels?: object } = {},
  ): Promise<Answer> =>
    at.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd, ...more } });
  const mandateOf = async (tenantId: string): Promise<Record<string, unknown> | undefined> =>
    (
      await stack.admin.query<Record<string, unknown>>(
        `SELECT open_until > clock_timestamp() AS open, granted::integer, denied::integer, trim_scale(granted_usd)::text AS usd,
           left_at IS NOT NULL AS left, needed_at IS NOT NULL AS needed
         FROM copilot_internal.mandates WHERE tenant_id = $1`,
        [tenantId],
      )
    ).rows[0];
  const mandated = (limitUsd: string): Promise<string> => mandatedTenant(stack, api, limitUsd);
  /** How it stands, as an operator asks for it. */
  const stateOf = async (tenantId: string, at = api): Promise<Answer['body']> =>
    (await at.call('GET', `/v1/tenants/${tenantId}/mandate`)).body;
  /** The reasons, without those of a process that the machine keeps busy. */
  const codesOf = ({ notDirect }: Answer['body']): string[] =>
    (notDirect as { code: string }[]).map(({ code }) => code).filter((code) => code !== 'far' && code !== 'standing');
  const detailsOf = async (tenantId: string): Promise<string> => {
    const metadata = await stack.temporal.workflow
      .getHandle(budgetWorkflowId(tenantId))
      .query<temporal.api.sdk.v1.IWorkflowMetadata>('__temporal_workflow_metadata');
    return metadata.currentDetails ?? '';
  };
  const signalsOf = async (tenantId: string): Promise<number> => {
    const { events } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).fetchHistory();
    return (events ?? []).filter(({ workflowExecutionSignaledEventAttributes: signalled }) => signalled).length;
  };

  test('who asks often decides without its authority, and the authority’s account has it', async () => {
    const tenantId = await mandated('10');
    const [signalsBefore, before] = [await signalsOf(tenantId), await mandateOf(tenantId)];
    for (let call = 0; call < 20; call += 1) expect((await reserve(tenantId)).status).toBe(201);
    expect(await mandateOf(tenantId)).toMatchObject({ granted: Number(before?.granted) + 20 });
    // It may be told of what runs out earlier than it knew, once.
    expect((await signalsOf(tenantId)) - signalsBefore).toBeLessThanOrEqual(2);
    expect(await stack.books(tenantId)).toMatchObject({ openReservations: expect.any(Number) as number });
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('the account has it', async () => {
      const { mandate } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).query<{
        mandate?: { granted: number };
      }>('budgetState');
      return mandate?.granted === Number(before?.granted) + 20;
    });
    expect(await mandateOf(tenantId)).toMatchObject({ left: false, needed: false });
  });

  test('the costs of a run’s steps are recorded by its own process’s decisions, without a signal', async () => {
    const tenantId = await mandated('10');
    const granted = async (): Promise<number> => Number((await mandateOf(tenantId))?.granted);
    let direct = 0;
    // The worker is a process of its own, and signals while its machine is busy.
    for (let count = 1; count <= 20 && direct < 3; count += 1) {
      const [signalsBefore, before] = [await signalsOf(tenantId), await granted()];
      stack.anthropic.knobs.replies = [{ text: 'One.' }];
      const { runId } = await stack.run({ tenantId });
      const { rows } = await stack.admin.query(
        'SELECT status, settlement FROM copilot_internal.reservations WHERE run_id = $1',
        [runId],
      );
      expect(rows).toEqual([{ status: 'committed', settlement: 'actual' }]);
      if ((await granted()) === before) continue;
      direct += 1;
      // It may be told of what runs out earlier than it knew, once.
      expect((await signalsOf(tenantId)) - signalsBefore).toBeLessThanOrEqual(1);
    }
    expect(direct).toBe(3);
  });

  test('a cost that was told just now is corrected at once', async () => {
    const tenantId = await mandated('10');
    const before = await stack.books(tenantId);
    const operationId = String((await reserve(tenantId, '3')).body.operationId);
    await api.admin.commit(operationId, { tenantId, costUsd: '2' });
    expect(await api.admin.budget.adjust(tenantId, { operationId, costUsd: '0.5', reason: 'invoice' })).toMatchObject({
      differenceUsd: '-1.5',
    });
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: String(Number(before.ledgerUsd) + 0.5) });
  });

  test('10 × $2 at $10, some deciding and some signalling: five are granted', async () => {
    const tenantId = await mandated('10');
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, call) => reserve(tenantId, '1.99', { at: call % 2 === 0 ? api : signalling })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
  });

  test('10 × $2 at a label’s $10, by its own limit or by the default of its key, four processes: five are granted', async () => {
    const tenantId = await mandated('100');
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'label', scopeId: 'team:search', resourceType: 'all', limitUsd: '10' },
    ]);
    await api.admin.budget.setLabelDefaults(tenantId, { quotas: [{ key: 'customer', period: 'day', limitUsd: '10' }] });
    const others = [await startTestApi(stack, { mandates: true }), await startTestApi(stack, { mandates: false })];
    try {
      const askers = [api, signalling, ...others];
      for (const labels of [{ team: 'search' }, { customer: 'c-1' }, { customer: 'c-2', team: 'ads' }]) {
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, call) => reserve(tenantId, '2', { at: askers[call % 4] as TestApi, labels })),
        );
        expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
        expect(answers.filter(({ status, body }) => status === 429 && body.retryAfter)).toHaveLength(5);
      }
    } finally {
      await Promise.all(others.map((other) => other.close()));
    }
  });

  test('one operation by both ways is one', async () => {
    const tenantId = await mandated('10');
    const operationId = randomUUID();
    const before = await stack.books(tenantId);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, call) =>
        reserve(tenantId, '1', { at: call % 2 === 0 ? api : signalling, operationId }),
      ),
    );
    expect(answers.map(({ status, body }) => [status, body.grantedUsd])).toEqual(Array(8).fill([201, '1']));
    const books = await stack.books(tenantId);
    expect(books.openReservations - before.openReservations).toBe(1);
  });

  test('a caller that goes takes no grant away from another that asks for the same operation', async () => {
    const tenantId = await mandated('10');
    const operationId = randomUUID();
    const gone = new AbortController();
    const locked = await stack.admin.connect();
    try {
      await locked.query('BEGIN');
      await locked.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
      const headers = { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json' };
      const body = JSON.stringify({ operationId, tenantId, resource: 'llm', amountUsd: '1' });
      const asked = { method: 'POST', headers, body, signal: gone.signal };
      const goes = fetch(`${api.url}/v1/reservations`, asked).catch(() => 'gone');
      const stays = reserve(tenantId, '1', { operationId });
      await until('one of them waits for the lock', async () => {
        const { rowCount } = await stack.admin.query(
          // Who waits too long for it goes by signal, and its authority waits.
          `SELECT FROM pg_stat_activity WHERE application_name ~ '^spendlock-(decisions|worker)' AND datname = current_database()
             AND wait_event_type = 'Lock'`,
        );
        return (rowCount ?? 0) > 0;
      });
      gone.abort();
      expect(await goes).toBe('gone');
      await sleep(100);
      await locked.query('COMMIT');
      expect(await stays).toMatchObject({ status: 201, body: { grantedUsd: '1' } });
    } finally {
      locked.release(true);
    }
    // A release would have gone by signal, which takes longer than a decision here.
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await sleep(500);
    const { body } = await api.call('GET', `/v1/reservations/${operationId}?tenantId=${tenantId}`);
    expect(body.status).toBe('granted');
  });

  test('once a recall has returned nothing is decided directly, until it is allowed again', async () => {
    const tenantId = await mandated('1000');
    let asking = true;
    const statuses: number[] = [];
    const askers = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (asking) statuses.push((await reserve(tenantId, '0.0001')).status);
      }),
    );
    await until('they decide', async () => Number((await mandateOf(tenantId))?.granted) > 20);
    const key = await api.keyOf(tenantId, 'operator');
    const order = (verb: 'recall' | 'allow', more: object): Promise<Answer> =>
      api.call('POST', `/v1/tenants/${tenantId}/mandate/${verb}`, { key, body: { author: 'Jo', ...more } });
    expect((await order('allow', {})).body).toMatchObject({ wasRecalled: false, notDirect: [] });
    const { body: recalled } = await order('recall', { reason: 'a test' });
    const atRecall = (await mandateOf(tenantId))?.granted;
    expect(recalled).toMatchObject({ openUntil: null, recalledReason: 'a test', recalledBy: 'Jo', wasRecalled: false });
    expect([codesOf(recalled), recalled.granted]).toEqual([['recalled'], atRecall]);
    await until('its page says so', async () => /\*\*Mandate:\*\* recalled/.test(await detailsOf(tenantId)));
    await sleep(1_000);
    expect(await mandateOf(tenantId)).toMatchObject({ open: null, granted: atRecall });
    expect((await order('recall', {})).body).toMatchObject({ recalledReason: 'a test', wasRecalled: true });
    expect((await order('allow', { reason: 'seen' })).body).toMatchObject({ recalledAt: null, wasRecalled: true });
    await until('they decide again', async () => Number((await mandateOf(tenantId))?.granted) > Number(atRecall));
    await until('its page says so', async () =>
      /\*\*Mandate:\*\* open until .*\d granted/.test(await detailsOf(tenantId)),
    );
    const { entries } = await api.admin.audit.list({ tenantId });
    expect(entries.slice(0, 3).map(({ action, author, details }) => [action, author, details])).toEqual([
      ['allow_mandate', 'Jo', { reason: 'seen' }],
      ['recall_mandate', 'Jo', {}],
      ['recall_mandate', 'Jo', { reason: 'a test' }],
    ]);
    asking = false;
    await askers;
    expect(statuses.filter((status) => status !== 201)).toEqual([]);
  });

  /** What became of a tenant's mandate, and what an operator is told of it. */
  const states: [code: string, sql: string, words: RegExp][] = [
    ['never_opened', `DELETE FROM copilot_internal.mandates WHERE tenant_id = $1`, /not asked often enough/],
    [
      'run_out',
      `UPDATE copilot_internal.mandates SET open_until = clock_timestamp() WHERE tenant_id = $1`,
      /ran out at 20/,
    ],
    [
      'other_rules',
      `UPDATE copilot_internal.mandates SET rules = '0 llm=on' WHERE tenant_id = $1`,
      /\(0 llm=on\) than .*ENFORCE_/,
    ],
    ['closed', `UPDATE copilot_internal.mandates SET open_until = NULL WHERE tenant_id = $1`, /SPENDLOCK_MANDATES off/],
    [
      'platform_waited_for',
      `WITH closed AS (UPDATE copilot_internal.mandates SET open_until = NULL WHERE tenant_id = $1)
       UPDATE copilot_internal.cost_quotas SET exhausted_until = clock_timestamp() WHERE tenant_id = $1`,
      /more of the platform’s quota than is free/,
    ],
    ['recalled', `SELECT copilot_internal.bar_mandate($1, 'by hand')`, /recalled at 20.*: by hand[.] .*--allow$/],
  ];
  test.each(states)('why nothing is decided directly is said: %s', async (code, sql, words) => {
    const tenantId = await mandated('10');
    const isMandated = async (): Promise<boolean | undefined> =>
      (
        await stack.admin.query<{ one: boolean }>('SELECT copilot_internal.is_mandated($1, $2) AS one', [
          tenantId,
          rulesOf({ llm: true, e2b: true }),
        ])
      ).rows[0]?.one;
    expect([codesOf(await stateOf(tenantId)), await isMandated()]).toEqual([[], true]);
    expect(codesOf(await stateOf(tenantId, signalling))).toEqual(['off']);
    await stack.admin.query(sql, [tenantId]);
    const state = await stateOf(tenantId);
    expect([codesOf(state), await isMandated()]).toEqual([[code], false]);
    const { message = '' } =
      (state.notDirect as { code: string; message: string }[]).find((one) => one.code === code) ?? {};
    expect(message).toMatch(words);
    const shown = await spendlock(api, 'budget', 'mandates', tenantId);
    expect(shown.out).toContain(`${tenantId}: nothing is decided directly now.\n`);
    expect(shown.out).toContain(`\n- ${message}\n`);
    expect(shown.out).toMatch(/directly so far: (\d+ granted \(\$0[.]\d+\)|0 granted \(\$0[.]00\)), 0 denied/);
    expect(shown.status).toBe(0);
  });

  test('operators see, recall and allow from the command line, and the doctor knows of it', async () => {
    const [tenantId, other] = [await mandated('10'), await stack.tenant('10')];
    const say = async (...words: string[]): Promise<string> =>
      (await spendlock(api, 'budget', 'mandates', tenantId, ...words)).out;
    await until('it decides', async () =>
      /: who asks decides directly until 20.* rules \d+ e2b=on llm=on[.]/.test(await say()),
    );
    expect(await spendlock(api, 'budget', 'mandates', tenantId, '--recall', '--allow')).toMatchObject({ status: 2 });
    expect(await spendlock(api, 'budget', 'mandates', tenantId, '--reason', 'x')).toMatchObject({ status: 2, out: '' });
    expect(codesOf(await stateOf(tenantId))).toEqual([]);
    expect(await say('--allow')).toContain('was not recalled; nothing was changed.');
    expect(await say('--recall', '--reason', 'a look')).toMatch(
      /is recalled: nothing is decided directly any more[.]\n[^]*\n- It was recalled at .* by \S+: a look[.]/,
    );
    const environment = {
      DATABASE_URL: stack.database.appUrl,
      TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
      SPENDLOCK_TASK_QUEUE_PREFIX: stack.prefix,
    };
    const doctor = async (more = {}): Promise<{ status: number; found: Record<string, string> }> => {
      const { status, out } = await command(['doctor', '--json'], { ...environment, ...more });
      const { findings } = JSON.parse(out) as { findings: { what: string; says: string }[] };
      return { status, found: Object.fromEntries(findings.map(({ what, says }) => [what, says])) };
    };
    const on = await doctor({ SPENDLOCK_MANDATES: 'on' });
    expect(on.status).toBe(0);
    expect(on.found.mandates).toMatch(/^On here: who asks decides directly for \d+ of \d+ tenants/);
    expect(on.found['mandates: recalled']).toMatch(
      new RegExp(`${tenantId} [(]since 20.* by \\S+: a look[)].*--allow$`),
    );
    expect(on.found['mandates: never_opened']).toMatch(/Never asked often enough/);
    const named = createPool(stack.database.appUrl, { max: 1 });
    await roundTripAs(named, { processId: process.pid, state: 'far' });
    expect((await stateOf(other)).notDirect).toMatchObject([{ code: 'far' }, { code: 'never_opened' }]);
    expect((await doctor()).found['mandates: processes']).toMatch(
      new RegExp(`\\b${process.pid}( at \\S+)? is too far from Postgres`),
    );
    await named.end();
    const off = await doctor({ SPENDLOCK_MANDATES: 'off' });
    expect(off.found.mandates).toMatch(/^Off here [(]SPENDLOCK_MANDATES[)]/);
    // Only what somebody ordered, and not why nothing is opened.
    expect(off.found['mandates: recalled']).toBe(on.found['mandates: recalled']);
    expect(off.found['mandates: never_opened']).toBeUndefined();
    await stack.admin.query(
      `UPDATE copilot_internal.mandates SET needed_at = clock_timestamp() - interval '3 minutes' WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await doctor()).toMatchObject({
      status: 1,
      found: { 'mandates: late': expect.stringMatching(/^1 authority did not/) as string },
    });
    await say('--allow');
    expect(codesOf(await stateOf(tenantId))).not.toContain('recalled');
    expect(codesOf(await stateOf(other))).toEqual(['never_opened']);
  });

  test('an end frees money for who waits in a workflow, though it was written under the mandate', async () => {
    const tenantId = await mandated('1');
    const operationId = randomUUID();
    expect((await reserve(tenantId, '0.9999', { operationId })).status).toBe(201);
    const waiting = await stack.start({ tenantId, onDenied: 'wait' });
    await until('what there is is kept for it', async () => {
      const kept =
        'SELECT FROM copilot_internal.money_waiters WHERE tenant_id = $1 AND kept_usd > 0 AND kept_until > clock_timestamp()';
      return (await stack.admin.query(kept, [tenantId])).rowCount === 1;
    });
    // Who comes meanwhile is decided for directly, and does not get it.
    await until('a newcomer is denied directly', async () => {
      const before = await decidedDirectly(stack, tenantId);
      expect((await reserve(tenantId, '0.00005')).status).toBe(429);
      return (await decidedDirectly(stack, tenantId)) > before;
    });
    expect((await api.call('POST', `/v1/reservations/${operationId}/release`, { body: { tenantId } })).status).toBe(
      200,
    );
    expect(await stack.finish({ tenantId, ...waiting })).toMatchObject({ status: 'completed' });
  });

  test('what is left by a process that was killed after its commit is seen to', async () => {
    const tenantId = await mandated('10');
    const upkeep = await stack.takeOverSchedules();
    const before = await stack.books(tenantId);
    const hold = {
      type: 'reserve',
      operationId: randomUUID(),
      resource: 'llm',
      amountUsd: '5',
      ttlSeconds: 3,
    } as const;
    // It says nothing to anybody any more.
    const decided = await decideUnderMandate(stack.pool, {
      ...{ tenantId, timeoutMs: 3_000, lockMs: 500, enforced: { llm: true, e2b: true } },
      commands: [{ ...hold, priceVersion: 'caller', kind: 'external.call' }],
    });
    expect(decided).toMatchObject({ leaves: 'soon' });
    expect(await mandateOf(tenantId)).toMatchObject({ needed: true, left: true });
    await stack.admin.query(
      `UPDATE copilot_internal.mandates SET needed_at = needed_at - interval '6 seconds' WHERE tenant_id = $1`,
      [tenantId],
    );
    await upkeep('lookAfter');
    await until('it is seen to', async () => (await mandateOf(tenantId))?.needed === false);
    await until('it has run out', async () => (await stack.books(tenantId)).reservedUsd === before.reservedUsd, 30_000);
  });

  test('a hold that runs out before the authority looks is told, and comes back in time', async () => {
    const tenantId = await mandated('10');
    const before = await stack.books(tenantId);
    const { status } = await api.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '5', ttlSeconds: 3 },
    });
    expect(status).toBe(201);
    await until('it has run out', async () => (await stack.books(tenantId)).reservedUsd === before.reservedUsd, 20_000);
  });

  test('an authority of the version before closes the mandate by what it records', async () => {
    const tenantId = await mandated('10');
    // It says nothing of mandates.
    const decided = await decideAndRecord(stack.pool, {
      ...{ tenantId, commands: [{ type: 'reload' as const }], timeoutMs: 3_000 },
      enforced: { llm: true, e2b: true },
    });
    expect(decided).toBeDefined();
    expect(await mandateOf(tenantId)).toMatchObject({ open: null });
  });

  test('a process of other rules decides nothing, and a recording without a mandate is refused', async () => {
    const tenantId = await mandated('10');
    const commands = [{ type: 'reload' as const }];
    const asked = { tenantId, commands, timeoutMs: 3_000, lockMs: 500 };
    expect(await decideUnderMandate(stack.pool, { ...asked, enforced: { llm: true, e2b: false } })).toBe('closed');
    expect(await decideUnderMandate(stack.pool, { ...asked, enforced: { llm: true, e2b: true } })).not.toBe('closed');
    const record = asTenant(
      stack.pool,
      tenantId,
      async (client) => {
        await client.query(`SELECT copilot_internal.load_budget_batch($1, '{}', '{}', 0)`, [tenantId]);
        await client.query(`UPDATE copilot_internal.mandates SET open_until = NULL WHERE tenant_id = $1`, [tenantId]);
        const nothing = JSON.stringify({ changes: [], reservations: [], ledger: [], alerts: [] });
        await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, nothing]);
      },
      { settings: { 'spendlock.mandate_rules': rulesOf({ llm: true, e2b: true }) } },
    );
    await expect(record).rejects.toThrow(/has no mandate/);
  });

  test('four processes and an authority that is terminated under them: no cent too much', async () => {
    const tenantId = await mandated('1');
    const others = [await startTestApi(stack, { mandates: true }), await startTestApi(stack, { mandates: false })];
    const askers = [api, signalling, ...others].flatMap((at) => [at, at, at]);
    const answers = Promise.all(
      askers.map(async (at) => {
        const statuses: number[] = [];
        for (let call = 0; call < 10; call += 1) statuses.push((await reserve(tenantId, '0.02', { at })).status);
        return statuses;
      }),
    );
    await stack.temporal.workflow
      .getHandle(budgetWorkflowId(tenantId))
      .terminate('by a test')
      .catch(() => undefined);
    const granted = (await answers).flat().filter((status) => status === 201);
    expect(granted).toHaveLength(49);
    const { reservedUsd } = await stack.books(tenantId);
    expect(Number(reservedUsd)).toBeLessThanOrEqual(1);
    expect(Number(reservedUsd)).toBeGreaterThanOrEqual(0.98);
    await Promise.all(others.map((other) => other.close()));
  });
});
