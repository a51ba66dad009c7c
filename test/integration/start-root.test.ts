/**
 * The first start on a fresh machine, as it is in most containers: by root, in a checkout below folders that nobody else may
 * enter. Postgres, which does not run as root, has to get at its programs and its data all the same.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { findTemporalCli } from '../../scripts/embedded/temporal-binary';
import { until } from '../support/stack';

const run = promisify(execFile);
const root = path.join(__dirname, '..', '..');
const isRoot = process.getuid?.() === 0;

describe('XE21: npm start in a folder that others may not enter', () => {
  let closed: string;
  let checkout: string;
  /** Where Postgres' programs may be copied to, apart from those of this test run. */
  let cache: string;
  let cli: string;

  beforeAll(async () => {
    mkdirSync(path.join(root, '.spendlock'), { recursive: true });
    closed = mkdtempSync(path.join(root, '.spendlock', 'closed-'));
    checkout = path.join(closed, 'home', 'checkout');
    mkdirSync(checkout, { recursive: true, mode: 0o700 });
    const left = new Set(['node_modules', '.git', '.spendlock']);
    for (const name of readdirSync(root).filter((one) => !left.has(one)))
      cpSync(path.join(root, name), path.join(checkout, name), { recursive: true });
    // Files of its own in folders of its own, without their content being copied.
    await run('cp', ['-al', path.join(root, 'node_modules'), path.join(checkout, 'node_modules')]);
    mkdirSync(path.join(closed, 'tmp'), { mode: 0o700 });
    cache = mkdtempSync('/tmp/spendlock-cache-');
    await run('chmod', ['755', cache]);
    cli = await findTemporalCli();
  });
  afterAll(() => {
    for (const folder of [closed, cache]) rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
  });

  const environment = (more: Record<string, string> = {}) => ({
    PATH: process.env.PATH,
    HOME: path.join(closed, 'home'),
    TMPDIR: path.join(closed, 'tmp'),
    SPENDLOCK_CACHE_DIR: cache,
    SPENDLOCK_TEMPORAL_CLI: cli,
    ...more,
  });
  const bootstrap = () => path.join(checkout, 'scripts', 'bootstrap.cjs');
  const command = (args: string[], more: Record<string, string> = {}) =>
    run(process.execPath, [bootstrap(), ...args], { env: environment(more), maxBuffer: 10_000_000 });
  async function spentAfterStart(more: Record<string, string> = {}): Promise<number> {
    const { stdout } = await command(['start', '--once', '--json'], more);
    const { status, quota } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
      status: string;
      quota: { spentUsd: string };
    };
    expect(status).toBe('completed');
    return Number(quota.spentUsd);
  }
  const modeOf = (...names: string[]): string => (statSync(path.join(...names)).mode & 0o777).toString(8);
  /** Every file below a folder that somebody but root may change. */
  const changeable = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => path.join(folder, name))
      .filter((file) => statSync(file).uid !== 0 || (statSync(file).mode & 0o022) !== 0);

  test('works, finds its data again, and leaves them to nobody else', async () => {
    const first = await spentAfterStart();
    expect(first).toBeGreaterThan(0);

    const data = path.join(checkout, '.spendlock', 'data');
    expect(modeOf(data)).toBe('700');
    expect(modeOf(data, 'postgres')).toBe('700');
    expect(statSync(path.join(data, 'postgres')).uid === 0).toBe(false);
    for (const name of readdirSync(data).filter((one) => one !== 'postgres'))
      expect([name, modeOf(data, name)]).toEqual([name, '600']);

    const copies = readdirSync(cache);
    if (isRoot) {
      expect(copies).toEqual([expect.stringMatching(/^postgres-[0-9a-f]{16}$/)]);
      const copy = path.join(cache, copies[0] ?? '');
      expect(changeable(copy)).toEqual([]);
      // What was changed there is not run, nor is a copy that broke off.
      const changed = path.join(copy, 'pg-symlinks.json');
      const before = readFileSync(changed, 'utf8');
      appendFileSync(changed, 'not what was copied');
      const second = await spentAfterStart();
      expect(second).toBeGreaterThan(first);
      expect(readFileSync(changed, 'utf8')).toBe(before);
    } else {
      // Whoever runs Postgres themselves needs no copy.
      expect(copies).toEqual([]);
      expect(statSync(path.join(data, 'postgres')).uid).toBe(process.getuid?.());
    }
  });

  test('serves its command line, by a symbolic link too, and can be backed up and restored', async () => {
    const link = path.join(closed, 'link');
    symlinkSync(checkout, link);
    const child = spawn(process.execPath, [path.join(link, 'scripts', 'bootstrap.cjs'), 'start'], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(child, 'exit');
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
    const backup = path.join(closed, 'home', 'backup');
    try {
      await until('it serves', () => output.includes('Serving until Ctrl-C') || child.exitCode !== null, 120_000);
      expect(output).toContain('Serving until Ctrl-C');
      const spendlock = path.join(link, 'cli', 'spendlock.cjs');
      const { stdout } = await run(process.execPath, [spendlock, 'keys', 'list'], { env: environment() });
      expect(stdout).toContain('npm start');
      await command(['backup', '--to', backup]);
    } finally {
      child.kill('SIGTERM');
      await ended;
    }
    const elsewhere = { SPENDLOCK_DATA_DIR: path.join(closed, 'home', 'restored') };
    await command(['restore', '--from', backup], elsewhere);
    expect(modeOf(elsewhere.SPENDLOCK_DATA_DIR, 'postgres')).toBe('700');
    expect(await spentAfterStart(elsewhere)).toBeGreaterThan(0);
  });
});
