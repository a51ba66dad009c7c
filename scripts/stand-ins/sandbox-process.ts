/** Really runs a program, in a child process under Node's permission model, with the sandbox's own folder and nothing else. */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

export type ExecutionEvent =
  | { type: 'stdout' | 'stderr'; text: string; timestamp: string }
  | ProgramError
  | { type: 'number_of_executions'; execution_count: number };

interface ProgramError {
  type: 'error';
  name: string;
  value: string;
  traceback: string;
}

const outputCharsMax = 1_000_000;
/** What a program may say on the channel of its error, which is the preload's to write. */
const errorBytesMax = 1_000_000;
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

  /** @throws Error for a file that is not there, or not in the sandbox's home. */
  read(sandboxPath: string): Buffer {
    const file = realpathSync(this.resolve(sandboxPath));
    this.checkInside(file, sandboxPath);
    return readFileSync(file);
  }

  /** @throws Error for a place outside the sandbox's home, by whatever way. */
  write(sandboxPath: string, content: Buffer): void {
    const file = this.resolve(sandboxPath);
    const folder = path.dirname(file);
    let there = folder;
    while (!existsSync(there)) there = path.dirname(there);
    this.checkInside(realpathSync(there), sandboxPath);
    mkdirSync(folder, { recursive: true });
    const { O_CREAT, O_NOFOLLOW = 0, O_TRUNC, O_WRONLY } = constants;
    const opened = openSync(file, O_CREAT | O_NOFOLLOW | O_TRUNC | O_WRONLY, 0o600);
    try {
      writeFileSync(opened, content);
    } finally {
      closeSync(opened);
    }
  }

  /** Where a path of the sandbox lies on this machine. */
  private resolve(sandboxPath: string): string {
    const resolved = path.resolve(this.home, sandboxPath.replace(/^\/home\/user\/?/, ''));
    this.checkInside(resolved, sandboxPath);
    return resolved;
  }

  private checkInside(file: string, sandboxPath: string): void {
    if (file !== this.home && !file.startsWith(this.home + path.sep))
      throw new Error(`${sandboxPath} is outside the sandbox's home`);
  }

  /** Runs a JavaScript program and tells what it prints as it prints it. Nothing that it prints or throws is trusted. */
  execute(code: string, onEvent: (event: ExecutionEvent) => void): Promise<void> {
    this.executions += 1;
    const executionCount = this.executions;
    const child = this.start(code);
    this.children.add(child);
    const [, stdout, stderr, errors] = child.stdio as unknown as [null, Readable, Readable, Readable];
    let chars = 0;
    const relay = (type: 'stdout' | 'stderr', stream: Readable): void => {
      // A character may lie across two pieces.
      const decoder = new StringDecoder();
      stream.on('error', ignore).on('data', (data: Buffer) => {
        chars += data.length;
        if (chars > outputCharsMax) child.kill('SIGKILL');
        else onEvent({ type, text: decoder.write(data), timestamp: new Date().toISOString() });
      });
    };
    relay('stdout', stdout);
    relay('stderr', stderr);
    let told = '';
    errors.on('error', ignore).on('data', (data: Buffer) => {
      if (told.length + data.length > errorBytesMax) child.kill('SIGKILL');
      else told += data.toString();
    });
    return new Promise((resolve) => {
      const end = (failure: ProgramError | undefined): void => {
        if (!this.children.delete(child)) return;
        if (failure) onEvent(failure);
        onEvent({ type: 'number_of_executions', execution_count: executionCount });
        resolve();
      };
      child.once('error', ({ message }) => end(errorOf('ProgramFailed', message)));
      child.once('close', (status, signal) => {
        const why = chars > outputCharsMax ? 'it printed too much' : `it was ended by ${signal}`;
        if (signal) end(errorOf('ProgramEnded', why));
        else if (status === 0) end(undefined);
        else end(readError(told) ?? errorOf('ProgramFailed', `exit status ${status}`));
      });
    });
  }

  private start(code: string): ChildProcess {
    const program = path.join(this.root, 'run', `program-${this.executions}.cjs`);
    writeFileSync(program, code);
    return spawn(
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
      {
        cwd: this.home,
        // No key of the surrounding process is handed on.
        env: { SANDBOX_HOME: this.home, PATH: '', TZ: 'UTC' },
        stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      },
    );
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

const ignore = (): void => undefined;

const errorOf = (name: string, value: string): ProgramError => ({ type: 'error', name, value, traceback: '' });

/** The error that the preload told; undefined when it is none. */
function readError(told: string): ProgramError | undefined {
  try {
    const { name, value, traceback } = JSON.parse(told.split('\n')[0] ?? '') as Record<string, unknown>;
    return { type: 'error', name: String(name), value: String(value), traceback: String(traceback) };
  } catch {
    return undefined;
  }
}
