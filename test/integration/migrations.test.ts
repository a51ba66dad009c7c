/** Migrations under running workers: what works on meanwhile is not lost, and who is in the way is told. */
import { Client } from 'pg';
import { migrate } from '../../scripts/migrate';
import { testAppPassword, type TestDatabase } from '../support/database';
import { olderInstallation } from '../support/older-installation';
import { TestStack, until } from '../support/stack';

describe('a migration under running workers', () => {
  test('stops nobody for good: runs go on through it, books balance, and the sums by day are the ledger’s', async () => {
    const database = await olderInstallation();
    const stack = await TestStack.start({ database });
    // Those that work meanwhile are of this version, which goes after its migration: they find what they write to and read.
    await stack.admin.query(
      `ALTER TABLE copilot_internal.runs ADD COLUMN title text CHECK (length(title) BETWEEN 1 AND 200);
       ALTER TABLE copilot_internal.reservations ADD COLUMN allowed_usd numeric(38, 12)`,
    );
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
      database = await olderInstallation();
      other = new Client({ connectionString: database.adminUrl, application_name: 'a-report' });
      await other.connect();
    });
    afterEach(async () => {
      await other.end();
      await database.drop();
    });
    const migrated = async (): Promise<boolean> => {
      const { rows } = await other.query<{ yes: boolean }>(
        `SELECT to_regclass('copilot_internal.schema_functions') IS NOT NULL AS yes`,
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
      await until('the migration waits', () => lines.length > 1);
      await lock('cost_records');
      await lock('tenants');
      expect(await migrated()).toBe(false);
      await other.query('COMMIT');
      await migration;
      expect(await migrated()).toBe(true);
      expect(lines[1]).toMatch(
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
