/** An installation as an older version left it, with rows in it: its schema came about by numbered files that are no more. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { appUrlFor } from '../../scripts/migrate';
import { testAppPassword, type TestDatabase } from './database';

const dump = readFileSync(path.join(__dirname, 'fixtures', 'older-installation.sql'), 'utf8');

/** A database of one's own that has such an installation. Its tenant is `older`. */
export async function olderInstallation(): Promise<TestDatabase> {
  const server = process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL ?? '';
  const name = `test_older_${randomUUID().replaceAll('-', '')}`;
  await run(server, `CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  await run(url.toString(), dump);
  return {
    adminUrl: url.toString(),
    appUrl: appUrlFor(url.toString(), testAppPassword),
    drop: () => run(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function run(connectionString: string, sql: string): Promise<void> {
  const client = new Client({ connectionString });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
