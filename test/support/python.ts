/** A Python with the packages that test/python/requirements.txt pins, kept beside node_modules from one run to the next. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = path.join(__dirname, '..', '..');
const cache = path.join(root, 'node_modules', '.cache');
const requirements = path.join(root, 'test', 'python', 'requirements.txt');
const prefix = 'spendlock-python-';

/** What is said where there is none, or one that cannot be used. */
async function orSay<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw new Error(
      'There is no Python 3.11 or newer that has venv. Install one (on Debian: apt-get install python3-venv).',
      { cause },
    );
  }
}

/**
 * Makes it where it is missing or something else is pinned, which takes about half a minute.
 * @returns the folder of its programs.
 * @throws Error when there is no Python to make it of, with how to get one.
 */
export async function preparedPython(): Promise<string> {
  const look = 'import sys; assert sys.version_info >= (3, 11), sys.version; print(sys.version, sys.executable)';
  const { stdout: python } = await orSay(run('python3', ['-c', look]));
  // Its programs name the folder that they are in: a checkout that was moved needs them made again.
  const hash = createHash('sha256').update(readFileSync(requirements)).update(python).update(cache).digest('hex');
  const folder = path.join(cache, `${prefix}${hash.slice(0, 16)}`);
  const programs = path.join(folder, 'bin');
  const done = path.join(folder, 'done');
  if (existsSync(done)) return programs;
  mkdirSync(cache, { recursive: true });
  for (const other of readdirSync(cache).filter((name) => name.startsWith(prefix)))
    rmSync(path.join(cache, other), { recursive: true, force: true });
  await orSay(run('python3', ['-m', 'venv', folder]));
  // Nothing comes with them that is not pinned.
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '-r', requirements];
  await run(path.join(programs, 'python'), install);
  writeFileSync(done, '');
  return programs;
}
