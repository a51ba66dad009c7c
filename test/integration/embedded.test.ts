/** The services that an embedded installation starts, when they do not want to. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startServices } from '../../scripts/embedded/services';

test('a Postgres that ends while it starts is started again, and at last what it said is told', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-embedded-'));
  chmodSync(dataDir, 0o711);
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
  rmSync(dataDir, { recursive: true, force: true });
});
