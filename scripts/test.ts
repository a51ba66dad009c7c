/**
 * Runs the tests: `npm test`, or `npm test -- --unit` for those that need no server, or with any option of Jest. Starts what
 * they need by itself, and never with a provider's key. Those that need a system package run by their names only
 * (`npm run test:browser`, `npm run test:prometheus`).
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { dropProviderKeys } from '../test/support/environment';

const args = process.argv.slice(2);
const unitOnly = args.includes('--unit');
dropProviderKeys(process.env);
const scratch = mkdtempSync(path.join(tmpdir(), 'spendlock-test-run-'));
const closingLine = path.join(scratch, 'closing-line');
const jest = spawn(
  process.execPath,
  [
    '--max-old-space-size=4096',
    require.resolve('jest/bin/jest'),
    ...(args.includes('--selectProjects') ? [] : ['--selectProjects', 'unit', ...(unitOnly ? [] : ['integration'])]),
    ...args.filter((arg) => arg !== '--unit'),
  ],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      NODE_ENV: 'test',
      SPENDLOCK_TEST_CLOSING_LINE: closingLine,
      // The reporter's colours would be noise in a log.
      ...(process.stdout.isTTY ? {} : { FORCE_COLOR: '0' }),
      // Temporal's UI costs a port and a second.
      ...(args.includes('browser') ? { SPENDLOCK_TEST_TEMPORAL_UI: 'true' } : {}),
      ...(unitOnly ? { SPENDLOCK_TEST_UNIT_ONLY: 'true' } : {}),
    },
  },
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => jest.kill(signal));
jest.on('exit', (code) => {
  // A run that died before it could count itself has failed.
  const isCounted = existsSync(closingLine);
  const line = isCounted ? readFileSync(closingLine, 'utf8') : '0 passed, 1 failed';
  rmSync(scratch, { recursive: true, force: true });
  console.log(line);
  process.exit(code === 0 && isCounted && !line.startsWith('0 passed') ? 0 : code || 1);
});
