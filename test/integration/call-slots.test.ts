/** Calls of models wait in queues of their own: nothing else waits behind them, and no turn of a conversation behind calls of runs. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

const root = path.join(__dirname, '..', '..');
const folder = path.join(root, '.spendlock', `unserved-calls-${process.pid}`);

/** Workflows whose calls wait for a second where no worker serves them, as where all workers are of the version before. */
async function bundleWithUnservedCalls(): Promise<string> {
  mkdirSync(folder, { recursive: true });
  for (const part of ['workflows', 'core', 'contracts', 'tsconfig.json', 'package.json'])
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  const change = (file: string, from: string, to: string): void => {
    const text = readFileSync(path.join(folder, file), 'utf8');
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
    writeFileSync(path.join(folder, file), text.replace(from, to));
  };
  change('contracts/messages.ts', '`${prefix}-calls`', '`${prefix}-nobody`');
  change('workflows/agent/llm-activities.ts', '(callSecondsMax + expiryMarginSeconds) * 1_000', '1_000');
  const file = path.join(folder, 'bundle.js');
  const program = (name: string): string => path.join(root, 'scripts', name);
  const args = [program('run.cjs'), program('bundle.ts'), file, path.join(folder, 'workflows', 'index.ts')];
  await promisify(execFile)(process.execPath, args, { cwd: root });
  return file;
}

describe('slots of calls of models', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('a turn is answered while calls of another tenant’s runs hold every slot, and more of them wait', async () => {
    const worker = await stack.startWorker({
      environment: { SPENDLOCK_CALL_SLOTS: '2', SPENDLOCK_STREAM_IDLE_SECONDS: '600' },
    });
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    const tenantId = await stack.tenant('50');
    stack.anthropic.knobs.replies = Array.from({ length: 6 }, (_, at) => ({ text: `answer ${at}` }));
    stack.anthropic.knobs.failNext = [{ type: 'hang' }, { type: 'hang' }];
    const runs = [];
    for (let at = 0; at < 5; at += 1) runs.push(await stack.start({ tenantId }));
    await until('every slot is taken', () => stack.anthropic.calls().inFlight === 2);
    // Each run has its grant, so three of them wait for nothing but a slot.
    await until('all are at their call', async () => (await stack.books(tenantId)).openReservations === 5);

    expect((await talk.say('Good morning.')).at(-1)).toMatchObject({ data: { status: 'completed' } });
    expect(stack.anthropic.calls()).toMatchObject({ inFlight: 2 });
    await talk.close();

    // Whoever gets a slot that a cancelled call leaves is not answered either.
    stack.anthropic.knobs.failNext = [{ type: 'hang' }, { type: 'hang' }, { type: 'hang' }];
    for (const { workflowId } of runs) await stack.temporal.workflow.getHandle(workflowId).cancel();
    for (const run of runs) expect((await stack.finish({ tenantId, ...run })).status).toBe('cancelled');
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    await worker.stop();
  });

  test('pieces of replies wait on connections of their own, where no decision and no settlement waits behind them', async () => {
    const worker = await stack.startWorker();
    const tenantId = await stack.tenant('50');
    const locked = await stack.admin.connect();
    const runs = [];
    try {
      await locked.query('BEGIN');
      await locked.query('LOCK TABLE copilot_internal.reply_deltas IN ACCESS EXCLUSIVE MODE');
      stack.anthropic.knobs.deltaSpacingMs = 300;
      stack.anthropic.knobs.replies = Array.from({ length: 4 }, () => ({ text: 'word '.repeat(1_000) }));
      for (let at = 0; at < 4; at += 1) runs.push(await stack.start({ tenantId }));
      const waitingAs = async (): Promise<string[]> => {
        const { rows } = await stack.admin.query<{ name: string }>(
          `SELECT application_name AS name FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INTO copilot_internal.reply_deltas%'`,
        );
        return rows.map(({ name }) => name);
      };
      const names = await until('pieces of two replies wait', async () => {
        const found = await waitingAs();
        return found.length >= 2 && found;
      });
      expect(names).toEqual(['spendlock-replies', 'spendlock-replies']);
    } finally {
      await locked.query('ROLLBACK');
      locked.release();
    }
    stack.anthropic.knobs.deltaSpacingMs = 0;
    for (const { workflowId } of runs) await stack.temporal.workflow.getHandle(workflowId).cancel();
    for (const run of runs) await stack.finish({ tenantId, ...run });
    await worker.stop();
  });

  test('a call that nobody takes up there gives its money back, and is made on the queue that every version serves', async () => {
    const worker = await stack.startWorker({
      environment: { SPENDLOCK_TEST_BUNDLE: await bundleWithUnservedCalls() },
    });
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    const { workflowId, runId, status } = await stack.run({ tenantId });
    expect(status).toBe('completed');
    const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    const queues = (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
      scheduled?.activityType?.name === 'callModel' ? [scheduled.taskQueue?.name] : [],
    );
    expect(queues).toEqual([`${stack.prefix}-nobody`, `${stack.prefix}-runs`, `${stack.prefix}-runs`]);
    expect(runId).toBeDefined();
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    await worker.stop();
  });
});
