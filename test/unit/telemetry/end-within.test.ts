import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** A process that was told to end, in which something does not. */
async function endOf(left: string): Promise<{ status: unknown; said: string }> {
  const file = (name: string): string => JSON.stringify(path.join(__dirname, '..', '..', '..', 'telemetry', name));
  const code = `
    const { endWithin } = require(${file('end-within.ts')});
    const { createLog } = require(${file('log.ts')});
    endWithin(500, createLog({ name: 'test', level: 'info' }));
    ${left}`;
  const child = spawn(process.execPath, ['--require', 'tsx/cjs', '-e', code], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data: Buffer) => (said += data.toString()));
  const [status] = (await once(child, 'exit')) as [unknown];
  return { status, said };
}

test('XB3: a process that is to stop ends although something in it does not, and says so', async () => {
  const { status, said } = await endOf('setInterval(() => undefined, 1_000);');
  expect(status).toBe(1);
  expect(said).toContain('something did not end within 0.5 s');
});

test('a process in which all ends is not kept by it', async () => {
  expect(await endOf('')).toEqual({ status: 0, said: '' });
});
