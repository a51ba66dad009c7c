/** What a transaction sets for itself holds for it, and for nobody after it. */
import { Client, type Pool } from 'pg';
import { beginWith } from '../../store/connections';
import { callHot, hotCall } from '../../store/hot-calls';
import { createPool, inTransaction } from '../../store/pool';
import { createTestDatabase, type TestDatabase } from '../support/database';

describe('a transaction', () => {
  let database: TestDatabase;
  let pool: Pool;
  beforeAll(async () => {
    database = await createTestDatabase();
    pool = createPool(database.appUrl, { max: 1 });
  });
  afterAll(async () => {
    await pool.end();
    await database.drop();
  });

  const names = [
    'statement_timeout',
    'idle_in_transaction_session_timeout',
    'transaction_timeout',
    'lock_timeout',
    'spendlock.tenant_id',
  ];
  const settingsOf = async (client: Pick<Pool, 'query'>): Promise<unknown> => {
    const { rows } = await client.query<{ settings: unknown }>(
      'SELECT array_agg(current_setting(name, true) ORDER BY at) AS settings FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, at)',
      [names],
    );
    return rows[0]?.settings;
  };

  test('has its settings, whatever stands in them, until it ends', async () => {
    const before = await settingsOf(pool);
    const settings = { lock_timeout: '500', 'spendlock.tenant_id': `o'n\\e"; --` };
    const within = await inTransaction(pool, settingsOf, { withinMs: 1_000, settings });
    expect(within).toEqual(['1s', '1s', '1s', '500ms', `o'n\\e"; --`]);
    // One that was set once is empty afterwards.
    expect(await settingsOf(pool)).toEqual([...(before as string[]).slice(0, 4), '']);
  });

  test('that decisions wait for pauses no longer than one of theirs', async () => {
    const [, pause] = (await inTransaction(pool, settingsOf, { holdsUp: true })) as string[];
    expect(pause).toBe('1200ms');
  });

  describe('that Postgres ends for a pause', () => {
    const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1_600));
    /** Writes, and goes on after a pause as often as is said. Answers how often it was begun. */
    const pausing = (pauses: number, options: { holdsUp?: boolean; withinMs?: number }) => {
      let begun = 0;
      const work = inTransaction(
        pool,
        async (client) => {
          begun += 1;
          await client.query(
            `INSERT INTO copilot_internal.audit_entries (author, action, details) VALUES ('t', $1, '{}')`,
            [`pauses ${pauses}`],
          );
          if (begun <= pauses) await pause();
          await client.query('SELECT 1');
          return begun;
        },
        options,
      );
      const written = async (): Promise<number | null> => {
        const admin = new Client({ connectionString: database.adminUrl });
        await admin.connect();
        const found = 'SELECT FROM copilot_internal.audit_entries WHERE action = $1';
        const { rowCount } = await admin.query(found, [`pauses ${pauses}`]);
        await admin.end();
        return rowCount;
      };
      return { work, written, begun: () => begun };
    };

    test('is done again where decisions wait for it, and counts once', async () => {
      const { work, written } = pausing(2, { holdsUp: true });
      expect([await work, await written()]).toEqual([3, 1]);
    });

    test('is given up after a few times, and where it is a decision at once', async () => {
      const stubborn = pausing(3, { holdsUp: true });
      await expect(stubborn.work).rejects.toMatchObject({ code: '25P03' });
      expect([stubborn.begun(), await stubborn.written()]).toEqual([3, 0]);
      const decision = pausing(1, { withinMs: 3_000 });
      await expect(decision.work).rejects.toMatchObject({ code: '25P03' });
      expect([decision.begun(), await decision.written()]).toEqual([1, 0]);
    });
  });

  test('is given the connection that it waited for, before those who came later', async () => {
    const order: string[] = [];
    const held = await pool.connect();
    const first = inTransaction(pool, () => Promise.resolve(order.push('first')), { readyMs: 10_000 });
    const second = pool.connect().then((client) => {
      order.push('second');
      client.release();
    });
    held.release();
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
  });

  test('that waits too long for a connection leaves it to who comes next', async () => {
    const held = await pool.connect();
    const tooLate = inTransaction(pool, () => Promise.resolve(true), { readyMs: 50 });
    await expect(tooLate).rejects.toThrow('There was no connection within 50 ms.');
    held.release();
    expect(await inTransaction(pool, () => Promise.resolve('next'), { readyMs: 10_000 })).toBe('next');
  });

  test('leaves out what its Postgres does not know', () => {
    const settings = { transaction_timeout: '1000', lock_timeout: '500' };
    expect(beginWith({ postgresVersion: 16 }, settings)).toBe(`BEGIN; SET LOCAL lock_timeout = '500'`);
    expect(beginWith({ postgresVersion: 17 }, settings)).toContain('transaction_timeout');
  });

  test('a prepared call goes on after a migration gave its function another type', async () => {
    const admin = new Client({ connectionString: database.adminUrl });
    await admin.connect();
    const made = (
      type: string,
    ): string => `CREATE FUNCTION copilot_internal.answered(text) RETURNS ${type} LANGUAGE sql AS $$ SELECT '7'::${type} $$;
      GRANT EXECUTE ON FUNCTION copilot_internal.answered(text) TO spendlock_app`;
    await admin.query(made('jsonb'));
    const call = hotCall('answered', 1);
    expect(await callHot(pool, call, ['me'])).toBe('7');
    await admin.query(`DROP FUNCTION copilot_internal.answered(text); ${made('integer')}`);
    await admin.end();
    expect(await callHot(pool, call, ['me'])).toBe('7');
  });
});
