/**
 * Locks are taken in one order (docs/architecture.md, "The order of locks"), so that no two transactions can end up waiting for
 * each other: each pair of them is tried, one stopped after each of its steps while the other runs into it.
 */
import { randomUUID } from 'node:crypto';
import { PaidCalls } from '../../activities/budget/paid-calls';
import type { Coalescer } from '../../authority/client/coalescer';
import type { BudgetCommand } from '../../core/budget/commands';
import { decideApproval, openApprovals, withdrawApprovals } from '../../store/approvals';
import { decideAndRecord } from '../../store/budget-batch';
import { setFrozen } from '../../store/freezes';
import { adjustCost, setUserDefaults, topUp } from '../../store/operator-changes';
import { drawLease, lookAfter, returnLeases, setPlatformQuotas } from '../../store/leases';
import { askForMoney } from '../../store/asking';
import { answerMoneyRequest } from '../../store/money-answers';
import { addWaiter, noteLine, removeWaiter } from '../../store/money-waiters';
import { recordOutcomes } from '../../store/outcomes';
import { asTenant, createPool, type Pool } from '../../store/pool';
import { claimReservation, extendReservation } from '../../store/reservations';
import { forgetEvents, forgetLeftovers, forgetTranscripts } from '../../store/retention';
import { endRun } from '../../store/run-end';
import { appendRunEvent, createRun, takeUnseenRuns } from '../../store/runs';
import { setQuotas } from '../../store/quotas';
import { createTenant, deleteTenant } from '../../store/tenants';
import { appendToTranscript, writeTranscriptMessage } from '../../store/transcripts';
import { addTurn, beginTurn, endQueuedTurn, endTurn } from '../../store/turns';
import { createLog } from '../../telemetry/log';
import { createTestDatabase, type TestDatabase } from '../support/database';
import { LockSteps, type Transaction } from '../support/lock-steps';

const by = { author: 'test' };
const reserve = (operationId: string, more: object = {}): BudgetCommand => ({
  type: 'reserve',
  operationId,
  resource: 'llm',
  amountUsd: '1',
  priceVersion: 'test',
  ttlSeconds: 3_600,
  kind: 'test',
  ...more,
});
const decide = (tenantId: string, commands: BudgetCommand[]): Transaction => {
  const enforced = { llm: true, e2b: true };
  return (pool) => decideAndRecord(pool, { tenantId, commands, enforced, timeoutMs: 60_000 });
};

describe('locks', () => {
  let database: TestDatabase;
  let pool: Pool;
  let admin: Pool;
  let steps: LockSteps;
  /** Two who share the platform's quotas, and one with nothing open. */
  const [ada, bob, gone] = ['ada', 'bob', 'gone'] as const;
  const claimed = randomUUID();
  const open = randomUUID();
  const committed = randomUUID();
  const late = randomUUID();
  const talk = { tenantId: ada, runId: randomUUID() };
  const over = { tenantId: gone, runId: randomUUID() };
  const [running, queued, approval, waiter, lastWaiter] = Array.from({ length: 5 }, () => randomUUID()) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const claimToken = randomUUID();
  let leases: { quotaId: string; tenantId: string }[];

  beforeAll(async () => {
    database = await createTestDatabase();
    pool = createPool(database.appUrl);
    admin = createPool(database.adminUrl, { max: 4 });
    for (const tenantId of [ada, bob, gone]) await createTenant(pool, { tenantId });
    await setPlatformQuotas(pool, {
      by,
      changes: [
        { resourceType: 'all', period: 'day', limitUsd: '100' },
        { resourceType: 'all', period: 'month', limitUsd: '100' },
      ],
    });
    const defaults = [
      { resourceType: 'all' as const, period: 'month' as const, limitUsd: '50', warningThreshold: 0.8 },
    ];
    await setUserDefaults(pool, { tenantId: ada, by, defaults });
    const run = { model: 'claude-haiku-4-5', userId: 'user' };
    await createRun(pool, { ...talk, ...run, type: 'conversation', workflowId: 'talk', namespace: 'here', task: '' });
    await createRun(pool, { ...over, ...run, workflowId: 'over', namespace: 'here', task: 'Done.' });
    for (const turnId of [running, queued]) await addTurn(pool, talk, { turnId, message: 'Hello.' });
    await beginTurn(pool, talk, { openingStep: 1, attachment: '' });
    const question = { approvalId: approval, toolUseId: 'one', tool: 'run_code', kind: 'approval' as const, input: {} };
    await openApprovals(pool, { ...talk, step: 2 }, [question]);
    for (const [waiterId, tenantId, runId] of [
      [waiter, ada, talk.runId],
      [lastWaiter, gone, over.runId],
    ] as const)
      await addWaiter(pool, waiting({ waiterId, tenantId, runId }), { quota });
    const lease = (tenantId: string, amountUsd: string) =>
      admin.query(
        `UPDATE copilot_internal.cost_quotas SET limit_usd = $2 WHERE tenant_id = $1 AND lease_of IS NOT NULL`,
        [tenantId, amountUsd],
      );
    await askForMoney(pool, asking());
    const { rows: requests } = await admin.query<{ id: string }>(
      'SELECT request_id::text AS id FROM copilot_internal.money_requests',
    );
    asked.requestId = requests[0]?.id ?? '';
    for (const tenantId of [ada, bob, gone]) await decide(tenantId, [])(pool);
    for (const tenantId of [ada, bob, gone]) await lease(tenantId, '30');
    await decide(
      ada,
      [claimed, open, committed].map((id) => reserve(id, { userId: 'user', runId: talk.runId })),
    )(pool);
    await decide(gone, [reserve(late)])(pool);
    await claimReservation(pool, { tenantId: ada, operationId: claimed, claimToken });
    await claimReservation(pool, { tenantId: ada, operationId: committed, claimToken });
    await claimReservation(pool, { tenantId: gone, operationId: late, claimToken });
    await decide(ada, [{ type: 'commit', operationId: committed }])(pool);
    await decide(gone, [{ type: 'commit', operationId: late }])(pool);
    await endRun(pool, over, { status: 'completed', answer: 'Done.' });
    await admin.query(
      `INSERT INTO copilot_internal.money_waiters (waiter_id, tenant_id, workflow_id, run_id, resource, needed_usd, is_woken)
       VALUES ($1, $2, 'over', $3, 'llm', 1, true)`,
      [lastWaiter, gone, over.runId],
    );
    // A day that has ended since: whoever comes first begins the next one.
    await admin.query(
      `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '2 days', period_end = period_end - interval '2 days'
       WHERE period = 'day'`,
    );
    ({ rows: leases } = await admin.query<{ quotaId: string; tenantId: string }>(
      `SELECT quota_id AS "quotaId", tenant_id AS "tenantId" FROM copilot_internal.cost_quotas WHERE lease_of IS NOT NULL`,
    ));
    steps = await LockSteps.start({ admin, adminUrl: database.adminUrl, appUrl: database.appUrl });
  });
  afterAll(async () => {
    await steps.stop();
    await Promise.all([pool.end(), admin.end()]);
    await database.drop();
  });

  const quota = {
    scope: 'tenant' as const,
    scopeId: ada,
    resourceType: 'all' as const,
    period: 'month' as const,
    limitUsd: '1',
    spentUsd: '1',
    reservedUsd: '0',
    remainingUsd: '0',
    resetsAt: '2026-01-01T00:00:00.000Z',
    estimatedUsd: '1',
  };
  const waiting = (key: { waiterId: string; tenantId: string; runId: string }) => ({
    ...key,
    workflowId: 'talk',
    userId: 'user',
    resource: 'llm' as const,
    neededUsd: 1n,
  });
  const asking = () => ({
    ...{ tenantId: ada, waiterId: waiter, runId: talk.runId, operationId: late, workflowId: 'talk', userId: 'user' },
    ...{ kind: 'test', resource: 'llm', quota, amountUsd: 1n, leastUsd: 1n, days: 1 },
  });
  const asked = { requestId: '' };
  const answered =
    (decision: 'grant' | 'refuse'): Transaction =>
    (stepping) =>
      answerMoneyRequest(stepping, { tenantId: ada, requestId: asked.requestId }, { decision, by });
  const quotaKey = { scope: 'tenant' as const, scopeId: ada, resourceType: 'all' as const, period: 'month' as const };
  const draw =
    (tenantId: string, neededUsd: string): Transaction =>
    (stepping) =>
      drawLease(stepping, {
        tenantId,
        needs: leases.filter((lease) => lease.tenantId === tenantId).map(({ quotaId }) => ({ quotaId, neededUsd })),
      });
  const checkAndRecord =
    (tenantId: string): Transaction =>
    (stepping) =>
      asTenant(stepping, tenantId, (client) => {
        const change = { sequence: 0, userId: 'user', resource: 'llm', reservedDeltaUsd: '45', spentDeltaUsd: '0' };
        const more = { postedAt: new Date().toISOString(), grant: true, enforced: true };
        return client.query('SELECT copilot_internal.check_and_record_quota_atomic($1, $2)', [
          tenantId,
          JSON.stringify([{ ...change, ...more }]),
        ]);
      });
  /** What a paid activity writes: the outcome, and with it the reply and what tells of it. */
  const settle =
    ({ tenantId, runId }: { tenantId: string; runId: string }, operationId: string): Transaction =>
    (stepping) => {
      const coalescer = { sendLazily: () => Promise.resolve() } as unknown as Coalescer;
      const paidCalls = new PaidCalls({ pool: stepping, coalescer, log: createLog({ name: 'test', level: 'silent' }) });
      return paidCalls.settle(
        { tenantId, operationId, claimToken },
        { billed: true, costUsd: 5n, result: {} },
        async (client) => {
          const message = { tenantId, runId, sequence: 21, role: 'assistant' as const, content: [] };
          await writeTranscriptMessage(client, message);
          await appendRunEvent(client, runId, { key: 'reply', type: 'model.replied', data: {} });
        },
      );
    };
  const setPlatform =
    (...limits: [period: 'day' | 'week' | 'month', limitUsd: string][]): Transaction =>
    (stepping) =>
      setPlatformQuotas(stepping, {
        by,
        changes: limits.map(([period, limitUsd]) => ({ resourceType: 'all', period, limitUsd })),
      });
  const remove: Transaction = (stepping) => deleteTenant(stepping, { tenantId: gone, author: 'test', reason: 'none' });
  const nextRun =
    (tenantId: string): Transaction =>
    (stepping) => {
      const run = {
        model: 'claude-haiku-4-5',
        workflowId: 'next',
        task: 'More.',
        file: { name: 'a', content: Buffer.from('') },
      };
      return createRun(stepping, { runId: randomUUID(), tenantId, ...run });
    };

  const money: Record<string, Transaction> = {
    'a decision': decide(ada, [
      reserve(randomUUID(), { userId: 'newcomer', amountUsd: '10' }),
      { type: 'commit', operationId: claimed },
      { type: 'release', operationId: open },
    ]),
    'a decision of another tenant': decide(bob, [reserve(randomUUID())]),
    'a settlement': settle(talk, claimed),
    'a claim': (stepping) => claimReservation(stepping, { tenantId: ada, operationId: open, claimToken }),
    'an extension': (stepping) =>
      extendReservation(stepping, { tenantId: ada, operationId: claimed, ttlSeconds: 7_200 }),
    'outcomes over HTTP': (stepping) =>
      recordOutcomes(stepping, ada, [
        { operationId: open, costUsd: 5n },
        { operationId: claimed, costUsd: 5n, claimToken },
      ]),
    'an adjustment': (stepping) =>
      adjustCost(stepping, {
        tenantId: ada,
        by,
        adjustment: { operationId: committed, costUsd: '0.6', reason: 'test' },
      }),
    'a draw': draw(ada, '55'),
    'a draw of another tenant': draw(bob, '55'),
    'leases given back': (stepping) => returnLeases(stepping, ada),
    'a check in SQL alone': checkAndRecord(ada),
    'a check in SQL alone, of another tenant': checkAndRecord(bob),
    'a freeze': (stepping) => setFrozen(stepping, { tenantId: ada, by, reason: 'test', to: true }),
    'a top-up': (stepping) => topUp(stepping, { tenantId: ada, by, quota: quotaKey, amountUsd: '1', reason: 'test' }),
    'a grant of what a run asks for': answered('grant'),
    limits: (stepping) => setQuotas(stepping, { tenantId: ada, changes: [{ ...quotaKey, limitUsd: '7' }] }),
    'defaults of users': (stepping) => setUserDefaults(stepping, { tenantId: ada, by, defaults: [] }),
    'new platform quotas': setPlatform(['month', '20'], ['week', '70']),
    'the same in another order': setPlatform(['week', '70'], ['day', '300']),
    'higher platform quotas': setPlatform(['month', '300'], ['day', '300']),
    'the look at what sleeps': (stepping) => lookAfter(stepping, 10),
    'a new run': nextRun(ada),
    'leftovers forgotten': (stepping) => forgetLeftovers(stepping, new Date(), 10),
  };
  const runs: Record<string, Transaction> = {
    'a settlement': settle(talk, claimed),
    'a decision': money['a decision'] as Transaction,
    "a run's end": (stepping) =>
      endRun(stepping, talk, { status: 'failed', unanswered: { code: 'internal', message: 'test' } }),
    "a turn's beginning": (stepping) => beginTurn(stepping, talk, { openingStep: 1, attachment: '' }),
    "a turn's end": (stepping) => endTurn(stepping, talk, { turnId: running, status: 'completed' }),
    "a queued turn's end": (stepping) => endQueuedTurn(stepping, talk, { turnId: queued, status: 'cancelled' }),
    'another turn': (stepping) => addTurn(stepping, talk, { turnId: randomUUID(), message: 'And?' }),
    'a question': (stepping) =>
      openApprovals(stepping, { ...talk, step: 3 }, [
        { approvalId: randomUUID(), toolUseId: 'two', tool: 'run_code', kind: 'approval', input: {} },
      ]),
    'an answer': (stepping) =>
      decideApproval(stepping, { tenantId: ada, approvalId: approval }, { decision: 'approve', decidedBy: 'test' }),
    'questions withdrawn': (stepping) => withdrawApprovals(stepping, talk),
    'a wait for money': (stepping) => addWaiter(stepping, waiting({ waiterId: waiter, ...talk }), { quota }),
    "a wait's end": (stepping) => removeWaiter(stepping, { ...talk, waiterId: waiter }),
    'waiters woken': (stepping) =>
      noteLine(stepping, ada, [{ waiterId: waiter, wokenAgoMs: 0, keptUsd: 0n, keptForMs: 0 }]),
    'people asked for money': (stepping) => askForMoney(stepping, asking()),
    'a grant of what it asks for': answered('grant'),
    'a refusal of that': answered('refuse'),
    'a message': (stepping) =>
      appendToTranscript(
        stepping,
        { ...talk, sequence: 8, role: 'user', content: [] },
        { key: 'told', type: 'tool.finished', data: {} },
      ),
    'the look for lost runs': (stepping) => takeUnseenRuns(stepping, { namespace: 'here', unseenForMs: 0, max: 10 }),
    'transcripts forgotten': (stepping) => forgetTranscripts(stepping, new Date(), 10),
    'events forgotten': (stepping) => forgetEvents(stepping, new Date(), 10),
  };
  const deletion: Record<string, Transaction> = {
    'a deletion': remove,
    'a decision': decide(gone, [reserve(randomUUID())]),
    'a late settlement': settle(over, late),
    'a late adjustment': (stepping) =>
      adjustCost(stepping, { tenantId: gone, by, adjustment: { operationId: late, costUsd: '0.6', reason: 'test' } }),
    'a draw of another tenant': draw(bob, '75'),
    'new platform quotas': setPlatform(['month', '20'], ['week', '70']),
    'a new run': nextRun(gone),
    "a wait's end": (stepping) => removeWaiter(stepping, { ...over, waiterId: lastWaiter }),
    'transcripts forgotten': (stepping) => forgetTranscripts(stepping, new Date(), 10),
    'leftovers forgotten': (stepping) => forgetLeftovers(stepping, new Date(), 10),
  };

  test('an open insert that names a tenant holds up no decision, nor a decision such an insert (XA6)', async () => {
    const client = await admin.connect();
    const within = (work: Transaction): Promise<unknown> => {
      const url = new URL(database.appUrl);
      url.searchParams.set('options', '-c lock_timeout=2000');
      const impatient = createPool(url.toString(), { max: 1 });
      return work(impatient).finally(() => impatient.end());
    };
    try {
      await client.query('BEGIN');
      await client.query(
        `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task) VALUES ($1, $2, 'open', 'any', 'Wait.')`,
        [randomUUID(), bob],
      );
      await expect(within(decide(bob, [reserve(randomUUID())]))).resolves.toMatchObject({ moneyWaiters: false });
      await client.query('ROLLBACK');
      await client.query('BEGIN');
      await client.query('SELECT copilot_internal.lock_quotas($1, $2)', [bob, []]);
      await expect(within(nextRun(bob))).resolves.toBe('running');
      // Two decisions of one tenant still exclude each other.
      await expect(within(decide(bob, [reserve(randomUUID())]))).rejects.toMatchObject({ code: '55P03' });
      await client.query('ROLLBACK');
    } finally {
      client.release();
    }
  });

  test.each([
    ['of money', money],
    ['of runs', runs],
    ['of a tenant that is deleted', deletion],
  ])('no two transactions %s wait for each other (XA6, XC8)', async (_, transactions) => {
    const stops = new Map<string, number[]>();
    for (const [name, work] of Object.entries(transactions)) stops.set(name, await steps.stops(work));
    const failed = new Set<string>();
    for (const [a, first] of Object.entries(transactions)) {
      for (const [b, second] of Object.entries(transactions)) {
        // Who takes all its locks in one step cannot be waited for and wait.
        if (stops.get(b)?.length === 0) continue;
        for (const stopAfter of stops.get(a) ?? []) {
          for (const error of await steps.pair(first, stopAfter, second))
            failed.add(`${a}, and meanwhile ${b}: ${String(error)}`);
        }
      }
    }
    expect([...failed]).toEqual([]);
    // What holds several rows was stopped in between.
    expect([...stops.values()].filter((found) => found.length > 0).length).toBeGreaterThan(4);
  });
});
