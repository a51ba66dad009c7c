/**
 * Installations that are older than the present numbered files. Their schema is the same; it came about by other files, which those
 * of today stand for.
 */
import type { Client } from 'pg';

/** The numbered files of older versions, in their order. */
const olderMigrations = [
  '0001_foundation',
  '0002_ledger_and_runs',
  '0003_prices',
  '0004_decisions',
  '0005_control_and_outside_callers',
  '0006_platform_leases',
  '0007_lost_runs',
  '0008_prices_by_api',
  '0009_due_by_index',
  '0010_conversations',
  '0011_sandboxes',
  '0012_keys_and_runs',
  '0013_costs_by_day',
  '0014_retention_and_deletion',
  '0015_decisions_told',
  '0016_recording',
  '0017_locks',
  '0018_claims_last',
  '0020_alerts_and_looks',
  '0021_keys_and_answers',
  '0024_refusals_and_overruns',
  '0026_books',
  '0031_known_parts',
  '0033_many_users',
] as const;

/** The numbered files of today that come to the same schema. */
const todaysMigrations = [
  '0001_tenants_and_quotas',
  '0002_reservations_and_ledger',
  '0003_runs_and_transcripts',
  '0004_keys_and_audit',
  '0005_prices',
  '0006_access',
] as const;

/**
 * Marks today's files as applied where the older ones are, all of them; answers whether it did. Nothing of the schema is changed.
 * @throws Error when some of the older ones are missing, or one is there that this version does not know. Nothing is changed then.
 */
export async function takeOverOlder(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>(
    `SELECT to_regclass('copilot_internal.schema_migrations') IS NOT NULL AS there`,
  );
  if (!rows[0]?.there) return false;
  const applied = await client.query<{ name: string }>(
    'SELECT name FROM copilot_internal.schema_migrations ORDER BY run_on, id',
  );
  const names = new Set(applied.rows.map(({ name }) => name));
  if (!names.has(olderMigrations[0])) return false;
  const missing = olderMigrations.filter((name) => !names.has(name));
  const unknown = [...names].filter((name) => !olderMigrations.some((older) => older === name));
  if (missing.length + unknown.length > 0) {
    throw new Error(
      `This database is of an older version, and ${
        missing.length > 0
          ? `lacks its last migrations: ${missing.join(', ')}`
          : `has what is not known: ${unknown.join(', ')}`
      }. Start the version before this one once (the last whose migrations/ has ${String(olderMigrations.at(-1))}.sql), or run its ` +
        '`npm run migrate`; then migrate with this one. Nothing was changed.',
    );
  }
  await client.query(
    `WITH gone AS (DELETE FROM copilot_internal.schema_migrations)
     INSERT INTO copilot_internal.schema_migrations (name, run_on)
     SELECT name, now() FROM unnest($1::text[]) WITH ORDINALITY AS today (name, place) ORDER BY place`,
    [todaysMigrations],
  );
  return true;
}
