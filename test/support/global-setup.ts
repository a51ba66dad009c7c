/**
 * One Temporal server and one Postgres for the whole run, with a template database that each test file clones. Someone who
 * runs the tests often can keep both running and name them in SPENDLOCK_TEST_TEMPORAL_ADDRESS and
 * SPENDLOCK_TEST_POSTGRES_ADMIN_URL.
 */
import { execFile } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Connection } from '@temporalio/client';
import type { Config } from 'jest';
import { startServices, type Services } from '../../scripts/embedded/services';
import { migrate } from '../../scripts/migrate';
import { registerSearchAttributes } from '../../temporal/search-attributes';
import { makeTemplate } from './template';
import { dropProviderKeys } from './environment';

declare global {
  var spendlockTestServices: Services | undefined;
  /** What a run leaves in the machine's temporary folder until its end. */
  var spendlockTestScratch: string | undefined;
}

export default async function globalSetup(
  _global: unknown,
  project: Config & { displayName?: { name: string } },
): Promise<void> {
  dropProviderKeys(process.env);
  if (process.env.SPENDLOCK_TEST_UNIT_ONLY === 'true' && project) return;
  if (!process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS || !process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL) {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-test-'));
    const services = await startServices({
      dataDir,
      ports: { postgres: 0, temporal: 0, ...(process.env.SPENDLOCK_TEST_TEMPORAL_UI ? { temporalUi: 0 } : {}) },
      ephemeral: true,
      // A crash of this machine may lose the data of these tests, and of nothing else.
      postgresFlags: ['-c', 'max_connections=300', '-c', 'fsync=off', '-c', 'synchronous_commit=off'],
      onProgress: (line) => console.error(line),
    });
    globalThis.spendlockTestServices = services;
    process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS = services.temporal.address;
    process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL = services.postgres.adminUrl;
    if (services.temporal.uiUrl) process.env.SPENDLOCK_TEST_TEMPORAL_UI = services.temporal.uiUrl;
  }
  const [bundle] = await Promise.all([
    bundleOnce(),
    makeTemplate(process.env.SPENDLOCK_TEST_POSTGRES_ADMIN_URL, migrate),
    registerAttributes(process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS),
  ]);
  process.env.SPENDLOCK_TEST_BUNDLE = bundle;
}

/** Workers make them known; a test file without a worker starts runs too, alone or before any other. */
async function registerAttributes(address: string): Promise<void> {
  const connection = await Connection.connect({ address });
  await registerSearchAttributes(connection, 'default').finally(() => connection.close());
}

/** The workflow bundle, made once for all workers of the run. */
async function bundleOnce(): Promise<string> {
  globalThis.spendlockTestScratch = await mkdtemp(path.join(tmpdir(), 'spendlock-bundle-'));
  const file = path.join(globalThis.spendlockTestScratch, 'workflows.js');
  await promisify(execFile)(process.execPath, [
    path.join(__dirname, '..', '..', 'scripts', 'run.cjs'),
    path.join(__dirname, '..', '..', 'scripts', 'bundle.ts'),
    file,
  ]);
  return file;
}
