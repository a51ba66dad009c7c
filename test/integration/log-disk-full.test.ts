/** Standard error on a disk that is full: what deals with money goes on without its log. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../../scripts/embedded/ports';
import { createApiKey } from '../../store/api-keys';
import { TestStack, until } from '../support/stack';

describe('a disk that is full', () => {
  let stack: TestStack;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterAll(async () => {
    for (const child of children) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    await stack.stop();
  });

  /** A process of the product whose standard error takes nothing. */
  function start(file: string, environment: Record<string, string> = {}): ChildProcess {
    const full = openSync('/dev/full', 'w');
    const child = spawn(
      process.execPath,
      [path.join(__dirname, '..', '..', 'scripts', 'run.cjs'), path.join(__dirname, '..', '..', file)],
      {
        env: { ...stack.workerEnvironment, LOG_LEVEL: 'info', ...environment },
        stdio: ['ignore', 'ignore', full],
      },
    );
    closeSync(full);
    children.push(child);
    return child;
  }

  test('API and worker go on, decide and pay, and end when they are told to', async () => {
    const port = await freePort();
    const api = start('api/main.ts', { API_PORT: String(port) });
    const worker = start('workers/main.ts');
    const url = `http://127.0.0.1:${port}`;
    await until('the API answers', () =>
      fetch(`${url}/healthz`).then(
        (answer) => answer.ok,
        () => api.exitCode !== null,
      ),
    );
    const tenantId = await stack.tenant('5');
    const { key } = await createApiKey(stack.pool, { tenantId });
    const post = (where: string, body: object): Promise<Response> =>
      fetch(`${url}${where}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    for (let count = 0; count < 3; count += 1) {
      const order = { operationId: randomUUID(), resource: 'llm', amountUsd: '1', ttlSeconds: 300 };
      // The worker may still be starting.
      await until('it is granted', async () => (await post('/v1/reservations', order)).status === 201, 120_000);
      expect((await post(`/v1/reservations/${order.operationId}/commit`, { costUsd: '0.5' })).status).toBe(200);
    }
    // A denial is a line of the worker's log, a run several.
    const denied = await post('/v1/reservations', {
      operationId: randomUUID(),
      resource: 'llm',
      amountUsd: '9',
      ttlSeconds: 60,
    });
    expect(denied.status).toBe(429);
    expect(await stack.run({ tenantId })).toMatchObject({ status: 'completed' });
    expect([api, worker].map(({ exitCode, signalCode }) => exitCode ?? signalCode)).toEqual([null, null]);
    const ended = Promise.all([once(api, 'exit'), once(worker, 'exit')]);
    for (const child of [api, worker]) child.kill('SIGTERM');
    expect((await ended).map(([status]) => status as unknown)).toEqual([0, 0]);
  });
});
