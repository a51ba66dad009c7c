import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { runner } from 'node-pg-migrate';
import { Client, escapeIdentifier, escapeLiteral } from 'pg';

const migrationsDir = path.join(__dirname, '..', 'migrations');

/** Where to migrate and which password the application role gets. */
export interface MigrateOptions {
  /** Connection string of a role that may create roles and schemas. */
  adminUrl: string;
  /** The password that `spendlock_app` will log in with. */
  appPassword: string;
  log?: (line: string) => void;
}

/**
 * Brings a database to the newest schema and sets the application role's password. Several runners at once wait for
 * each other; a database that is up to date is left as it is.
 */
export async function migrate({ adminUrl, appPassword, log = () => undefined }: MigrateOptions): Promise<void> {
  await runner({
    databaseUrl: adminUrl,
    dir: migrationsDir,
    direction: 'up',
    migrationsTable: 'schema_migrations',
    migrationsSchema: 'copilot_internal',
    createMigrationsSchema: true,
    advisoryLockMode: 'wait',
    singleTransaction: true,
    log,
  });
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    // Concurrent runners would otherwise collide on the role's row of pg_authid ("tuple concurrently updated").
    await client.query('BEGIN; SELECT pg_advisory_xact_lock(7238001)');
    await client.query(`ALTER ROLE ${escapeIdentifier('spendlock_app')} PASSWORD ${escapeLiteral(appPassword)}`);
    await client.query('COMMIT');
  } finally {
    await client.end();
  }
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
  if (process.argv.includes('--help') || !adminUrl || !appPassword) {
    console.log(
      'Brings a Postgres database to the newest schema.\n\n' +
        '  DATABASE_ADMIN_URL      connection string of a role that may create roles and schemas\n' +
        '  SPENDLOCK_APP_PASSWORD  the password that the role spendlock_app gets\n\n' +
        'Example: DATABASE_ADMIN_URL=postgres://admin@localhost/spendlock SPENDLOCK_APP_PASSWORD=… npm run migrate',
    );
    process.exitCode = process.argv.includes('--help') ? 0 : 2;
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
