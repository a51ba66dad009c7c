/** The migrated database that every test clones. */
import { Client } from 'pg';
import type { migrate as migrateFunction } from '../../scripts/migrate';
import { templateDatabase, testAppPassword } from './database';

export async function makeTemplate(adminUrl: string, migrate: typeof migrateFunction): Promise<void> {
  const admin = new Client({ connectionString: adminUrl });
  await admin.connect();
  await admin.query(`DROP DATABASE IF EXISTS ${templateDatabase}`);
  await admin.query(`CREATE DATABASE ${templateDatabase}`);
  await admin.end();
  const url = new URL(adminUrl);
  url.pathname = `/${templateDatabase}`;
  await migrate({ adminUrl: url.toString(), appPassword: testAppPassword });
}
