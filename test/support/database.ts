/** A database of one's own, cloned from the migrated template. */
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { appUrlFor } from '../../scripts/migrate';

export const templateDatabase = 'spendlock_template';
/** Of a role that exists for the length of a test run, on loopback. */
export const testAppPassword = 'spendlock-test';

export interface TestDatabase {
  /** Connection string of the superuser, who sees every tenant. */
  adminUrl: string;
  /** Connection string of the application role. */
  appUrl: string;
  drop(): Promise<void>;
}

export async function createTestDatabase(): Promise<TestDatabase> {
  const server = process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL;
  if (!server) throw new Error('SPENDLOCK_TEST_POSTGRES_ADMIN_URL is not set: run the tests with `npm test`.');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  // Cloning fails while somebody else is connected to the template; clones exclude each other by a lock.
  await query(server, 'SELECT pg_advisory_lock(7238002)', `CREATE DATABASE ${name} TEMPLATE ${templateDatabase}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const adminUrl = url.toString();
  return {
    adminUrl,
    appUrl: appUrlFor(adminUrl, testAppPassword),
    drop: () => query(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function query(connectionString: string, ...statements: string[]): Promise<void> {
  const client = new Client({ connectionString });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
