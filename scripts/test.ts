/**
 * Runs the tests: `npm test`, or `npm test -- --unit` for those that need no server, or with any option of Jest. Starts what
 * they need by itself, and never with a provider's key. What measures the product comes after everything else, with the
 * machine to itself. Tests that need a system package run by their names only (`npm run test:browser`,
 * `npm run test:prometheus`, `npm run test:python`).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { dropProviderKeys } from '../test/support/environment';

const args = process.argv.slice(2);
const unitOnly = args.includes('--unit');
const options = args.filter((arg) => arg !== '--unit');
/** The projects of jest.config.cjs that each round runs, one round after the other. */
const rounds = options.includes('--selectProjects')
  ? [[]]
  : unitOnly
    ? [['unit']]
    : // What measures is not measured while branches are counted.
      options.join() === '--coverage'
      ? [['unit', 'integration']]
      : options.length > 0
        ? [['unit', 'integration', 'performance']]
        : [['unit', 'integration'], ['performance']];
dropProviderKeys(process.env);
const scratch = mkdtempSync(path.join(tmpdir(), 'spendlock-test-run-'));
const countsFile = path.join(scratch, 'counts.json');
let jest: ChildProcess | undefined;
let isStopped = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    isStopped = true;
    jest?.kill(signal);
  });
}

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs Jest once. Without an exit code of 0 something is counted as failed, whatever Jest could count by itself. */
async function run(projects: string[]): Promise<Counts> {
  rmSync(countsFile, { force: true });
  const child = spawn(
    process.execPath,
    [
      '--max-old-space-size=4096',
      require.resolve('jest/bin/jest'),
      ...(projects.length > 0 ? ['--selectProjects', ...projects] : []),
      // What measures is not measured beside another.
      ...(projects.join() === 'performance' || options.includes('performance') ? ['--maxWorkers', '1'] : []),
      ...options,
    ],
    {
      stdio: 'inherit',
      env: {
        ...process.env,
        NODE_ENV: 'test',
        SPENDLOCK_TEST_COUNTS: countsFile,
        // The reporter's colours would be noise in a log.
        ...(process.stdout.isTTY ? {} : { FORCE_COLOR: '0' }),
        // Temporal's UI costs a port and a second.
        ...(options.includes('browser') ? { SPENDLOCK_TEST_TEMPORAL_UI: 'true' } : {}),
        ...(unitOnly ? { SPENDLOCK_TEST_UNIT_ONLY: 'true' } : {}),
      },
    },
  );
  jest = child;
  const code = await new Promise((resolve) => child.on('exit', resolve));
  // A run that died before it could count itself has failed.
  const counts = existsSync(countsFile)
    ? (JSON.parse(readFileSync(countsFile, 'utf8')) as Counts)
    : { passed: 0, failed: 1, skipped: 0 };
  return code === 0 ? counts : { ...counts, failed: Math.max(1, counts.failed) };
}

async function main(): Promise<void> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const projects of rounds) {
    const { passed, failed, skipped } = await run(projects);
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
    if (isStopped) break;
  }
  rmSync(scratch, { recursive: true, force: true });
  const { passed, failed, skipped } = total;
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

void main();
