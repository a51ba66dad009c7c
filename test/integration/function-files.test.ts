/** Functions of the database: each has one file, which says what it is today, and the files that change are applied. */
import { Client } from 'pg';
import { migrate } from '../../scripts/migrate';
import { applyFunctions, functionFiles, functionsOf } from '../../store/function-files';
import { command } from '../support/cli';
import { createTestDatabase, testAppPassword, type TestDatabase } from '../support/database';
import { until } from '../support/stack';

/** What a function does, as a database and as a file have it, without the words around it. */
type Bodies = Record<string, string[]>;

const bodiesInFiles = (): Bodies => {
  const found: Bodies = {};
  for (const { name, text } of functionFiles())
    found[name] = [
      ...text.matchAll(/^CREATE OR REPLACE FUNCTION copilot_internal\.(\w+)\([\s\S]*?^AS \$\$(.*?)\$\$;$/gms),
    ]
      .map(([, of = '', body = '']) => (of === name ? body : `of ${of}`))
      .sort();
  return found;
};

async function bodiesIn(client: Client): Promise<Bodies> {
  const { rows } = await client.query<{ name: string; bodies: string[] }>(
    `SELECT proname AS name, array_agg(prosrc) AS bodies FROM pg_proc
     WHERE pronamespace = 'copilot_internal'::regnamespace GROUP BY proname`,
  );
  return Object.fromEntries(rows.map(({ name, bodies }) => [name, bodies.sort()]));
}

describe('functions of the database', () => {
  let database: TestDatabase;
  let admin: Client;
  const lines: string[] = [];
  const migrated = () =>
    migrate({ adminUrl: database.adminUrl, appPassword: testAppPassword, log: (line) => lines.push(line) });
  const appliedAt = async (): Promise<Map<string, string>> => {
    const { rows } = await admin.query<{ name: string; at: string }>(
      'SELECT name, applied_at::text AS at FROM copilot_internal.schema_functions',
    );
    return new Map(rows.map(({ name, at }) => [name, at]));
  };
  /** As if the text of a file had changed since it was applied. */
  const pretendChanged = (...names: string[]) =>
    admin.query(`UPDATE copilot_internal.schema_functions SET checksum = 'another' WHERE name = ANY ($1)`, [names]);
  /** Another text of one, which takes and answers the same. */
  const anotherText = `CREATE OR REPLACE FUNCTION copilot_internal.is_busy(p_tenant_id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, copilot_internal, pg_temp AS $$ SELECT true $$`;

  beforeEach(async () => {
    lines.length = 0;
    database = await createTestDatabase();
    admin = new Client({ connectionString: database.adminUrl });
    await admin.connect();
  });
  afterEach(async () => {
    await admin.end();
    await database.drop();
  });

  test('have one file each, which says what they do today, and each file has its function', async () => {
    const files = bodiesInFiles();
    expect(Object.keys(files).length).toBeGreaterThan(50);
    expect(await bodiesIn(admin)).toEqual(files);
    await admin.query(anotherText);
    expect(await bodiesIn(admin)).not.toEqual(files);
  });

  test('say what they are for, pin their search path and give their right to nobody by themselves', () => {
    const wrong = functionFiles().filter(({ name, text }) => {
      const made = text.split('CREATE OR REPLACE FUNCTION').length - 1;
      const revoked = text.split(`REVOKE EXECUTE ON FUNCTION copilot_internal.${name}(`).length - 1;
      return !text.startsWith('-- ') || made === 0 || made !== revoked;
    });
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });

  test('that a check names hold for the rows that came before their text', async () => {
    const { rows } = await admin.query(
      `SELECT count(*)::int AS prices, count(*) FILTER (WHERE NOT copilot_internal.are_price_multipliers(multipliers))::int AS wrong
       FROM copilot_internal.model_prices`,
    );
    expect(rows).toEqual([{ prices: expect.any(Number) as number, wrong: 0 }]);
  });

  test('are applied where their file has changed, and the others are left alone', async () => {
    const before = await appliedAt();
    await admin.query(anotherText);
    await pretendChanged('is_busy');
    await migrated();
    expect(lines).toEqual(['migrations/functions/is_busy.sql']);
    expect(await bodiesIn(admin)).toEqual(bodiesInFiles());
    const after = await appliedAt();
    expect([...after].filter(([name, at]) => before.get(name) !== at).map(([name]) => name)).toEqual(['is_busy']);
    const { rows } = await admin.query<{ may: boolean }>(
      `SELECT has_function_privilege('public', 'copilot_internal.is_busy(text)', 'EXECUTE') AS may`,
    );
    expect(rows).toEqual([{ may: false }]);
  });

  test('are all applied after a numbered file, which may have dropped one', async () => {
    await admin.query(
      `DROP TABLE copilot_internal.schema_functions; DROP FUNCTION copilot_internal.is_busy;
       DELETE FROM copilot_internal.schema_migrations WHERE name >= '0007_function_files'`,
    );
    await migrated();
    expect(lines[0]).toBe('migrations/0007_function_files.sql');
    expect(await bodiesIn(admin)).toEqual(bodiesInFiles());
    expect((await functionsOf(admin)).changed).toEqual([]);
  });

  test('that are not those of this version are told by the doctor', async () => {
    const migrations = async (): Promise<string> => {
      const { out } = await command(['doctor', '--json'], {
        DATABASE_URL: database.appUrl,
        TEMPORAL_ADDRESS: '127.0.0.1:1',
      });
      const { findings } = JSON.parse(out) as { findings: { what: string; state: string; says: string }[] };
      const { state = '', says = '' } = findings.find(({ what }) => what === 'migrations') ?? {};
      return `${state}: ${says}`;
    };
    expect(await migrations()).toMatch(/^ok: All \d+ are applied\.$/);
    await pretendChanged('add_leases', 'is_busy');
    expect(await migrations()).toBe(
      'wrong: Functions that are not those of this version: add_leases, is_busy. Run `npm run migrate`.',
    );
    await admin.query(`UPDATE copilot_internal.schema_functions SET spendlock_version = '10.0.0'`);
    expect(await migrations()).toMatch(/^ok: All \d+ are applied, and of a newer version: functions of 10\.0\.0\.$/);
  });

  test('that a newer version wrote stay as they are', async () => {
    await admin.query(anotherText);
    await admin.query(
      `UPDATE copilot_internal.schema_functions SET checksum = 'another', spendlock_version = '10.0.0' WHERE name = 'is_busy'`,
    );
    await migrated();
    expect(lines).toEqual(['Functions are of the newer version 10.0.0, and stay as they are.']);
    expect((await bodiesIn(admin)).is_busy).toEqual([' SELECT true ']);
    expect(await functionsOf(admin)).toMatchObject({ newerVersion: '10.0.0', changed: [{ name: 'is_busy' }] });
  });

  test('are applied all or none: a migrator that is ended in the middle leaves the schema as it was', async () => {
    await admin.query(anotherText);
    await pretendChanged('add_leases', 'is_busy');
    const before = await appliedAt();
    const other = new Client({ connectionString: database.adminUrl });
    await other.connect();
    try {
      // The function is somebody else's for now, so the migrator stops at it, behind the first.
      await other.query('BEGIN');
      await other.query(anotherText);
      const migration = expect(migrated()).rejects.toThrow(/terminating connection|Connection terminated/);
      const waiting = async (): Promise<boolean> => {
        const { rows } = await admin.query<{ ended: boolean }>(
          `SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
           WHERE application_name = 'spendlock-migrate' AND datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rows.length > 0;
      };
      await until('the migrator waits', waiting);
      await migration;
      await other.query('ROLLBACK');
      expect(lines).toEqual(['migrations/functions/add_leases.sql', 'migrations/functions/is_busy.sql']);
      expect(await appliedAt()).toEqual(before);
      expect((await bodiesIn(admin)).is_busy).toEqual([' SELECT true ']);
      await migrated();
      expect(await bodiesIn(admin)).toEqual(bodiesInFiles());
    } finally {
      await other.end();
    }
  });

  test('that name what is not there are refused with the name of their file', async () => {
    const text = `CREATE OR REPLACE FUNCTION copilot_internal.is_busy(p_tenant_id text) RETURNS boolean
      LANGUAGE sql STABLE SET search_path = pg_catalog, copilot_internal, pg_temp AS $$ SELECT true FROM no_such_table $$`;
    await admin.query('BEGIN');
    await expect(applyFunctions(admin, [{ name: 'is_busy', text, checksum: 'x' }])).rejects.toThrow(
      /^migrations\/functions\/is_busy\.sql: .*no_such_table/,
    );
    await admin.query('ROLLBACK');
  });
});
