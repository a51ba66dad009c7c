/** What a person starts by hand from Temporal UI, its CLI or a client: what cannot be meant ends at once, in words. */
import { randomUUID } from 'node:crypto';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';
import { budgetWorkflowId, conversationWorkflowId, runWorkflowId, taskQueues } from '../../contracts/messages';

describe('a workflow that a person starts by hand', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const queueOf = (type: string): string => {
    const { runs, budget } = taskQueues(stack.prefix);
    return type === 'agentRun' || type === 'conversation' ? runs : budget;
  };
  const start = (type: string, args: unknown[], workflowId = `by-hand/${randomUUID()}`): Promise<WorkflowHandle> =>
    stack.temporal.workflow.start(type, { workflowId, taskQueue: queueOf(type), args });
  /** How it ended: with which failure. */
  async function failureOf(handle: WorkflowHandle): Promise<{ type?: string | null; message?: string }> {
    await until(`${handle.workflowId} ended`, async () => (await handle.describe()).status.name !== 'RUNNING').finally(
      () => handle.terminate('by a test').catch(() => undefined),
    );
    const error = await handle.result().then(
      () => undefined,
      (failed: unknown) => failed,
    );
    if (!(error instanceof WorkflowFailedError)) throw new Error(`${handle.workflowId} did not fail`);
    const { type, message } = error.cause as { type?: string; message: string };
    return { ...(type === undefined ? {} : { type }), message };
  }
  const failedTasks = async (handle: WorkflowHandle): Promise<number> =>
    ((await handle.fetchHistory()).events ?? []).filter((event) => event.workflowTaskFailedEventAttributes).length;

  const runId = randomUUID();
  const run = {
    runId,
    tenantId: 'acme',
    model: 'claude-haiku-4-5',
    maxOutputTokens: 100,
    maxSteps: 2,
    timeoutSeconds: 30,
    sandboxTier: 'standard',
    sandboxWindowSeconds: 60,
  };
  const nothing: unknown[][] = [[], [null], ['x'], [7], [[]], [{}]];
  const cases: [string, unknown[][]][] = [
    [
      'agentRun',
      [
        ...nothing,
        [{ ...run, runId: 'not-a-uuid' }],
        [{ ...run, tenantId: 7 }],
        [{ ...run, tenantId: 'a\u0000b' }],
        [{ ...run, timeoutSeconds: 'long' }],
        [{ ...run, timeoutSeconds: 1e300 }],
        [{ ...run, maxSteps: -1 }],
        [{ ...run, maxCostUsd: 'many' }],
        [{ ...run, maxCostUsd: 1 }],
        [{ ...run, unavailable: { then: 'perhaps', afterMs: 10 } }],
        [{ ...run, fallbackModels: 'gpt-4o' }],
        [{ ...run, tools: { run_code: { requiresApproval: 'true' } } }],
        [{ ...run, sandboxIdle: { pauseSeconds: null } }],
      ],
    ],
    [
      'conversation',
      [
        ...nothing,
        [{ ...run, runId: 'not-a-uuid' }],
        [{ ...run, carried: 7 }],
        [{ ...run, carried: { step: 1, turn: { turnId: randomUUID(), firstStep: 1, leftMs: 'x', spentUsd: '0' } } }],
        [{ ...run, carried: { step: 1, turn: { turnId: randomUUID(), firstStep: 1, leftMs: 5, spentUsd: 'x' } } }],
        [{ ...run, carried: { step: 1, sandbox: { state: 'open' } } }],
      ],
    ],
    [
      'tenantBudget',
      [
        ...nothing,
        [{ tenantId: 7 }],
        [{ tenantId: 'acme', carried: 7 }],
        [{ tenantId: 'acme', last: 7 }],
        [{ tenantId: 'acme', last: { quotas: [{ scope: 'tenant' }] } }],
        [{ tenantId: 'acme', last: { quotas: [], nextWakeUpAt: 'soon' } }],
      ],
    ],
    ['lookAfter', [['x'], [7], [[]], [{ once: 'yes' }], [{ everySeconds: 1e300 }], [{ rounds: 'many' }]]],
  ];

  test.each(cases)('%s with what cannot be meant fails at once, and says what is wrong', async (type, inputs) => {
    const started = await Promise.all(inputs.map(async (args) => ({ args, handle: await start(type, args) })));
    const came = await Promise.all(
      started.map(async ({ args, handle }) => ({
        args,
        ...(await failureOf(handle).catch((error: Error) => ({ type: error.message, message: '' }))),
        failedTasks: await failedTasks(handle),
      })),
    );
    for (const { args, ...end } of came)
      expect({ args, ...end }).toMatchObject({ args, type: 'invalid_request', failedTasks: 0 });
    for (const { message } of came) expect(message).toMatch(new RegExp(`^The input of ${type} cannot be used: .*\\.`));
  });

  test('an argument in an encoding that nobody knows is none either', async () => {
    const { workflowService } = stack.connection;
    for (const type of ['agentRun', 'conversation', 'tenantBudget']) {
      const workflowId = `by-hand/${randomUUID()}`;
      await workflowService.startWorkflowExecution({
        namespace: 'default',
        workflowId,
        workflowType: { name: type },
        taskQueue: { name: queueOf(type) },
        requestId: randomUUID(),
        input: { payloads: [{ metadata: { encoding: Buffer.from('binary/odd') }, data: Buffer.from('{') }] },
      });
      expect(await failureOf(stack.temporal.workflow.getHandle(workflowId))).toMatchObject({ type: 'invalid_request' });
    }
  });

  test('under the id of another run, conversation or tenant it fails, and decides nothing', async () => {
    const [tenantId, other] = [await stack.tenant('5'), await stack.tenant('5')];
    const wrong: [string, string, unknown][] = [
      ['agentRun', runWorkflowId(randomUUID()), run],
      ['conversation', conversationWorkflowId(randomUUID()), run],
      ['tenantBudget', budgetWorkflowId(tenantId), { tenantId: other }],
    ];
    for (const [type, workflowId, input] of wrong)
      expect(await failureOf(await start(type, [input], workflowId))).toMatchObject({ type: 'invalid_request' });
    const operationId = randomUUID();
    await stack.signal(tenantId, [
      {
        type: 'reserve',
        operationId,
        resource: 'llm',
        amountUsd: '1',
        priceVersion: 'x',
        ttlSeconds: 60,
        kind: 'call',
      },
    ]);
    await until('its own authority decides', async () => (await stack.books(tenantId)).reservedUsd === '1');
    expect((await stack.books(other)).reservedUsd).toBe('0');
  });

  test('a conversation that is not on record, or has ended, ends instead of waiting for messages for good', async () => {
    const tenantId = await stack.tenant('5');
    const stray = await start('conversation', [{ ...run, runId: randomUUID(), tenantId }]);
    expect(await failureOf(stray)).toMatchObject({ type: 'not_found' });
    const talk = await TestConversation.start(api, tenantId);
    await talk.close();
    const late = await start('conversation', [{ ...run, runId: talk.id, tenantId }]);
    expect(await failureOf(late)).toMatchObject({ type: 'conversation_ended' });
  });

  test('what an authority is said to carry is decided as far as it can be', async () => {
    const tenantId = await stack.tenant('5');
    const operationId = randomUUID();
    const reserve = {
      type: 'reserve',
      operationId,
      resource: 'llm',
      amountUsd: '1',
      priceVersion: 'x',
      ttlSeconds: 60,
    };
    const carried = [null, 7, { type: 'no such type' }, { ...reserve, kind: 'call' }];
    const handle = await start('tenantBudget', [{ tenantId, carried }], budgetWorkflowId(tenantId));
    await until('it is decided', async () => (await stack.books(tenantId)).reservedUsd === '1');
    expect(await failedTasks(handle)).toBe(0);
  });
});
