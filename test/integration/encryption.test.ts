/** An installation that encrypts payloads: it works as any other, and Temporal holds nothing of what it does in the clear. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import type { RunView } from '../../api/runs/schemas';
import { dataConverterFrom } from '../../temporal/encryption/data-converter';
import { budgetWorkflowId } from '../../contracts/messages';
import { startTestApi, type TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { TestStack, until } from '../support/stack';

describe('an installation that encrypts payloads', () => {
  const environment = { SPENDLOCK_PAYLOAD_KEYS: `test:${randomBytes(32).toString('base64')}` };
  let stack: TestStack;
  let api: TestApi;
  let seeing: Client;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    // The bundle that the other tests share has another converter of failures.
    await stack.startWorker({ environment: { ...environment, SPENDLOCK_TEST_BUNDLE: '' } });
    const dataConverter = dataConverterFrom(environment);
    if (!dataConverter) throw new Error('There are keys, and no converter.');
    seeing = new Client({ connection: stack.temporal.connection, dataConverter });
    api = await startTestApi(stack, { temporal: seeing });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const ended = (run: { tenantId: string; runId: string }): Promise<RunView> =>
    until('it ended', async () => {
      const shown = await stack.show(run);
      return shown.endedAt === null ? undefined : shown;
    });
  /** All that the server has of a workflow, as text, with its payloads as they are kept. */
  const kept = async (workflowId: string): Promise<string> => {
    const history = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    return JSON.stringify(JSON.parse(historyToJSON(history)), (_name, value: unknown) => {
      const isText = typeof value === 'string' && /^[A-Za-z0-9+/]{8,}={0,2}$/.test(value);
      return isText ? `${value} ${Buffer.from(value, 'base64').toString('latin1')}` : value;
    });
  };
  /** Every payload of a history that is not ciphertext, by where it stands. */
  const clearPayloads = async (workflowId: string): Promise<string[]> => {
    const history = JSON.parse(
      historyToJSON(await stack.temporal.workflow.getHandle(workflowId).fetchHistory()),
    ) as unknown;
    const found: string[] = [];
    const walk = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      const encoding = (value as { metadata?: { encoding?: string } }).metadata?.encoding;
      if (encoding !== undefined && Buffer.from(encoding, 'base64').toString() !== 'binary/encrypted') found.push(path);
      for (const [name, inner] of Object.entries(value)) walk(inner, `${path}.${name}`);
    };
    walk(history, '');
    // What Temporal itself works with: what it searches by, and its own marks of patches and local activities.
    return found.filter((path) => !/searchAttributes|header|details\.(data|patch-data|version)/.test(path));
  };

  test('runs a task to its end, and its history shows no amount, plan, result or summary', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    const { runId } = await api.admin.runs.start({ tenantId, task: 'Say one.' });
    const run = await ended({ tenantId, runId });
    expect(run.status).toBe('completed');
    expect((await stack.books(tenantId)).ledgerUsd).toBe(run.costUsd);
    for (const workflowId of [run.workflowId, budgetWorkflowId(tenantId)]) {
      expect(await clearPayloads(workflowId)).toEqual([]);
      expect(await kept(workflowId)).not.toMatch(/amountUsd|grantedUsd|maxOutputTokens|priceVersion|at most \$/);
    }
    const { staticSummary } = (await seeing.workflow.getHandle(run.workflowId).describe()) as never as {
      staticSummary: () => Promise<string>;
    };
    expect(await staticSummary()).toContain('claude-haiku-4-5');
  });

  test('XC7: its histories replay, fetched or exported, and not as those of another namespace', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: 'one' }];
    const { runId } = await api.admin.runs.start({ tenantId, task: 'Say one.' });
    const { workflowId } = await ended({ tenantId, runId });
    const dir = mkdtempSync(path.join(tmpdir(), 'spendlock-replay-'));
    const exported = historyToJSON(await stack.temporal.workflow.getHandle(workflowId).fetchHistory());
    writeFileSync(path.join(dir, 'exported.json'), exported);
    const address = process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '';
    const replay = (...args: string[]): Promise<string> =>
      new Promise((resolve) => {
        const script = path.join(__dirname, '..', '..', 'scripts', 'replay.ts');
        const env = { ...process.env, ...environment };
        execFile(
          process.execPath,
          [path.join(__dirname, '..', '..', 'scripts', 'run.cjs'), script, '--json', ...args],
          { env },
          (_error, stdout, stderr) => resolve(stdout.trim().split('\n').at(-1) || stderr),
        );
      });
    for (const args of [
      ['--workflow-id', workflowId, '--address', address],
      ['--dir', dir],
    ])
      expect(JSON.parse(await replay(...args))).toMatchObject([{ replays: true }]);
    expect(await replay('--dir', dir, '--namespace', 'another')).toContain('"replays":false');
  });

  test('keeps the words of failures to itself as well', async () => {
    const tenantId = await stack.tenant('0.001');
    stack.anthropic.knobs.replies = [{ text: 'never' }];
    const { runId } = await api.admin.runs.start({ tenantId, task: 'Say something.' });
    const run = await ended({ tenantId, runId });
    expect(run.failure).toMatchObject({
      code: 'quota_exceeded',
      message: expect.stringContaining('quota of tenant') as string,
    });
    expect(await kept(run.workflowId)).not.toContain('quota of tenant');
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 400 }];
    const rich = await stack.tenant('5');
    const second = await api.admin.runs.start({ tenantId: rich, task: 'Say something.' });
    const failed = await ended({ tenantId: rich, runId: second.runId });
    expect(failed.failure?.code).toBe('provider_refused');
    const text = await kept(failed.workflowId);
    expect(text).toContain('Encoded failure');
    expect(text).not.toContain(String(failed.failure?.message).slice(0, 25));
  });

  test('holds a conversation, with updates and signals', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.replies = [{ text: 'Hello.' }];
    const events = await talk.say('Hello?');
    expect(events.at(-1)).toMatchObject({ event: 'done', data: { status: 'completed' } });
    await talk.close();
    expect(await clearPayloads(talk.workflowId)).toEqual([]);
  });
});

describe('a payload of a key that a process does not have', () => {
  const newKey = (): string => randomBytes(32).toString('base64');
  const [former, current] = [`2026-10:${newKey()}`, `2026-11:${newKey()}`];

  test('XC7: waits for that key, is said in words, and does not fill the log', async () => {
    const stack = await TestStack.start({ worker: false });
    const dataConverter = dataConverterFrom({ SPENDLOCK_PAYLOAD_KEYS: former });
    if (!dataConverter) throw new Error('There are keys, and no converter.');
    const api = await startTestApi(stack, {
      temporal: new Client({ connection: stack.temporal.connection, dataConverter }),
    });
    const without = await stack.startWorker({
      environment: { SPENDLOCK_PAYLOAD_KEYS: current, SPENDLOCK_TEST_BUNDLE: '' },
    });
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = Array.from({ length: 6 }, () => ({ text: 'one' }));
    const runs = await Promise.all(
      Array.from({ length: 6 }, () => api.admin.runs.start({ tenantId, task: 'Say one.' })),
    );
    const lines = (): { error?: string; repeats?: number }[] =>
      without
        .logged()
        .split('\n')
        .filter((line) => line.includes('was encrypted under'))
        .map((line) => JSON.parse(line) as { error: string });
    const counted = await until('the others are counted', () =>
      Promise.resolve(lines().find(({ repeats }) => repeats !== undefined)),
    );
    // Each is tried at once, and again after ten seconds.
    expect(counted.repeats).toBeGreaterThanOrEqual(runs.length - 1);
    expect(lines()).toHaveLength(2);
    expect(lines()[0]?.error).toMatch(
      /in the workflow run\/\S+ .* under the key 2026-10, and SPENDLOCK_PAYLOAD_KEYS .* only 2026-11\. Put that key back/,
    );
    await without.stop();
    expect(without.process.exitCode).toBe(0);
    await stack.startWorker({
      environment: { SPENDLOCK_PAYLOAD_KEYS: `${current},${former}`, SPENDLOCK_TEST_BUNDLE: '' },
    });
    for (const { runId } of runs)
      await until('it ended', async () => (await stack.show({ tenantId, runId })).status === 'completed');
    await api.close();
    await stack.stop();
  });
});
