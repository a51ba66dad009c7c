/** Brings a database to the schema of this version: `npm run migrate`. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { PG_MIGRATE_LOCK_ID, runner, type RunnerOption } from 'node-pg-migrate';
import { escapeIdentifier, escapeLiteral, type Client } from 'pg';
import { connectTo } from '../store/connections';
import { applyFunctions, functionFiles, functionsOf } from '../store/function-files';
import { sqlState } from '../store/pool';
import { takeOverOlder } from './migrate-older';

const migrationsDir = path.join(__dirname, '..', 'migrations');

/** How long a migration waits for one table before it lets those go on who wait behind it, in milliseconds. */
const tableLockTimeoutMs = 500;
/** A migration may have much to rewrite; it is not to hold every table for ever all the same. */
const limits = { statementMs: 600_000, idleInTransactionMs: 60_000 };

/** Where to migrate and which password the application role gets. */
export interface MigrateOptions {
  /** Connection string of a role that may create roles and schemas. */
  adminUrl: string;
  /** The password that `spendlock_app` will log in with. */
  appPassword: string;
  /** How long to try again while somebody else's transaction is in the way, in milliseconds. */
  patienceMs?: number;
  log?: (line: string) => void;
}

/**
 * Brings a database to the newest schema and sets the application role's password: by the numbered files that it lacks, and after
 * them by the functions whose files have changed. Several migrators at once wait for each other; a database that is up to date is
 * left as it is. Everything happens in one transaction, which first takes every table or none: it then waits for nobody who waits
 * for it, so neither it nor a running worker is ended as a deadlock. A transaction of somebody else that stays in the way longer
 * than `patienceMs` is named in the error.
 */
export async function migrate({
  adminUrl,
  appPassword,
  patienceMs = 120_000,
  log = () => undefined,
}: MigrateOptions): Promise<void> {
  const client = await connectTo({ connectionString: adminUrl, application_name: 'spendlock-migrate' }, limits);
  try {
    // The lock of node-pg-migrate itself, held until the connection ends.
    await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
    if (await takeOverOlder(client))
      log('The migrations of the older version are there; those of this one stand for them.');
    const giveUpAtMs = performance.now() + patienceMs;
    for (let pauseMs = 250; !(await appliedAll(client, log)); pauseMs = Math.min(2 * pauseMs, 5_000)) {
      const inTheWay = await longestTransactionOn(client);
      if (performance.now() + pauseMs > giveUpAtMs) {
        const who = inTheWay ?? 'One after the other was.';
        throw new Error(
          `Somebody else's transaction was in the way for ${Math.round(patienceMs / 1000)} s. ${who} The schema is as it was. ` +
            'Let it end, or end it (SELECT pg_terminate_backend(pid)), and migrate again.',
        );
      }
      log(`Somebody else uses a table; trying again. ${inTheWay ?? ''}`.trimEnd());
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    await client.query(`ALTER ROLE ${escapeIdentifier('spendlock_app')} PASSWORD ${escapeLiteral(appPassword)}`);
  } finally {
    await client.end();
  }
}

const optionsFor = (dbClient: Client): RunnerOption => ({
  dbClient,
  noLock: true,
  dir: migrationsDir,
  direction: 'up',
  migrationsTable: 'schema_migrations',
  migrationsSchema: 'copilot_internal',
  createMigrationsSchema: true,
  log: () => undefined,
});

/** Applies what is missing; false when somebody else's transaction held a table, and nothing is changed then. */
async function appliedAll(client: Client, log: (line: string) => void): Promise<boolean> {
  const missing = await runner({ ...optionsFor(client), dryRun: true });
  const { changed, newerVersion } = await functionsOf(client);
  // A numbered file may have dropped or made a function whose own file is as it was.
  const functions = missing.length > 0 ? functionFiles() : changed;
  if (newerVersion !== undefined && changed.length > 0)
    log(`Functions are of the newer version ${newerVersion}, and stay as they are.`);
  const isCurrent = newerVersion !== undefined || functions.length === 0;
  if (missing.length === 0 && isCurrent) return true;
  try {
    await client.query('BEGIN');
    await lockAllTables(client);
    for (const { name, path: file } of missing) {
      log(`migrations/${name}.sql`);
      await client.query(await readFile(file, 'utf8'));
    }
    // Remembers them as applied, and runs none.
    if (missing.length > 0) await runner({ ...optionsFor(client), fake: true });
    if (!isCurrent) {
      for (const { name } of changed) log(`migrations/functions/${name}.sql`);
      await applyFunctions(client, functions);
    }
    await client.query('COMMIT');
    return true;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    if (!isInTheWay(error)) throw error;
    return false;
  }
}

/** Locks the tables that migrations change, against readers too: whoever reads first and writes then would wait half-way. */
async function lockAllTables(client: Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
     WHERE c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind IN ('r', 'p') AND r.rolname = 'spendlock_owner'
     ORDER BY c.relname`,
  );
  if (rows.length === 0) return;
  await client.query(`SET LOCAL ROLE spendlock_owner; SET LOCAL lock_timeout = ${tableLockTimeoutMs}`);
  await client.query(`LOCK TABLE ${rows.map(({ name }) => name).join(', ')} IN ACCESS EXCLUSIVE MODE`);
  await client.query('SET LOCAL lock_timeout = 0; RESET ROLE');
}

/** 55P03 is a lock that was not to be had in time, 40P01 a deadlock. */
const isInTheWay = (error: unknown): boolean => ['55P03', '40P01'].includes(sqlState(error) ?? '');

/** The oldest transaction of somebody else that holds one of the tables, as a sentence; undefined when none is left. */
async function longestTransactionOn(client: Client): Promise<string | undefined> {
  // Names and times of other roles are shown to a superuser or a member of pg_read_all_stats.
  const { rows } = await client.query<{ pid: number; name: string; seconds: number | null; tables: string }>(
    `SELECT a.pid, coalesce(nullif(a.application_name, ''), 'without a name') AS name,
            extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds,
            string_agg(DISTINCT l.relation::regclass::text, ', ') AS tables
     FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
     WHERE l.granted AND a.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind IN ('r', 'p')
     GROUP BY 1, 2, 3, a.xact_start ORDER BY a.xact_start LIMIT 1`,
  );
  const [found] = rows;
  if (!found) return undefined;
  const since = found.seconds === null ? '' : `, for ${found.seconds} s`;
  return `The longest${since}, is process ${found.pid} (${found.name}) on ${found.tables}.`;
}

/** The connection string of the application role for the database that an administrator's one names. */
export function appUrlFor(adminUrl: string, appPassword: string): string {
  const url = new URL(adminUrl);
  url.username = 'spendlock_app';
  url.password = appPassword;
  return url.toString();
}

/** A password of 192 random bits that needs no escaping in a URL. */
export const randomPassword = (): string => randomBytes(24).toString('base64url');

async function main(): Promise<void> {
  const adminUrl = process.env.DATABASE_ADMIN_URL;
  const appPassword = process.env.SPENDLOCK_APP_PASSWORD;
  const isAsked = process.argv.includes('--help');
  if (isAsked || !adminUrl || !appPassword) {
    const missing = Object.entries({ DATABASE_ADMIN_URL: adminUrl, SPENDLOCK_APP_PASSWORD: appPassword })
      .filter(([, value]) => !value)
      .map(([name]) => name);
    if (!isAsked) console.error(`${missing.join(' and ')} must be set. Nothing was changed.\n`);
    (isAsked ? console.log : console.error)(
      'Brings a Postgres database to the newest schema.\n\n' +
        '  DATABASE_ADMIN_URL      connection string of a role that may create roles and schemas\n' +
        '  SPENDLOCK_APP_PASSWORD  the password that the role spendlock_app gets\n\n' +
        'Example: DATABASE_ADMIN_URL=postgres://admin@localhost/spendlock SPENDLOCK_APP_PASSWORD=… npm run migrate',
    );
    process.exitCode = isAsked ? 0 : 2;
    return;
  }
  await migrate({ adminUrl, appPassword, log: (line) => console.log(line) });
  console.log('The schema is up to date.');
}

if (require.main === module) {
  main().catch((error: unknown) => {
    console.error(`Migration failed; what it had not finished was rolled back. ${String(error)}`);
    process.exitCode = 1;
  });
}
