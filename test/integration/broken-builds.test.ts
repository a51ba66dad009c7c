/** Builds that are broken on purpose can be made of the code as it is: what each takes out is there. What a chaos run tells of them is in docs/reliability.md. */
import { assertSources, type BrokenBuild } from '../../scripts/chaos/breaking';
import { brokenBuildNames, brokenBuilds } from '../../scripts/chaos/broken-builds';
import { createPool } from '../../store/pool';
import { createTestDatabase } from '../support/database';

describe('a broken build', () => {
  test('is broken in the database and the sources as they are', async () => {
    const database = await createTestDatabase();
    const pool = createPool(database.adminUrl, { max: 1 });
    try {
      for (const name of brokenBuildNames) {
        const build = brokenBuilds[name];
        await assertSources(build);
        if (build.sql !== undefined) await pool.query(`BEGIN; ${build.sql} ROLLBACK;`);
        expect(build.sql ?? build.sources ?? build.isUnfenced).toBeDefined();
      }
    } finally {
      await pool.end();
      await database.drop();
    }
  });

  test('that takes out what is not there is refused', async () => {
    const changed: BrokenBuild = {
      what: 'nothing',
      told: [],
      sources: [{ file: 'core/ids.ts', from: 'no such text', to: '' }],
    };
    await expect(assertSources(changed)).rejects.toThrow('core/ids.ts has what is broken 0 times');
    const database = await createTestDatabase();
    const pool = createPool(database.adminUrl, { max: 1 });
    try {
      // A second time the text is not there any more.
      const { sql = '' } = brokenBuilds.revocation;
      await pool.query(sql);
      await expect(pool.query(sql)).rejects.toThrow('find_key_owner has changed: break it in another way');
    } finally {
      await pool.end();
      await database.drop();
    }
  });
});
