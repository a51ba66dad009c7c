/** Migrations under running workers: what works on meanwhile is not lost, and what is summed for the first time is whole. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { runner } from 'node-pg-migrate';
import { Client } from 'pg';
import { appUrlFor, migrate } from '../../scripts/migrate';
import { testAppPassword, type TestDatabase } from '../support/database';
import { TestStack, until } from '../support/stack';

/** The version whose installations 0013 and later find: with a ledger, and workers that write it. */
const before = 12;

const dir = path.join(__dirname, '..', '..', 'migrations');
/** How many migrations there are before one. */
const countBefore = (file: string): number => readdirSync(dir).filter((other) => other < file).length;

async function databaseOfBefore(count = before): Promise<TestDatabase> {
  const server = process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL ?? '';
  const name = `test_before_${randomUUID().replaceAll('-', '')}`;
  const admin = new Client({ connectionString: server });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const url = new URL(server);
  url.pathname = `/${name}`;
  await runner({
    databaseUrl: url.toString(),
    dir,
    direction: 'up',
    count,
    migrationsTable: 'schema_migrations',
    migrationsSchema: 'copilot_internal',
    createMigrationsSchema: true,
    log: () => undefined,
  });
  return {
    adminUrl: url.toString(),
    appUrl: appUrlFor(url.toString(), testAppPassword),
    async drop() {
      const client = new Client({ connectionString: server });
      await client.connect();
      await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await client.end();
    },
  };
}

describe('a migration under running workers', () => {
  test('stops nobody for good: runs go on through it, books balance, and the sums by day are the ledger’s', async () => {
    // Of what came later than the columns that this code writes. Those before were tried with the code of their time.
    const database = await databaseOfBefore(countBefore('0024'));
    const stack = await TestStack.start({ database });
    try {
      const tenants = await Promise.all(Array.from({ length: 4 }, () => stack.tenant('50')));
      for (const tenantId of tenants) await stack.run({ tenantId, userId: 'ada' });
      let goesOn = true;
      const statuses: string[] = [];
      const load = Promise.all(
        tenants.map(async (tenantId) => {
          while (goesOn) statuses.push((await stack.run({ tenantId, userId: 'ada' })).status);
        }),
      );
      try {
        await until('runs come and go', () => statuses.length > 8);
        const atMigration = statuses.length;
        await migrate({ adminUrl: database.adminUrl, appPassword: testAppPassword });
        await until('they still do', () => statuses.length > atMigration + 8);
      } finally {
        goesOn = false;
        await load;
      }
      expect(new Set(statuses)).toEqual(new Set(['completed']));
      for (const tenantId of tenants) {
        const books = await stack.books(tenantId);
        expect(books).toMatchObject({ spentUsd: books.ledgerUsd, reservedUsd: '0', openReservations: 0 });
        const { rows } = await stack.admin.query<{ daily: string }>(
          'SELECT trim_scale(sum(cost_usd))::text AS daily FROM copilot_internal.daily_costs WHERE tenant_id = $1',
          [tenantId],
        );
        expect(rows[0]?.daily).toBe(books.ledgerUsd);
      }
    } finally {
      await stack.stop();
    }
  });

  describe('meets a transaction that', () => {
    let database: TestDatabase;
    let other: Client;
    beforeEach(async () => {
      database = await databaseOfBefore();
      other = new Client({ connectionString: database.adminUrl, application_name: 'a-report' });
      await other.connect();
    });
    afterEach(async () => {
      await other.end();
      await database.drop();
    });
    const migrated = async (): Promise<boolean> => {
      const { rows } = await other.query<{ yes: boolean }>(
        `SELECT to_regclass('copilot_internal.daily_costs') IS NOT NULL AS yes`,
      );
      return rows[0]?.yes ?? false;
    };
    /** A statement that is answered only if nothing but the migration's next try is waited for. */
    const lock = (table: string) => other.query(`LOCK TABLE copilot_internal.${table} IN ROW EXCLUSIVE MODE`);

    test('writes what it changes first after what it changes last: neither is ended as a deadlock', async () => {
      await other.query('BEGIN');
      await lock('reservations');
      const lines: string[] = [];
      const migration = migrate({
        adminUrl: database.adminUrl,
        appPassword: testAppPassword,
        log: (line) => lines.push(line),
      });
      await until('the migration waits', () => lines.length > 0);
      await lock('cost_records');
      await lock('tenants');
      expect(await migrated()).toBe(false);
      await other.query('COMMIT');
      await migration;
      expect(await migrated()).toBe(true);
      expect(lines[0]).toMatch(
        /^Somebody else uses a table; trying again\. The longest, for \d+ s, is process \d+ \(a-report\) on .*reservations/,
      );
    });

    test('does not end: the migration says who is in the way, leaves the schema as it was, and can be repeated', async () => {
      await other.query('BEGIN');
      await other.query('SELECT FROM copilot_internal.tenants');
      const options = { adminUrl: database.adminUrl, appPassword: testAppPassword };
      await expect(migrate({ ...options, patienceMs: 1_500 })).rejects.toThrow(
        /in the way for \d+ s\. The longest, for \d+ s, is process \d+ \(a-report\) on copilot_internal\.tenants\. The schema is as it was\./,
      );
      expect(await migrated()).toBe(false);
      await other.query('COMMIT');
      await migrate(options);
      expect(await migrated()).toBe(true);
    });
  });
});

test('what is unverified is counted anew: an estimate that was corrected or confirmed is not (XD9)', async () => {
  const database = await databaseOfBefore(countBefore('0017'));
  const admin = new Client({ connectionString: database.adminUrl });
  await admin.connect();
  try {
    const unverified = async (): Promise<unknown[]> => {
      const { rows } = await admin.query<{ day: string; cost: string; unverified: string }>(
        `SELECT day::text AS day, trim_scale(cost_usd)::text AS cost, trim_scale(unverified_usd)::text AS unverified
         FROM copilot_internal.daily_costs ORDER BY day`,
      );
      return rows;
    };
    await admin.query(`INSERT INTO copilot_internal.tenants (tenant_id) VALUES ('acme')`);
    const [open, corrected, confirmed, actual] = Array.from({ length: 4 }, () => randomUUID());
    const known = [
      [open, 'unverified', 2],
      [corrected, 'actual', 0.6],
      [confirmed, 'actual', 4],
      [actual, 'actual', 8],
    ];
    for (const [operationId, settlement, committedUsd] of known)
      await admin.query(
        `INSERT INTO copilot_internal.reservations (tenant_id, operation_id, status, decided_at, settlement, committed_usd)
         VALUES ('acme', $1, 'committed', now(), $2, $3)`,
        [operationId, settlement, committedUsd],
      );
    const entries = [
      [open, 'commit', 2, 'unverified'],
      [corrected, 'commit', 1, 'unverified'],
      [corrected, 'correction', -0.4, 'actual'],
      [confirmed, 'commit', 4, 'unverified'],
      [actual, 'commit', 8, 'actual'],
    ];
    for (const [operationId, entry, amountUsd, settlement] of entries)
      await admin.query(
        `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, kind, resource, amount_usd, settlement, posted_at)
         VALUES ('acme', $1, $2, 'llm.call', 'llm', $3, $4, timestamptz '2026-03-01 12:00Z')`,
        [operationId, entry, amountUsd, settlement],
      );
    expect(await unverified()).toEqual([{ day: '2026-03-01', cost: '14.6', unverified: '7' }]);
    await migrate({ adminUrl: database.adminUrl, appPassword: testAppPassword });
    expect(await unverified()).toEqual([{ day: '2026-03-01', cost: '14.6', unverified: '2' }]);
  } finally {
    await admin.end();
    await database.drop();
  }
});
