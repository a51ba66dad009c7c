/** The API in a process of its own, as in production: what it does is not in the way of who measures it. */
import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { until, type TestStack } from './stack';

export interface ApiProcess {
  /** For who kills it or takes its time away. */
  process: ChildProcess;
  port: number;
  url: string;
  /** The memory that it has now. */
  rssBytes(): Promise<number>;
  stop(): Promise<void>;
}

/** @throws Error with what it wrote when it ends while it starts. */
export async function startApiProcess(stack: TestStack, environment: Record<string, string> = {}): Promise<ApiProcess> {
  const root = path.join(__dirname, '..', '..');
  const child = fork(path.join(root, 'scripts', 'run.cjs'), [path.join(root, 'api', 'main.ts')], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...stack.workerEnvironment, LOG_LEVEL: 'info', API_PORT: '0', ...environment },
  });
  const gone = once(child, 'exit');
  let written = '';
  let announced: string | undefined;
  if (child.stderr)
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (announced === undefined) written += `${line}\n`;
      announced ??= /"url":"([^"]+)".*"msg":"API started"/.exec(line)?.[1];
    });
  const url = await until('the API has started', () => {
    if (child.exitCode !== null) throw new Error(`The API ended with ${child.exitCode} while it started:\n${written}`);
    return announced;
  });
  return {
    process: child,
    url,
    port: Number(new URL(url).port),
    async rssBytes() {
      const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(child.pid)]);
      return Number(stdout) * 1024;
    },
    async stop() {
      child.kill('SIGTERM');
      await gone;
    },
  };
}
