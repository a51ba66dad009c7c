#!/usr/bin/env node
/**
 * Runs a command of this repository on a machine that has Node and nothing else: installs the pinned packages when they
 * are missing or the lock file has changed, then hands over. Plain JavaScript, since nothing is installed yet.
 *
 *   node scripts/bootstrap.cjs COMMAND [ARGUMENTS]
 */
'use strict';
const { spawn, spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const commands = {
  build: 'scripts/package/build.ts',
  start: 'scripts/start.ts',
  test: 'scripts/test.ts',
  check: 'scripts/check.ts',
  backup: 'scripts/backup.ts',
  restore: 'scripts/backup.ts',
  migrate: 'scripts/migrate.ts',
  worker: 'workers/main.ts',
  api: 'api/main.ts',
  proxy: 'api/proxy/main.ts',
  bench: 'scripts/bench/main.ts',
  replay: 'scripts/replay.ts',
  chaos: 'scripts/chaos/main.ts',
  'test-quota-enforcement': 'scripts/test-quota-enforcement.ts',
  'record-history': 'scripts/record-history.ts',
  'codec-server': 'temporal/encryption/main.ts',
  'stand-ins': 'scripts/stand-ins/main.ts',
  cli: 'cli/main.ts',
};
const [command, ...args] = process.argv.slice(2);

function fail(message, status = 1) {
  process.stderr.write(`${message}\n`);
  process.exit(status);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Spendlock needs Node 20.19 or newer; this is ${process.versions.node}. Nothing was done.`);
}
if (!Object.hasOwn(commands, command ?? '')) {
  fail(`Usage: node scripts/bootstrap.cjs COMMAND\nCommands: ${Object.keys(commands).join(', ')}`, 2);
}

const modules = path.join(root, 'node_modules');
const mark = path.join(modules, '.spendlock-lock');
const wanted = createHash('sha256')
  .update(fs.readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex');

function isInstalled() {
  try {
    return fs.readFileSync(mark, 'utf8') === wanted;
  } catch {
    return false;
  }
}

/** One installation at a time: a second process waits for the first, and then finds nothing to do. */
function install() {
  const lock = path.join(root, '.npm-install.lock');
  const giveUpMs = Date.now() + 15 * 60_000;
  for (;;) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch {
      const pid = Number(fs.readFileSync(lock, 'utf8') || '0');
      if (!isAlive(pid)) fs.rmSync(lock, { force: true });
      else if (Date.now() > giveUpMs)
        fail(`Process ${pid} has been installing packages for too long. Stop it and try again.`);
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    }
  }
  try {
    if (isInstalled()) return;
    process.stderr.write('Installing packages (npm ci) …\n');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const result = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32',
      env: { ...process.env, NODE_ENV: '' },
    });
    if (result.status !== 0) {
      process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error ?? ''}\n`);
      fs.rmSync(lock, { force: true });
      fail('The packages could not be installed; npm says why above. Correct that and run the same command again.');
    }
    fs.writeFileSync(mark, wanted);
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

function isAlive(pid) {
  try {
    return pid > 0 && (process.kill(pid, 0), true);
  } catch {
    return false;
  }
}

if (!isInstalled()) install();

// One program for both ways is told which.
const named = commands[command] === 'scripts/backup.ts' ? [command] : [];
const child = spawn(
  process.execPath,
  [path.join(__dirname, 'run.cjs'), path.join(root, commands[command]), ...named, ...args],
  {
    stdio: 'inherit',
    // Relative paths among the arguments are read from the caller's folder.
    cwd: root,
    env: { ...process.env, SPENDLOCK_CALLER_DIR: process.env.INIT_CWD ?? process.cwd() },
  },
);
// What is sent to this process alone is passed on. Ctrl-C reaches the child by its terminal as well, before that: it takes both for one.
const passOnAfterMs = 50;
let isTold = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    isTold = true;
    setTimeout(() => child.kill(signal), passOnAfterMs);
  });
// npm runs this by a shell, which ends without a word where npm alone is told to end: then nobody else tells the program.
if (process.env.npm_lifecycle_event !== undefined) {
  const { ppid } = process;
  const watch = setInterval(() => {
    if (process.ppid === ppid) return;
    clearInterval(watch);
    if (!isTold) child.kill('SIGTERM');
  }, 1_000);
  watch.unref();
}
child.on('exit', (code, signal) => {
  if (code !== null) process.exit(code);
  // It came before the program listened to it, or the program does not.
  process.stderr.write(`Ended by ${signal}.\n`);
  process.exit(['SIGINT', 'SIGTERM', 'SIGHUP'].includes(signal) ? 130 : 1);
});
