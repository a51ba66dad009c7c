/** Everything that can be wrong without running: `npm run check`. Needs no server. */
import { spawn } from 'node:child_process';
import path from 'node:path';

interface Check {
  name: string;
  command: string[];
}

const root = path.join(__dirname, '..');
const bin = (name: string): string => path.join(root, 'node_modules', '.bin', name);

const checks: Check[] = [
  { name: 'lint', command: [bin('eslint'), '.', '--max-warnings', '0'] },
  { name: 'types', command: [bin('tsc'), '-p', 'tsconfig.json'] },
  { name: 'types without Node (core, workflows)', command: [bin('tsc'), '-p', 'tsconfig.workflow.json'] },
  { name: 'types of the dashboard', command: [bin('tsc'), '-p', 'dashboard/tsconfig.json'] },
  { name: 'nothing unused', command: [bin('knip'), '--no-progress', '--treat-config-hints-as-errors'] },
  { name: 'format', command: [bin('prettier'), '--check', '--log-level', 'warn', '.'] },
  {
    name: 'OpenAPI document',
    command: [process.execPath, path.join(__dirname, 'run.cjs'), path.join(__dirname, 'check-openapi.ts')],
  },
  {
    name: 'workflow bundle',
    command: [process.execPath, path.join(__dirname, 'run.cjs'), path.join(__dirname, 'bundle.ts')],
  },
];

/** How many run at once; each takes about one core. */
const parallel = 2;

async function run({ name, command }: Check): Promise<boolean> {
  const startedMs = Date.now();
  const [file = '', ...args] = command;
  const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)));
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${seconds.padStart(5)} s  ${name}`);
  if (code !== 0) console.log(output.trimEnd());
  return code === 0;
}

async function main(): Promise<void> {
  const waiting = [...checks];
  const results: boolean[] = [];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) results.push(await run(next));
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  process.exitCode = results.every(Boolean) ? 0 : 1;
}

void main();
