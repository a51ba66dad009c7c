import { randomUUID } from 'node:crypto';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { MockActivityEnvironment } from '@temporalio/testing';
import { Coalescer } from '../../authority/client/coalescer';
import { TemporalSignals } from '../../authority/client/signals';
import { PaidCalls } from '../../activities/budget/paid-calls';
import type { CallModel } from '../../contracts/llm';
import { createLlmActivities } from '../../activities/llm';
import { anthropicProvider } from '../../activities/llm/anthropic';
import { ReplyFeed } from '../../activities/llm/reply-feed';
import { decideAndRecord } from '../../store/budget-batch';
import { createPool, type Pool } from '../../store/pool';
import { readPrices } from '../../store/prices';
import { createRun } from '../../store/runs';
import { createLog } from '../../telemetry/log';
import { runWorkflowId, taskQueues } from '../../contracts/messages';
import { settlementsOf } from '../support/proxy';
import { TestStack } from '../support/stack';
import { startTcpRelay, type TcpRelay } from '../support/tcp-relay';

describe('the activity that calls the model', () => {
  let stack: TestStack;
  let call: (request: CallModel) => Promise<unknown>;
  let coalescer: Coalescer;
  /** Between the activity and Postgres. */
  let relay: TcpRelay;
  let pool: Pool;
  /** Whoever has claimed waits for it before the provider is called. */
  let beforeCall: Promise<unknown> | undefined;
  beforeAll(async () => {
    stack = await TestStack.start();
    const database = new URL(stack.database.appUrl);
    relay = await startTcpRelay(database.host);
    database.host = relay.address;
    pool = createPool(database.href);
    const log = createLog({ name: 'test', level: 'silent' });
    coalescer = new Coalescer({
      signals: new TemporalSignals({ client: stack.temporal, taskQueue: taskQueues(stack.prefix).budget }),
    });
    const activities = createLlmActivities({
      pool,
      providers: { anthropic: anthropicProvider({ apiKey: 'stand-in', baseURL: stack.anthropic.url }) },
      feed: new ReplyFeed({ pool, log }),
      prices: () => readPrices(pool),
      paidCalls: new PaidCalls({
        pool,
        coalescer,
        log,
        atPoint: async (point) => void (point === 'llm.claimed' && (await beforeCall)),
      }),
      log,
      codeLanguages: ['javascript'],
    });
    // Refusals are what is tested; Temporal need not tell of them too.
    Runtime.install({ logger: new DefaultLogger('ERROR') });
    call = (request) =>
      new MockActivityEnvironment({ startToCloseTimeoutMs: 120_000 }).run(
        (asked: CallModel) => activities.callModel(asked),
        request,
      );
  });
  afterAll(async () => {
    await coalescer.drain();
    await pool.end();
    await relay.close();
    await stack.stop();
  });

  /** A run, and a call of its that is granted, or is not. */
  async function prepared(tenantId: string, { isGranted }: { isGranted: boolean }): Promise<CallModel> {
    const runId = randomUUID();
    const operationId = randomUUID();
    const model = 'claude-haiku-4-5';
    await createRun(stack.pool, { runId, tenantId, workflowId: runWorkflowId(runId), model, task: 'Say something.' });
    const priceVersion =
      (await readPrices(stack.pool)).models.find((price) => price.model === model)?.priceVersion ?? '';
    const decided = await decideAndRecord(stack.pool, {
      tenantId,
      commands: [
        {
          type: 'reserve',
          operationId,
          resource: 'llm',
          amountUsd: isGranted ? '1' : '999',
          priceVersion,
          ttlSeconds: 60,
          kind: 'llm.call',
          runId,
        },
      ],
      enforced: { llm: true, e2b: true },
      timeoutMs: 3_000,
    });
    expect(decided?.decision.answers).toMatchObject([{ decision: isGranted ? 'granted' : 'denied' }]);
    const plan = { model, priceVersion, inputTokens: 500, maxOutputTokens: 1000, amountUsd: '1', minimumUsd: '1' };
    return { tenantId, runId, operationId, step: 1, plan, grantedUsd: '1' };
  }

  test('makes one call when it is started twice at once', async () => {
    const request = await prepared(await stack.tenant('5'), { isGranted: true });
    const before = stack.anthropic.calls().billable;
    // The one that claims calls once the other has been turned away, however slow this machine is.
    let goOn = (): void => undefined;
    beforeCall = new Promise<void>((resolve) => (goOn = resolve));
    const both = [call(request), call(request)];
    for (const one of both) one.catch(goOn);
    const results = await Promise.allSettled(both);
    const ends = results.map((result) => (result.status === 'fulfilled' ? result.status : String(result.reason)));
    expect(ends.sort()).toEqual([expect.stringContaining('claim'), 'fulfilled']);
    const rejected = results.find((result) => result.status === 'rejected');
    expect(rejected?.reason).toMatchObject({ type: 'claim_refused', nonRetryable: true });
    expect(stack.anthropic.calls().billable - before).toBe(1);
    // Started once more it answers what was bought.
    const [made] = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(await call(request)).toEqual(made);
    expect(stack.anthropic.calls().billable - before).toBe(1);
  });

  test('makes no call without a grant: denied, or never asked for', async () => {
    const tenantId = await stack.tenant('5');
    const before = stack.anthropic.calls();
    const denied = await prepared(tenantId, { isGranted: false });
    await expect(call(denied)).rejects.toMatchObject({ type: 'claim_refused' });
    await expect(call({ ...denied, operationId: randomUUID() })).rejects.toMatchObject({ type: 'claim_refused' });
    expect(stack.anthropic.calls()).toEqual(before);
  });

  test('makes no call where nobody knows whether it is claimed, and gives the money back', async () => {
    const tenantId = await stack.tenant('5');
    const request = await prepared(tenantId, { isGranted: true });
    const before = stack.anthropic.calls();
    relay.loseAnswers('claim_reservation', 2);
    await expect(call(request)).rejects.toMatchObject({
      type: 'authority_unavailable',
      details: [{ settled: true, retry: true }],
    });
    expect(stack.anthropic.calls()).toEqual(before);
    expect(await settlementsOf(stack, tenantId)).toEqual(['released']);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });
});
