/** The schema: what the migrations come to, whose rows each role reaches, and which functions can be led astray. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { dumpSchema } from '../../scripts/dump-schema';
import { migrate } from '../../scripts/migrate';
import { createTestDatabase, testAppPassword, type TestDatabase } from '../support/database';

const dumpFile = path.join(__dirname, '..', '..', 'docs', 'schema.sql');

describe('the schema', () => {
  let database: TestDatabase;
  let admin: Client;
  beforeAll(async () => {
    database = await createTestDatabase();
    admin = new Client({ connectionString: database.adminUrl });
    await admin.connect();
  });
  afterAll(async () => {
    await admin.end();
    await database.drop();
  });

  test('is what docs/schema.sql says', async () => {
    const dump = await dumpSchema(admin);
    if (process.env.SPENDLOCK_WRITE_SCHEMA === 'true') writeFileSync(dumpFile, dump);
    expect(dump).toBe(readFileSync(dumpFile, 'utf8'));
  });

  test('comes to the same for ten migrators at once, and for one more afterwards', async () => {
    const name = `collide_${path.basename(new URL(database.adminUrl).pathname)}`;
    await admin.query(`CREATE DATABASE ${name}`);
    const url = new URL(database.adminUrl);
    url.pathname = `/${name}`;
    const options = { adminUrl: url.toString(), appPassword: testAppPassword };
    await Promise.all(Array.from({ length: 10 }, () => migrate(options)));
    await migrate(options);
    const client = new Client({ connectionString: options.adminUrl });
    await client.connect();
    const dump = await dumpSchema(client);
    await client.end();
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    expect(dump).toBe(readFileSync(dumpFile, 'utf8'));
  });

  test('pins the search path of every function, and lets nobody run one by default', async () => {
    const { rows } = await admin.query<{ name: string; isDefiner: boolean; isPinned: boolean; isPublic: boolean }>(
      `SELECT p.oid::regprocedure::text AS name, p.prosecdef AS "isDefiner",
         EXISTS (SELECT FROM unnest(p.proconfig) AS setting
           WHERE setting = 'search_path=pg_catalog, copilot_internal, pg_temp') AS "isPinned",
         has_function_privilege('public', p.oid, 'EXECUTE') AS "isPublic"
       FROM pg_proc p WHERE p.pronamespace = 'copilot_internal'::regnamespace`,
    );
    expect(rows.filter(({ isDefiner }) => isDefiner).length).toBeGreaterThan(5);
    expect(rows.filter(({ isDefiner, isPinned }) => isDefiner && !isPinned).map(({ name }) => name)).toEqual([]);
    expect(rows.filter(({ isPublic }) => isPublic).map(({ name }) => name)).toEqual([]);
  });

  test('gives the application role nothing of its own and no way round row security', async () => {
    const { rows } = await admin.query(
      `SELECT r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolinherit,
         (SELECT count(*)::int FROM pg_class c WHERE c.relowner = r.oid) AS owned,
         (SELECT count(*)::int FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
       FROM pg_roles r WHERE r.rolname = 'spendlock_app'`,
    );
    expect(rows).toEqual([
      {
        rolsuper: false,
        rolbypassrls: false,
        rolcreaterole: false,
        rolcreatedb: false,
        rolinherit: false,
        owned: 0,
        memberships: 0,
      },
    ]);
  });

  test('shows, changes and takes rows of one tenant at a time, in every table that has a tenant', async () => {
    const tables = await tenantTables(admin);
    expect(tables.length).toBeGreaterThan(12);
    expect(tables.filter(({ isForced }) => !isForced).map(({ name }) => name)).toEqual([]);
    await withoutConstraints(admin);
    for (const { name } of tables) for (const tenant of ['mine', 'theirs']) await insertAnyRow(admin, name, tenant);
    const app = new Client({ connectionString: database.appUrl });
    app.on('error', () => undefined);
    await app.connect();
    /** How many rows, or that it may not be done at all. */
    const count = async (tenant: string, sql: string): Promise<number | 'refused'> => {
      await app.query('BEGIN');
      try {
        await app.query("SELECT set_config('spendlock.tenant_id', $1, true)", [tenant]);
        return (await app.query(sql)).rowCount ?? 0;
      } catch (error) {
        expect((error as { code?: string }).code).toBe('42501');
        return 'refused';
      } finally {
        await app.query('ROLLBACK');
      }
    };
    const seen: string[] = [];
    for (const { name } of tables) {
      const table = `copilot_internal.${name}`;
      const mine = await count('mine', `SELECT FROM ${table} WHERE tenant_id = 'mine'`);
      if (mine !== 'refused') seen.push(name);
      const others = [
        await count('mine', `SELECT FROM ${table} WHERE tenant_id = 'theirs'`),
        await count('', `SELECT FROM ${table} WHERE tenant_id IS NOT NULL`),
        await count('mine', `UPDATE ${table} SET tenant_id = tenant_id WHERE tenant_id = 'theirs'`),
        await count('mine', `DELETE FROM ${table} WHERE tenant_id = 'theirs'`),
      ];
      expect([name, mine === 'refused' || mine > 0]).toEqual([name, true]);
      expect([name, others.filter((rows) => rows !== 0 && rows !== 'refused')]).toEqual([name, []]);
      expect([name, await count('mine', anyRow(await columnsOf(admin, name), name, 'theirs'))]).toEqual([
        name,
        'refused',
      ]);
    }
    await app.end();
    // The check would say nothing if the role could read no table.
    expect(seen.length).toBeGreaterThan(8);
  });
});

async function tenantTables(admin: Client): Promise<{ name: string; isForced: boolean }[]> {
  const { rows } = await admin.query<{ name: string; isForced: boolean }>(
    `SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS "isForced"
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
     WHERE c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind = 'r' ORDER BY c.relname`,
  );
  return rows;
}

/** A row of any table fits then; the database is this test's own. */
async function withoutConstraints(admin: Client): Promise<void> {
  const { rows } = await admin.query<{ line: string }>(
    `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname) AS line FROM pg_constraint
     WHERE connamespace = 'copilot_internal'::regnamespace AND contype IN ('c', 'f') AND conrelid <> 0`,
  );
  for (const { line } of rows) await admin.query(line);
}

interface Column {
  name: string;
  type: string;
  isNeeded: boolean;
}

async function columnsOf(admin: Client, table: string): Promise<Column[]> {
  const { rows } = await admin.query<Column>(
    `SELECT a.attname AS name, format_type(t.oid, NULL) AS type, a.attnotnull AND NOT a.atthasdef AS "isNeeded"
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
     WHERE a.attrelid = ('copilot_internal.' || $1)::regclass AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attidentity = '' AND a.attgenerated = ''`,
    [table],
  );
  return rows;
}

function anyRow(columns: Column[], table: string, tenantId: string): string {
  const values: [string, string][] = columns
    .filter(({ name, isNeeded }) => isNeeded || name === 'tenant_id')
    .map(({ name, type }) => [name, name === 'tenant_id' ? `'${tenantId}'` : anyValue(type)]);
  return `INSERT INTO copilot_internal.${table} (${values.map(([name]) => name).join(', ')})
    VALUES (${values.map(([, value]) => value).join(', ')})`;
}

async function insertAnyRow(admin: Client, table: string, tenantId: string): Promise<void> {
  await admin.query(anyRow(await columnsOf(admin, table), table, tenantId));
}

function anyValue(type: string): string {
  if (type === 'uuid') return 'gen_random_uuid()';
  if (/^(numeric|integer|bigint|smallint)/.test(type)) return '(random() * 1000000)::integer';
  if (/^timestamp/.test(type)) return 'now()';
  if (type === 'date') return 'current_date';
  if (type === 'boolean') return 'false';
  if (/^json/.test(type)) return `'{}'`;
  if (type === 'bytea') return `decode(md5(random()::text), 'hex')`;
  if (type.endsWith('[]')) return `'{}'`;
  return `md5(random()::text)`;
}
