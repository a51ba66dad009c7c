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
