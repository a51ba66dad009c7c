/** What a process says of a database address that is wrong, when it starts: which part, what to do, and never the password. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { freePort } from '../../scripts/embedded/ports';
import { budgetForOwnWorker } from '../../workers/own-workers';
import { createTestDatabase, testAppPassword, type TestDatabase } from '../support/database';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

/** The right address, with some of it changed. */
const address = (change: Partial<Record<'port' | 'username' | 'password' | 'pathname', string>>): string =>
  Object.assign(new URL(database.appUrl), change).toString();

/** A worker of one's own that is ready, or is not, and what it logged. */
async function readyAt(databaseUrl: string): Promise<{ refused: string | undefined; logged: string }> {
  const lines: string[] = [];
  const note = (...line: unknown[]): void => void lines.push(line.join(' '));
  const client = new Client({ connection: Connection.lazy() });
  const log = { debug: note, info: note, warn: note, error: note };
  const budget = budgetForOwnWorker({ databaseUrl, client, log });
  const refused = await budget.ready().then(
    () => undefined,
    (error: Error) => `${error.name}: ${error.message}`,
  );
  await budget.close();
  return { refused, logged: lines.join('\n') };
}

describe('a worker of one’s own', () => {
  test.each([
    ['password', { password: 'not-it' }, /refuses the role spendlock_app \(28P01\): its password is wrong/],
    ['role', { username: 'nobody' }, /refuses the role nobody \(28P01\)/],
    ['database', { pathname: '/nowhere' }, /has no database nowhere \(3D000\)/],
    ['schema', { pathname: '/postgres' }, /no tables of Spendlock in postgres .*npm run migrate/],
  ] as const)('is refused with a wrong %s, at once and in words', async (_what, change, words) => {
    const { refused, logged } = await readyAt(address(change));
    expect(refused).toMatch(/^DatabaseRefusedError: Postgres at 127\.0\.0\.1:\d+ /);
    expect(refused).toMatch(words);
    // Whoever does not ask whether it is ready is told too.
    expect(logged).toMatch(words);
    for (const password of ['not-it', testAppPassword]) expect(`${refused} ${logged}`).not.toContain(password);
  });

  test.each(['postgres://spendlock_app:not#it@127.0.0.1/x', 'postgres://spendlock_app:well@not/it@127.0.0.1/x'])(
    'is refused an address that cannot be read: %s',
    async (databaseUrl) => {
      const { refused, logged } = await readyAt(databaseUrl);
      expect(refused).toContain('DatabaseRefusedError: The connection string of Postgres cannot be read');
      expect(logged).toContain('written as %40');
      expect(`${refused} ${logged}`).not.toMatch(/not#it|not\/it|not:/);
    },
  );

  test('is not refused for a sign in its password that the driver takes as it is', async () => {
    const { refused } = await readyAt(database.appUrl.replace(`:${testAppPassword}@`, ':not@it@'));
    expect(refused).toContain('its password is wrong');
  });

  test('is ready where nobody answers yet, and says at which address', async () => {
    const port = await freePort();
    const { refused, logged } = await readyAt(address({ port: String(port) }));
    expect(refused).toBeUndefined();
    expect(logged).toContain(`Postgres at 127.0.0.1:${port} does not answer (ECONNREFUSED)`);
  });

  test('is ready with the right one, and says nothing', async () => {
    expect(await readyAt(database.appUrl)).toEqual({ refused: undefined, logged: '' });
  });
});

test('a worker of the installation ends with status 2, and says the same', async () => {
  const root = path.join(__dirname, '..', '..');
  const { PATH, HOME } = process.env;
  const env = {
    ...{ PATH, HOME, ANTHROPIC_API_KEY: 'stand-in', E2B_API_KEY: 'stand-in' },
    TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS,
    DATABASE_URL: address({ password: 'not-it' }),
  };
  const ended = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    const files = [path.join(root, 'scripts', 'run.cjs'), path.join(root, 'workers', 'main.ts')];
    execFile(process.execPath, files, { env }, (error, _stdout, stderr) => resolve({ code: error?.code, stderr }));
  });
  expect(ended.code).toBe(2);
  expect(ended.stderr).toMatch(/^The worker was not started: Postgres at .* its password is wrong/);
  expect(ended.stderr).not.toContain('not-it');
});
