/** A signal ends a command whichever of its processes hears it, and one that both hear ends it once. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../support/stack';

const scripts = path.join(__dirname, '..', '..', '..', 'scripts');

describe('a signal', () => {
  let folder: string;
  const started: ChildProcess[] = [];
  beforeAll(() => (folder = mkdtempSync(path.join(tmpdir(), 'spendlock-signals-'))));
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => started.splice(0).forEach((child) => child.kill('SIGKILL')));

  function start(args: string[], { detached = false } = {}) {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], detached });
    started.push(child);
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    return { pid: child.pid ?? 0, ended: once(child, 'exit'), output: () => output };
  }

  const childOf = (pid: number): number =>
    Number(
      execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).match(
        new RegExp(`(\\d+) +${pid}$`, 'm'),
      )?.[1],
    );

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'that the process alone hears which installs (%s) ends what it started',
    async (signal) => {
      const { pid, ended, output } = start([path.join(scripts, 'bootstrap.cjs'), 'stand-ins']);
      await until('it serves', () => output().includes('anthropicUrl'), 30_000);
      const child = childOf(pid);
      expect(child).toBeGreaterThan(0);
      process.kill(pid, signal);
      expect(await ended).toEqual([signal === 'SIGHUP' ? 130 : 0, null]);
      expect(() => process.kill(child, 0)).toThrow('ESRCH');
    },
  );

  test('that comes to a program twice at once is one, and a second one a moment later is another', async () => {
    const program = path.join(folder, 'program.ts');
    writeFileSync(
      program,
      `let count: number = 0;
       const listen = () => process.once('SIGINT', () => {
         console.log('heard', ++count);
         setTimeout(listen, 100);
       });
       listen();
       process.on('SIGTERM', () => process.exit(count));
       setInterval(() => undefined, 1_000);
       console.log('ready');`,
    );
    const { pid, ended, output } = start([path.join(scripts, 'run.cjs'), program]);
    await until('it runs', () => output().includes('ready'), 30_000);
    process.kill(pid, 'SIGINT');
    await until('it heard', () => output().includes('heard 1'));
    process.kill(pid, 'SIGINT');
    await sleep(800);
    process.kill(pid, 'SIGINT');
    await until('it heard again', () => output().includes('heard 2'));
    process.kill(pid, 'SIGTERM');
    expect(await ended).toEqual([2, null]);
  });
});
