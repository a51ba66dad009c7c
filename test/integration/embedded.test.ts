/** The services that an embedded installation starts, when they do not want to. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { secretIn } from '../../scripts/embedded/secret-file';
import { startServices } from '../../scripts/embedded/services';

test('a Postgres that ends while it starts is started again, and at last what it said is told', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-embedded-'));
  const starting = startServices({
    dataDir,
    ports: { postgres: 0, temporal: 0 },
    postgresFlags: ['-c', 'max_connections=none'],
  });
  await expect(starting).rejects.toThrow(
    /^Postgres ended while it started\. Its data is kept\. It said:\n.*max_connections.*none/s,
  );
  const log = readFileSync(path.join(dataDir, 'services.log'), 'utf8');
  expect(log.match(/starting it again \(\d of 2\)/g)).toEqual([
    'starting it again (1 of 2)',
    'starting it again (2 of 2)',
  ]);
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 20 });
});

test('XE1: the log of Postgres holds neither statements nor values, however they fail', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-embedded-'));
  const services = await startServices({ dataDir, ports: { postgres: 0, temporal: 0 } });
  const client = new Client({ connectionString: services.postgres.adminUrl });
  client.on('error', () => undefined);
  await client.connect();
  const marker = 'what-a-user-wrote';
  await client.query('CREATE TABLE kept (id text PRIMARY KEY, body jsonb, amount integer CHECK (amount > 0))');
  await client.query('INSERT INTO kept (id) VALUES ($1)', [marker]);
  const failing: [string, unknown[]][] = [
    ['INSERT INTO kept (id) VALUES ($1)', [marker]],
    ['INSERT INTO kept (id, amount) VALUES ($1, -1)', [`${marker}-2`]],
    ['INSERT INTO kept (id, body) VALUES ($1, $2)', ['x', `{"${marker}"`]],
    ['INSERT INTO kept (id, body) VALUES ($1, $2)', ['x', `{"a": "${marker} \\u0000"}`]],
    ['SELECT $1::integer', [marker]],
    [`SELECT '${marker}' FROM nothing_there`, []],
    [`SELECT "${marker}"`, []],
    [`DO $$ BEGIN RAISE WARNING '${marker}'; RAISE EXCEPTION '${marker}'; END $$`, []],
    [`SET statement_timeout = 50; SELECT pg_sleep(5), '${marker}'`, []],
  ];
  for (const [statement, values] of failing) await expect(client.query(statement, values)).rejects.toThrow();
  // Its process is killed in the middle of a statement, of which Postgres tells when it recovers.
  await client.query('SET statement_timeout = 0');
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const killed = client.query(`SELECT pg_sleep(600), '${marker}'`).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 300));
  process.kill(rows[0]?.pid ?? 0, 'SIGSEGV');
  await killed;
  await client.end().catch(() => undefined);
  await services.stop();
  const log = readFileSync(path.join(dataDir, 'services.log'), 'utf8');
  expect(log).toContain('terminated by signal 11');
  expect(log).not.toContain(marker);
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 20 });
});

test('XC6: what an installation keeps is its user’s alone, also what an earlier version left open', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-embedded-'));
  chmodSync(dataDir, 0o755);
  for (const name of ['services.log', 'spendlock.log']) writeFileSync(path.join(dataDir, name), '', { mode: 0o644 });
  const umask = process.umask(0);
  const services = await startServices({ dataDir, ports: { postgres: 0, temporal: 0 } });
  process.umask(umask);
  const names = readdirSync(dataDir);
  expect(names).toEqual(expect.arrayContaining(['temporal.db', 'services.log', 'services.pid', 'postgres']));
  // A journal of Temporal's comes and goes.
  const modeOf = (name: string): number => statSync(path.join(dataDir, name), { throwIfNoEntry: false })?.mode ?? 0;
  const open = ['.', ...names].filter((name) => (modeOf(name) & 0o077) !== 0);
  expect(open).toEqual([]);
  await services.stop();
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 20 });
});

test('a start that was killed leaves nothing that keeps the next from starting: passwords that were never written, a number that another process has now', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-embedded-'));
  writeFileSync(path.join(dataDir, 'postgres-password'), '');
  writeFileSync(path.join(dataDir, 'services.pid'), String(process.pid));
  const services = await startServices({ dataDir, ports: { postgres: 0, temporal: 0 } });
  const client = new Client({ connectionString: services.postgres.adminUrl });
  await client.connect();
  await client.end();
  await expect(startServices({ dataDir, ports: { postgres: 0, temporal: 0 } })).rejects.toThrow(
    'already runs on the data',
  );
  await services.stop();
  const password = readFileSync(path.join(dataDir, 'postgres-password'), 'utf8');
  expect(await secretIn(path.join(dataDir, 'postgres-password'), () => 'another')).toBe(password);
  expect(readdirSync(dataDir).filter((name) => name.endsWith('-new'))).toEqual([]);
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 20 });
});
