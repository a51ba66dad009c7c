/** Installations of older versions, whose numbered files are no more: they are taken over as they are, or told what to do. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { dumpSchema } from '../../scripts/dump-schema';
import { migrate } from '../../scripts/migrate';
import { testAppPassword, type TestDatabase } from '../support/database';
import { olderInstallation } from '../support/older-installation';

const schema = readFileSync(path.join(__dirname, '..', '..', 'docs', 'schema.sql'), 'utf8');

describe('an older installation', () => {
  let database: TestDatabase;
  let admin: Client;
  const lines: string[] = [];
  const migrated = () =>
    migrate({ adminUrl: database.adminUrl, appPassword: testAppPassword, log: (line) => lines.push(line) });
  beforeEach(async () => {
    lines.length = 0;
    database = await olderInstallation();
    admin = new Client({ connectionString: database.adminUrl });
    await admin.connect();
  });
  afterEach(async () => {
    await admin.end();
    await database.drop();
  });

  test('is taken over as it is: its schema is that of a new one, and its rows are there', async () => {
    const before = await rowsOf(admin);
    expect(Object.values(before).filter((rows) => rows.length > 0).length).toBeGreaterThan(18);
    await migrated();
    expect(lines[0]).toBe('The migrations of the older version are there; those of this one stand for them.');
    expect(await dumpSchema(admin)).toBe(schema);
    // Tables that came since are empty, and prices of embeddings and of newer models came.
    const sinceThen = Object.fromEntries(
      [
        'mandates',
        'run_limits',
        'label_values',
        'daily_label_costs',
        'daily_label_sets',
        'label_quota_defaults',
        'tools',
        'money_requests',
      ].map((table) => [table, []]),
    );
    const { limit_changes: limits = [], ...after } = await rowsOf(admin);
    // What limits there are is on record from now on.
    const idsOf = (rows: unknown[]): unknown[] => rows.map((row) => (row as { quota_id: string }).quota_id).sort();
    const ofTenants = (before.cost_quotas ?? []).filter((quota) =>
      ['tenant', 'user'].includes((quota as { scope: string }).scope),
    );
    expect(ofTenants.length).toBeGreaterThan(0);
    expect(idsOf(limits)).toEqual(idsOf(ofTenants));
    const isNew = (price: unknown): boolean =>
      /text-embedding-|gpt-6(-astra|[.])|gemini-(3[.]8|4)/.test(JSON.stringify(price));
    expect(after.model_prices?.filter(isNew)).toHaveLength(3 + 13);
    expect({ ...after, model_prices: after.model_prices?.filter((price) => !isNew(price)) }).toEqual({
      ...sinceThen,
      ...before,
      cost_quotas: before.cost_quotas?.map((quota) => ({ ...(quota as object), topup_kept_usd: 0 })),
      daily_costs: before.daily_costs?.map((day) => ({ ...(day as object), cache_saved_usd: 0 })),
    });
    lines.length = 0;
    await migrated();
    expect(lines).toEqual([]);
  });

  test('is taken over by ten migrators at once as by one', async () => {
    await Promise.all(Array.from({ length: 10 }, migrated));
    expect(await dumpSchema(admin)).toBe(schema);
    expect(await namesOf(admin)).toHaveLength(new Set(await namesOf(admin)).size);
  });

  test('still counts as unverified what it did: an estimate that was corrected or confirmed is not (XD9)', async () => {
    await migrated();
    const { rows } = await admin.query(
      `SELECT day::text AS day, trim_scale(cost_usd)::text AS cost, trim_scale(unverified_usd)::text AS unverified
       FROM copilot_internal.daily_costs WHERE tenant_id = 'older' ORDER BY day`,
    );
    expect(rows).toEqual([{ day: '2026-03-01', cost: '14.6', unverified: '2' }]);
  });

  test.each([
    [
      'lacks its last migrations',
      `DELETE FROM copilot_internal.schema_migrations WHERE name IN ('0031_known_parts', '0033_many_users')`,
      /lacks its last migrations: 0031_known_parts, 0033_many_users\. Start the version before this one once .* Nothing was changed\./,
    ],
    [
      'has one that nobody here knows',
      `INSERT INTO copilot_internal.schema_migrations (name, run_on) VALUES ('0099_elsewhere', now())`,
      /has what is not known: 0099_elsewhere\. .* Nothing was changed\./,
    ],
  ])('that %s is left as it is, and says what to do', async (_what, change, message) => {
    await admin.query(change);
    const before = await namesOf(admin);
    await expect(migrated()).rejects.toThrow(message);
    expect(await namesOf(admin)).toEqual(before);
    const { rows } = await admin.query(`SELECT to_regclass('copilot_internal.schema_functions') AS made`);
    expect(rows).toEqual([{ made: null }]);
  });
});

async function namesOf(admin: Client): Promise<string[]> {
  const { rows } = await admin.query<{ name: string }>(
    'SELECT name FROM copilot_internal.schema_migrations ORDER BY run_on, id',
  );
  return rows.map(({ name }) => name);
}

/** Every row of every table, as far as it says something, but of those that say what the schema came about by. */
async function rowsOf(admin: Client): Promise<Record<string, unknown[]>> {
  const tables = await admin.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class
     WHERE relnamespace = 'copilot_internal'::regnamespace AND relkind = 'r' AND relname NOT LIKE 'schema%' ORDER BY relname`,
  );
  const found: Record<string, unknown[]> = {};
  for (const { name } of tables.rows) {
    const { rows } = await admin.query<{ row: unknown }>(
      `SELECT jsonb_strip_nulls(to_jsonb(t)) AS row FROM copilot_internal.${name} AS t ORDER BY jsonb_strip_nulls(to_jsonb(t))::text`,
    );
    found[name] = rows.map(({ row }) => row);
  }
  return found;
}
