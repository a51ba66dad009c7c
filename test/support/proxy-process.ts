/** The wire proxy in a process of its own, as in production. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { until, type TestStack } from './stack';

export interface ProxyProcess {
  url: string;
  logged(): string;
  /** Sends SIGTERM, and waits for its end. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** @throws Error with what it wrote when it ends while it starts. */
export async function startProxyProcess(
  stack: TestStack,
  environment: Record<string, string> = {},
): Promise<ProxyProcess> {
  const root = path.join(__dirname, '..', '..');
  const child = fork(path.join(root, 'scripts', 'run.cjs'), [path.join(root, 'api', 'proxy', 'main.ts')], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...stack.workerEnvironment, PROXY_PORT: '0', SPENDLOCK_SHUTDOWN_SECONDS: '60', ...environment },
  });
  const gone = once(child, 'exit');
  let logged = '';
  child.stderr?.on('data', (data: Buffer) => (logged += data.toString()));
  const url = await until('the proxy has started', () => {
    if (child.exitCode !== null) throw new Error(`The proxy ended with ${child.exitCode} while it started:\n${logged}`);
    return /"url":"([^"]+)".*"msg":"proxy started"/.exec(logged)?.[1];
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await gone;
  };
  return { url, logged: () => logged, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}
