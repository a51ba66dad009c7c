import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import * as workflows from '../../workflows';
import { budgetWorkflowId } from '../../contracts/messages';
import type { PatchId } from '../../workflows/patches';
import { TestStack, until } from '../support/stack';

const histories = path.join(__dirname, 'histories');

interface Outcome {
  status: number;
  results: { name: string; replays: boolean; problem?: string }[];
}

/** Runs `npm run replay -- …` as a person would. */
function replay(...args: string[]): Promise<Outcome> {
  const script = path.join(__dirname, '..', '..', 'scripts', 'replay.ts');
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [path.join(__dirname, '..', '..', 'scripts', 'run.cjs'), script, '--json', ...args],
      { maxBuffer: 2 ** 24 },
      (error, stdout, stderr) => {
        const line = stdout.trim().split('\n').at(-1) ?? '';
        if (!line.startsWith('[')) reject(new Error(stderr));
        else resolve({ status: error ? Number(error.code) : 0, results: JSON.parse(line) as Outcome['results'] });
      },
    );
  });
}

describe('recorded histories', () => {
  const files = readdirSync(histories, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.json'));

  test('every workflow type has one', () => {
    for (const name of Object.keys(workflows))
      expect(files.filter((file) => file.endsWith(`.${name}.json`))).not.toEqual([]);
  });

  test('are all there, as they were recorded', () => {
    const sums = readFileSync(path.join(histories, 'SHA256SUMS'), 'utf8').trimEnd().split('\n');
    const found = files.map((file) => {
      const text = readFileSync(path.join(histories, file));
      return `${createHash('sha256').update(text).digest('hex')}  ${file}`;
    });
    expect(found.sort()).toEqual(sums.sort());
  });

  /** What the answer to `isPatched` leaves in a history. */
  const patchMark = (id: PatchId): string => JSON.stringify({ id, deprecated: false });
  /** A history in plain text: its payloads are in base64. */
  const read = (file: string): string =>
    readFileSync(path.join(histories, file), 'utf8').replace(/"data": "([\w+/=]+)"/g, (_, data: string) =>
      Buffer.from(data, 'base64').toString(),
    );

  /** What a run and a conversation can come to, and the signs of what only happens then. */
  test.each<string[]>([
    ['completed.agentRun', 'terminateSandbox'],
    ['denied.agentRun', 'callModel'],
    ['cancelled.agentRun', 'workflowExecutionCancelRequested'],
    ['run-approved.agentRun', 'openApprovals'],
    ['run-refused.agentRun', 'openApprovals'],
    ['run-compacted.agentRun', 'compactContext'],
    ['run-waited.agentRun', 'awaitMoney'],
    ['run-woken.tenantBudget', patchMark('woken-at-once')],
    ['run-granted.agentRun', 'answerMoney'],
    ['run-asks-for-all.agentRun', patchMark('asks-for-all')],
    ['run-more-refused.agentRun', 'workflowExecutionFailedEventAttributes'],
    ['run-unanswered.agentRun', 'workflowExecutionFailedEventAttributes', 'Nobody answered in time.'],
    ['run-last-call.agentRun', patchMark('last-call'), 'The answer was cut off'],
    ['run-last-answered.agentRun', 'for the last time', 'workflowExecutionCompletedEventAttributes'],
    ['run-last-refused.agentRun', 'for the last time', '"type": "model_refused"'],
    ['run-last-wordless.agentRun', 'for the last time', '"type": "run_limit_exceeded"'],
    ['run-last-unused.agentRun', patchMark('last-call')],
    ['run-last-held-back.agentRun', patchMark('last-call-waits')],
    ['run-answer-repaired.agentRun', patchMark('answers-fit')],
    ['run-answer-invalid.agentRun', 'workflowExecutionFailedEventAttributes'],
    ['run-no-answer.agentRun', patchMark('answers-fit')],
    ['talk-no-answer.conversation', patchMark('answers-fit')],
    ['run-guaranteed.agentRun', patchMark('guaranteed')],
    ['talk-last-call.conversation', 'for the last time'],
    ['talk-answer-repaired.conversation', patchMark('answers-fit')],
    ['talk-answer-invalid.conversation', patchMark('answers-fit')],
    ['talk-granted.conversation', 'answerMoney'],
    ['talk-more-refused.conversation', 'answerMoney'],
    ['talk-unanswered.conversation', 'Nobody answered in time.'],
    ['run-planned-again.agentRun', patchMark('planned-again')],
    ['run-held-compacted.agentRun', patchMark('held-before-compacted')],
    ['run-shown.agentRun', 'SpendlockHoldsMoney'],
    ['run-extended.agentRun', 'extendSandbox'],
    ['run-paid-tool.agentRun', 'runPaidTools'],
    // Its tool may take as long as a program may, with no sandbox made.
    ['run-own-tool.agentRun', '"540s"'],
    ['ended-denied.agentRun', 'workflowExecutionFailedEventAttributes'],
    ['ended-failed.agentRun', 'workflowExecutionFailedEventAttributes'],
    ['run-room-waited.agentRun', patchMark('room-waited-for')],
    ['run-model-refused.agentRun', patchMark('refusals')],
    ['run-held-back.agentRun', patchMark('holds-waited-for')],
    ['talk-held-back.conversation', patchMark('holds-waited-for')],
    ['run-held-by-siblings.agentRun', patchMark('run-holds-waited-for')],
    ['run-guaranteed-reset.agentRun', patchMark('envelope-kept')],
    ['run-within.agentRun', patchMark('within-the-task')],
    ['talk-within.conversation', patchMark('within-the-task')],
    ['ended-cancelled.agentRun', 'workflowExecutionCanceledEventAttributes'],
    ...['agentRun', 'conversation', 'tenantBudget', 'lookAfter'].map((type) => [
      `nonsense.${type}`,
      patchMark('inputs-read'),
    ]),
    ['talk-ended-cancelled.conversation', 'workflowExecutionCanceledEventAttributes'],
    ['talk-completed.conversation', 'resumeSandbox'],
    ['talk-denied.conversation', 'endTurn'],
    ['talk-cancelled.conversation', 'workflowExecutionCancelRequested'],
    ['talk-interrupted.conversation', 'interrupt'],
    ['talk-compacted.conversation', 'compactContext'],
    ['talk-approved.conversation', 'openApprovals'],
    ['talk-refused.conversation', 'openApprovals'],
    ['talk-waited.conversation', 'awaitMoney'],
    ['talk-shown.conversation', 'SpendlockCostUsd'],
    ['talk-continued.conversation', 'workflowExecutionContinuedAsNew'],
    ['talk-carried.conversation', 'continuedExecutionRunId'],
    ['kept-looking.lookAfter', 'continuedExecutionRunId'],
    ['kept-sweeping.sweepSandboxes', 'workflowExecutionContinuedAsNew'],
    ['kept-forgetting.forgetOld', 'workflowExecutionContinuedAsNew'],
  ])('there is one of %s, in which that happens', (name, ...signs) => {
    const [file] = files.filter((candidate) => candidate.endsWith(`${name}.json`));
    for (const sign of signs) expect(read(file ?? '')).toContain(sign);
  });

  test('name no file of the machine that recorded them', () => {
    for (const file of files) expect(readFileSync(path.join(histories, file), 'utf8')).not.toMatch(/[ (]\/[\w.-]+\//);
  });

  test('replay on the current code', async () => {
    const { status, results } = await replay();
    expect(results.filter(({ replays }) => !replays)).toEqual([]);
    expect(results).toHaveLength(files.length);
    expect(status).toBe(0);
  });

  test.each([
    ['agentRun', 'completed.agentRun.json', '"callModel"', '"callAnotherModel"'],
    ['conversation', 'talk-completed.conversation.json', '"beginTurn"', '"beginSpeech"'],
    ['tenantBudget', 'denied.tenantBudget.json', '"sendAlerts"', '"sendLetters"'],
  ])('a changed history of %s is told from the code', async (_type, file, from, to) => {
    const dir = mkdtempSync(path.join(tmpdir(), 'spendlock-replay-'));
    const source = path.join(histories, files.find((name) => name.endsWith(file)) ?? '');
    cpSync(source, path.join(dir, file));
    const text = readFileSync(source, 'utf8');
    expect(text).toContain(from);
    writeFileSync(path.join(dir, file), text.replaceAll(from, to));
    const { status, results } = await replay('--dir', dir);
    expect(results).toMatchObject([{ replays: false }]);
    expect(status).toBe(1);
  });
});

describe('a history fetched from a server', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start();
  });
  afterAll(() => stack.stop());

  test('replays, and replaying counts no spend twice (F13)', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    const books = await stack.books(tenantId);
    const calls = stack.anthropic.calls();
    const address = process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '';
    for (const workflowId of [run.workflowId, budgetWorkflowId(tenantId)]) {
      expect(await replay('--workflow-id', workflowId, '--address', address)).toMatchObject({
        status: 0,
        results: [{ replays: true }],
      });
    }
    expect(await stack.books(tenantId)).toEqual(books);
    expect(stack.anthropic.calls()).toEqual(calls);
  });

  test('all that is open in a namespace replays before a deploy; an export of the CLI does too', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    const address = process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '';
    await until('it can be listed', async () => {
      const listed = stack.temporal.workflow.list({ query: `WorkflowId = '${run.workflowId}'` });
      for await (const { status } of listed) if (status.name === 'COMPLETED') return true;
      return false;
    });
    const { status, results } = await replay(
      '--open',
      '--sample',
      '3',
      '--address',
      address,
      '--task-queue-prefix',
      stack.prefix,
    );
    expect(results.filter(({ replays }) => !replays)).toEqual([]);
    expect(results.some(({ name }) => name.startsWith('agentRun '))).toBe(true);
    expect(results.some(({ name }) => name.startsWith('tenantBudget '))).toBe(true);
    expect(status).toBe(0);
    // As `temporal workflow show --output json` prints it: events with names of enums in capitals.
    const dir = mkdtempSync(path.join(tmpdir(), 'spendlock-export-'));
    const history = await stack.temporal.workflow.getHandle(run.workflowId).fetchHistory();
    writeFileSync(path.join(dir, 'exported.json'), historyToJSON(history));
    expect(await replay('--dir', dir)).toMatchObject({ status: 0, results: [{ replays: true }] });
  });
});
