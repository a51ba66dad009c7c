/** Really runs a program, in a child process under Node's permission model, with the sandbox's own folder and nothing else. */
import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export type ExecutionEvent =
  | { type: 'stdout' | 'stderr'; text: string; timestamp: string }
  | { type: 'error'; name: string; value: string; traceback: string }
  | { type: 'number_of_executions'; execution_count: number };

const outputCharsMax = 1_000_000;
const permissionFlag = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission';

export class SandboxFolder {
  private readonly root = realpathSync(mkdtempSync(path.join(tmpdir(), 'spendlock-sandbox-')));
  readonly home = path.join(this.root, 'home');
  private readonly children = new Set<ChildProcess>();
  private executions = 0;

  constructor() {
    mkdirSync(this.home);
    mkdirSync(path.join(this.root, 'run'));
    cpSync(path.join(__dirname, 'sandbox-preload.cjs'), path.join(this.root, 'run', 'preload.cjs'));
  }

  /** Where a path of the sandbox lies on this machine. @throws Error for one outside the sandbox's home. */
  resolve(sandboxPath: string): string {
    const relative = sandboxPath.replace(/^\/home\/user\/?/, '');
    const resolved = path.resolve(this.home, relative);
    if (resolved !== this.home && !resolved.startsWith(this.home + path.sep)) {
      throw new Error(`${sandboxPath} is outside the sandbox's home`);
    }
    return resolved;
  }

  /** Runs a JavaScript program and tells what it prints as it prints it. */
  execute(code: string, onEvent: (event: ExecutionEvent) => void): Promise<void> {
    this.executions += 1;
    const program = path.join(this.root, 'run', `program-${this.executions}.cjs`);
    writeFileSync(program, code);
    const child = spawn(
      process.execPath,
      [
        permissionFlag,
        `--allow-fs-read=${this.root}${path.sep}*`,
        `--allow-fs-write=${this.home}${path.sep}*`,
        '--max-old-space-size=256',
        '--no-warnings',
        '--require',
        path.join(this.root, 'run', 'preload.cjs'),
        program,
      ],
      // No key of the surrounding process is handed on.
      { cwd: this.home, env: { SANDBOX_HOME: this.home, PATH: '', TZ: 'UTC' }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.children.add(child);
    let chars = 0;
    const relay = (type: 'stdout' | 'stderr') => (data: Buffer) => {
      chars += data.length;
      if (chars > outputCharsMax) child.kill('SIGKILL');
      else for (const event of eventsOf(type, data.toString())) onEvent(event);
    };
    child.stdout.on('data', relay('stdout'));
    child.stderr.on('data', relay('stderr'));
    const executionCount = this.executions;
    return new Promise((resolve) => {
      child.on('close', (status, signal) => {
        this.children.delete(child);
        if (signal) {
          const value = chars > outputCharsMax ? 'it printed too much' : `it was ended by ${signal}`;
          onEvent({ type: 'error', name: 'ProgramEnded', value, traceback: '' });
        } else if (status !== 0 && status !== 1) {
          onEvent({ type: 'error', name: 'ProgramFailed', value: `exit status ${status}`, traceback: '' });
        }
        onEvent({ type: 'number_of_executions', execution_count: executionCount });
        resolve();
      });
    });
  }

  endPrograms(): void {
    for (const child of this.children) child.kill('SIGKILL');
  }

  /** Ends every program and removes the folder. */
  remove(): void {
    this.endPrograms();
    rmSync(this.root, { recursive: true, force: true });
  }
}

function eventsOf(type: 'stdout' | 'stderr', text: string): ExecutionEvent[] {
  const timestamp = new Date().toISOString();
  if (type === 'stdout') return [{ type, text, timestamp }];
  const [before = '', ...errors] = text.split('\u0000');
  return [
    ...(before === '' ? [] : [{ type, text: before, timestamp }]),
    ...errors.map((line) => ({
      type: 'error' as const,
      ...(JSON.parse(line) as { name: string; value: string; traceback: string }),
    })),
  ];
}
