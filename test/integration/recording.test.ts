/** The recording keeps what has ended as it is, whatever decides: the database itself knows what may become of a reservation. */
import { randomUUID } from 'node:crypto';
import type { BudgetCommand, ReserveCommand } from '../../core/budget/commands';
import { decideAndRecord } from '../../store/budget-batch';
import { asTenant, inTransaction, sqlState } from '../../store/pool';
import { claimReservation } from '../../store/reservations';
import { recordOutcomes } from '../../store/outcomes';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

type Row = Record<string, unknown>;

describe('the recording', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const reserve = (operationId: string, amountUsd = '10', more: Partial<ReserveCommand> = {}): ReserveCommand => ({
    type: 'reserve',
    operationId,
    resource: 'llm',
    amountUsd,
    priceVersion: 'test',
    ttlSeconds: 600,
    kind: 'test',
    ...more,
  });
  const decide = (tenantId: string, commands: BudgetCommand[]) =>
    decideAndRecord(stack.pool, { tenantId, commands, enforced: { llm: true, e2b: true }, timeoutMs: 3_000 });
  const all = async (tenantId: string): Promise<unknown[]> => {
    const { rows } = await stack.admin.query(
      `SELECT (SELECT jsonb_agg(r ORDER BY operation_id) FROM copilot_internal.reservations r WHERE tenant_id = $1) AS rows,
              (SELECT jsonb_agg(c ORDER BY cost_record_id) FROM copilot_internal.cost_records c WHERE tenant_id = $1) AS ledger,
              (SELECT jsonb_agg(to_jsonb(q) - 'updated_at' ORDER BY quota_id) FROM copilot_internal.cost_quotas q WHERE tenant_id = $1) AS quotas`,
      [tenantId],
    );
    return rows as unknown[];
  };

  /** A tenant with a reservation in each state, by name. */
  const scene = async (): Promise<{ tenantId: string; ids: Record<string, string> }> => {
    const tenantId = await stack.tenant('1000');
    const names = ['open', 'claimed', 'committed', 'unverified', 'released', 'expired', 'late', 'denied'];
    const ids = Object.fromEntries(names.map((name) => [name, randomUUID()])) as Record<string, string>;
    const id = (name: string): string => ids[name] as string;
    await decide(tenantId, [
      ...['open', 'claimed', 'committed', 'unverified', 'released'].map((name) => reserve(id(name))),
      ...['expired', 'late'].map((name) => reserve(id(name), '10', { ttlSeconds: 0.05 })),
      reserve(id('denied'), '2000'),
    ]);
    for (const name of ['claimed', 'unverified', 'committed'])
      await claimReservation(stack.pool, { tenantId, operationId: id(name), claimToken: id(name) });
    await recordOutcomes(stack.pool, tenantId, [
      { operationId: id('committed'), claimToken: id('committed'), costUsd: 4_000_000_000_000n },
    ]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await decide(tenantId, [
      { type: 'commit', operationId: id('committed') },
      { type: 'commit', operationId: id('unverified') },
      { type: 'release', operationId: id('released') },
    ]);
    // Its outcome came after its end, and waits to be folded.
    await recordOutcomes(stack.pool, tenantId, [{ operationId: id('late'), costUsd: 3_000_000_000_000n }]);
    return { tenantId, ids };
  };

  const moment = '2026-11-01T00:00:00.000Z';
  const line = (operationId: string, entry: string, amountUsd: string): Row => ({
    operationId,
    entry,
    amountUsd,
    settlement: 'actual',
    postedAt: moment,
  });
  const move = (more: Row): Row => ({
    sequence: 0,
    resource: 'llm',
    reservedDeltaUsd: '0',
    spentDeltaUsd: '0',
    postedAt: moment,
    grant: false,
    enforced: true,
    ...more,
  });
  interface Batch {
    reservations?: Row[];
    ledger?: Row[];
    changes?: Row[];
  }

  /** Records what no decision would come to. The row is as it was loaded, but for what a test changes. */
  const record = (
    tenantId: string,
    operationId: string,
    make: (row: Row) => Batch,
    loaded = tenantId,
  ): Promise<unknown> =>
    inTransaction(stack.pool, async (client) => {
      await client.query('SELECT copilot_internal.load_budget_batch($1, $2, $3, 0)', [loaded, [operationId], []]);
      const { rows } = await client.query<{ row: Row | null }>(
        `SELECT jsonb_build_object('operationId', operation_id, 'resource', resource, 'kind', kind, 'priceVersion', price_version,
           'requestedUsd', requested_usd, 'grantedUsd', granted_usd, 'status', status, 'refusal', refusal, 'decidedAt', decided_at,
           'expiresAt', expires_at, 'outcomeFolded', outcome_folded, 'settlement', settlement, 'committedUsd', committed_usd,
           'postedAt', posted_at, 'endedAt', ended_at) AS row
         FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2`,
        [loaded, operationId],
      );
      const batch = { reservations: [], ledger: [], changes: [], alerts: [], ...make(rows[0]?.row ?? {}) };
      await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(batch)]);
    }).then(
      () => 'recorded',
      (error: unknown) => sqlState(error),
    );

  const ended = { endedAt: moment, settlement: 'released', status: 'released' };
  const notAllowed: [string, string, (row: Row) => Batch][] = [
    ...['committed', 'released', 'expired', 'denied', 'late'].map((name): [string, string, (row: Row) => Batch] => [
      `a reservation that is ${name} is granted once more`,
      name,
      (row) => ({
        reservations: [
          {
            ...row,
            status: 'granted',
            grantedUsd: '10',
            expiresAt: '2030-01-01T00:00:00Z',
            settlement: null,
            committedUsd: null,
            endedAt: null,
            postedAt: null,
          },
        ],
        changes: [move({ reservedDeltaUsd: '10', grant: true })],
      }),
    ]),
    [
      'a reservation that is open is granted anew',
      'open',
      (row) => ({
        reservations: [{ ...row, decidedAt: moment }],
        changes: [move({ reservedDeltaUsd: '10', grant: true })],
      }),
    ],
    [
      'a committed one is released',
      'committed',
      (row) => ({ reservations: [{ ...row, ...ended, committedUsd: null }] }),
    ],
    [
      'a released one is committed',
      'released',
      (row) => ({
        reservations: [{ ...row, status: 'committed', settlement: 'actual', committedUsd: '1', postedAt: moment }],
        ledger: [line(String(row.operationId), 'commit', '1')],
        changes: [move({ spentDeltaUsd: '1' })],
      }),
    ],
    ['what was committed changes', 'committed', (row) => ({ reservations: [{ ...row, committedUsd: '1' }] })],
    [
      'an unverified one is known without an outcome',
      'unverified',
      (row) => ({
        reservations: [{ ...row, committedUsd: '1', settlement: 'actual', outcomeFolded: true }],
        ledger: [line(String(row.operationId), 'correction', '-9')],
        changes: [move({ spentDeltaUsd: '-9' })],
      }),
    ],
    ['an outcome is unfolded', 'committed', (row) => ({ reservations: [{ ...row, outcomeFolded: false }] })],
    [
      'an outcome is folded for another amount',
      'late',
      (row) => ({
        reservations: [{ ...row, outcomeFolded: true, postedAt: moment }],
        ledger: [line(String(row.operationId), 'correction', '2')],
        changes: [move({ spentDeltaUsd: '2' })],
      }),
    ],
    [
      'an outcome is folded without its line in the ledger',
      'late',
      (row) => ({
        reservations: [{ ...row, outcomeFolded: true, postedAt: moment }],
      }),
    ],
    [
      'a grant changes',
      'open',
      (row) => ({
        reservations: [{ ...row, grantedUsd: '5' }],
        changes: [move({ reservedDeltaUsd: '-5' })],
      }),
    ],
    ['what was asked for changes', 'open', (row) => ({ reservations: [{ ...row, requestedUsd: '20' }] })],
    ['a user changes', 'open', (row) => ({ reservations: [{ ...row, userId: 'ada' }] })],
    ['a resource changes', 'open', (row) => ({ reservations: [{ ...row, resource: 'e2b' }] })],
    ['a hold is shortened', 'open', (row) => ({ reservations: [{ ...row, expiresAt: moment }] })],
    [
      'a claimed one is released',
      'claimed',
      (row) => ({
        reservations: [{ ...row, ...ended }],
        changes: [move({ reservedDeltaUsd: '-10' })],
      }),
    ],
    [
      'one expires before its time',
      'open',
      (row) => ({
        reservations: [{ ...row, ...ended, status: 'expired', settlement: 'expired' }],
        changes: [move({ reservedDeltaUsd: '-10' })],
      }),
    ],
    [
      'a cost is committed that nobody wrote',
      'claimed',
      (row) => ({
        reservations: [
          {
            ...row,
            ...ended,
            status: 'committed',
            settlement: 'actual',
            committedUsd: '2',
            postedAt: moment,
            outcomeFolded: true,
          },
        ],
        ledger: [line(String(row.operationId), 'commit', '2')],
        changes: [move({ reservedDeltaUsd: '-10', spentDeltaUsd: '2' })],
      }),
    ],
    ['one ends and its money stays held', 'open', (row) => ({ reservations: [{ ...row, ...ended }] })],
    [
      'a line of the ledger is doubled',
      'committed',
      (row) => ({
        ledger: [line(String(row.operationId), 'commit', '4')],
        changes: [move({ spentDeltaUsd: '4' })],
      }),
    ],
    [
      'a line of the ledger has no end',
      'open',
      (row) => ({
        ledger: [line(String(row.operationId), 'commit', '4')],
        changes: [move({ spentDeltaUsd: '4' })],
      }),
    ],
    ['money is held by no row', 'open', () => ({ changes: [move({ reservedDeltaUsd: '5', grant: true })] })],
    ['money is spent by no line', 'open', () => ({ changes: [move({ spentDeltaUsd: '5' })] })],
    [
      'a new one is committed from the start',
      'none',
      () => ({
        reservations: [
          {
            operationId: randomUUID(),
            resource: 'llm',
            kind: '',
            requestedUsd: '1',
            grantedUsd: '1',
            status: 'committed',
            settlement: 'actual',
            committedUsd: '1',
            decidedAt: moment,
            postedAt: moment,
            endedAt: moment,
            outcomeFolded: false,
          },
        ],
      }),
    ],
    [
      'a new one holds what no balance says',
      'none',
      () => ({
        reservations: [
          {
            operationId: randomUUID(),
            resource: 'llm',
            kind: '',
            requestedUsd: '1',
            grantedUsd: '1',
            status: 'granted',
            decidedAt: moment,
            expiresAt: '2030-01-01T00:00:00Z',
            outcomeFolded: false,
          },
        ],
      }),
    ],
  ];
  test.each(notAllowed)('refuses that %s', async (_what, name, make) => {
    const { tenantId, ids } = await scene();
    const before = await all(tenantId);
    expect(await record(tenantId, ids[name] ?? randomUUID(), make)).toBe('SL001');
    expect(await all(tenantId)).toEqual(before);
    // The tenant goes on, and what was due is folded.
    expect((await decide(tenantId, [reserve(randomUUID())]))?.decision.answers).toMatchObject([
      { decision: 'granted' },
    ]);
  });

  test('refuses that a reservation is recorded for another tenant than the one that was locked', async () => {
    const { tenantId, ids } = await scene();
    const other = await stack.tenant('10');
    expect(await record(other, String(ids.open), (row) => ({ reservations: [row] }), tenantId)).toBe('P0001');
  });

  test('refuses the same of every function of the application role, even a plain update', async () => {
    const { tenantId, ids } = await scene();
    const other = await stack.tenant('10');
    const attempts: [string, string][] = [
      ['committed', `status = 'granted', settlement = NULL, committed_usd = NULL, ended_at = NULL`],
      ['released', `status = 'granted', settlement = NULL, ended_at = NULL`],
      ['denied', `status = 'granted', granted_usd = 10`],
      ['committed', `status = 'expired', settlement = 'expired', committed_usd = NULL`],
      ['open', `granted_usd = 5`],
      ['open', `requested_usd = 20`],
      ['open', `user_id = 'ada'`],
      ['open', `run_id = gen_random_uuid()`],
      ['open', `resource = 'e2b'`],
      ['open', `unreserved = true`],
      ['open', `operation_id = gen_random_uuid()`],
      ['open', `expires_at = expires_at - interval '1 minute'`],
      ['open', `outcome_folded = true`],
      ['open', `ended_at = now()`],
      ['committed', `outcome_folded = false`],
      ['committed', `outcome_usd = 1`],
      ['committed', `outcome = 'not_billed', outcome_usd = NULL`],
      ['committed', `settlement = 'unverified'`],
      ['committed', `posted_at = now()`],
      ['committed', `ended_at = now()`],
      ['open', `tenant_id = '${other}'`],
    ];
    const before = await all(tenantId);
    for (const [name, change] of attempts) {
      const state = await asTenant(stack.pool, tenantId, (client) =>
        client.query(`UPDATE copilot_internal.reservations SET ${change} WHERE tenant_id = $1 AND operation_id = $2`, [
          tenantId,
          ids[name],
        ]),
      ).then(
        () => 'updated',
        (error: unknown) => sqlState(error),
      );
      expect([name, change, state]).toEqual([name, change, 'SL001']);
    }
    expect(await all(tenantId)).toEqual(before);
  });

  test('lets a call without a grant stand that came between a look and its decision', async () => {
    const tenantId = await stack.tenant('100');
    const operationId = randomUUID();
    const granted = {
      operationId,
      resource: 'llm',
      kind: 'test',
      priceVersion: 'test',
      requestedUsd: '10',
      grantedUsd: '10',
    };
    const outcome = await inTransaction(stack.pool, async (client) => {
      await client.query('SELECT copilot_internal.load_budget_batch($1, $2, $3, 0)', [tenantId, [operationId], []]);
      await client.query('SELECT copilot_internal.allow_unreserved($1, $2)', [
        tenantId,
        JSON.stringify(reserve(operationId)),
      ]);
      const batch = {
        reservations: [
          { ...granted, status: 'granted', decidedAt: moment, expiresAt: '2030-01-01T00:00:00Z', outcomeFolded: false },
        ],
        changes: [move({ reservedDeltaUsd: '10', grant: true })],
        ledger: [],
        alerts: [],
      };
      await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(batch)]);
    }).catch((error: unknown) => sqlState(error));
    expect(outcome).toBe('SL001');
    expect((await stack.books(tenantId)).reservedUsd).toBe('0');
  });

  test('an end that cannot be recorded stops nobody: what the tenant asks for is decided, what else is due is settled', async () => {
    const tenantId = await stack.tenant('100');
    const [broken, overdue] = [randomUUID(), randomUUID()];
    await decide(tenantId, [reserve(broken), reserve(overdue, '10', { ttlSeconds: 1 })]);
    // As the fault left it: its line is in the ledger, and it is open again and overdue.
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, kind, resource, amount_usd, settlement, posted_at)
       VALUES ($1, $2, 'commit', 'test', 'llm', 3, 'actual', now())`,
      [tenantId, broken],
    );
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET claimed_at = now(), claim_token = gen_random_uuid(), expires_at = now() - interval '1 minute'
       WHERE operation_id = $1`,
      [broken],
    );
    const asked = (operationId: string) =>
      api.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd: '1' } });
    const answers = await Promise.all([asked(randomUUID()), asked(randomUUID()), asked(randomUUID())]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    await until('what else was due has ended', async () => {
      await asked(randomUUID());
      const { rows } = await stack.admin.query(
        `SELECT FROM copilot_internal.reservations WHERE operation_id = $1 AND status = 'expired'`,
        [overdue],
      );
      return rows.length === 1;
    });
    const { rows } = await stack.admin.query(
      `SELECT status FROM copilot_internal.reservations WHERE operation_id = $1`,
      [broken],
    );
    expect(rows).toEqual([{ status: 'granted' }]);
  });

  test('a command that the recording refuses is answered as rejected, and the others of its batch are decided', async () => {
    const tenantId = await stack.tenant('100');
    const [taken, free] = [randomUUID(), randomUUID()];
    await stack.admin.query(
      `CREATE FUNCTION copilot_internal.refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN IF NEW.operation_id = '${taken}' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'SL001'; END IF; RETURN NEW; END $$;
       CREATE TRIGGER refuse_one BEFORE INSERT ON copilot_internal.reservations FOR EACH ROW EXECUTE FUNCTION copilot_internal.refuse_one();
       GRANT EXECUTE ON FUNCTION copilot_internal.refuse_one() TO spendlock_app`,
    );
    const asked = (operationId: string) =>
      api.call('POST', '/v1/reservations', { body: { operationId, tenantId, resource: 'llm', amountUsd: '1' } });
    const answers = await Promise.all([asked(taken), asked(free)]);
    await stack.admin.query('DROP FUNCTION copilot_internal.refuse_one() CASCADE');
    expect(answers).toMatchObject([{ status: 500, body: { error: 'command_failed' } }, { status: 201 }]);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '1' });
  });
});
