/** What an operator finds in Temporal UI alone: it shows search attributes, summaries, details and the answers of queries. */
import { type temporal } from '@temporalio/proto';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';
import { budgetWorkflowId } from '../../contracts/messages';

describe('Temporal UI', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** The ids of the workflows that a query of the UI's list finds. */
  const found = async (query: string): Promise<string[]> => {
    const ids: string[] = [];
    for await (const { workflowId } of stack.temporal.workflow.list({ query })) ids.push(workflowId);
    return ids;
  };
  /** The current details of a workflow, as its page asks for them. */
  const details = async (workflowId: string): Promise<string> => {
    const metadata = await stack.temporal.workflow
      .getHandle(workflowId)
      .query<temporal.api.sdk.v1.IWorkflowMetadata>('__temporal_workflow_metadata');
    return (metadata.currentDetails ?? '').replaceAll('\u00a0', '');
  };

  test('which quota denied a run, and which runs were denied at all', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = await stack.run({ tenantId, userId: 'ada' });
    expect(run.status).toBe('quota_exceeded');
    const query = `SpendlockTenantId = "${tenantId}" AND SpendlockDenied = true`;
    expect(await until('it is listed', async () => (await found(query))[0])).toBe(run.workflowId);
    expect(await found(`${query} AND SpendlockRunStatus = "quota_exceeded" AND SpendlockUserId = "ada"`)).toHaveLength(
      1,
    );
    const page = await details(run.workflowId);
    expect(page).toMatch(/\*\*Refused:\*\* The \w+ quota of tenant/);
    expect(page).toMatch(/\| 1 llm\.call \| denied \| 0\.\d+ \|  \|  \|/);
  });

  test('what a run cost, step by step, and which ones cost more than so much', async () => {
    const tenantId = await stack.tenant('5');
    const model = 'claude-haiku-4-5';
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    const run = await stack.run({ tenantId, model });
    const query = `SpendlockTenantId = "${tenantId}" AND SpendlockModel = "${model}"`;
    const costs = Number(run.costUsd);
    await until('its cost is listed', async () => (await found(`${query} AND SpendlockCostUsd > 0`)).length === 1);
    expect(await found(`${query} AND SpendlockCostUsd >= ${costs} AND SpendlockCostUsd <= ${costs}`)).toEqual([
      run.workflowId,
    ]);
    expect(await found(`${query} AND SpendlockCostUsd > ${costs * 2}`)).toEqual([]);
    const rows = (await details(run.workflowId)).split('\n').filter((line) => /^\| \d/.test(line));
    expect(rows).toHaveLength(3);
    expect(rows[0]).toContain(
      `| ended | ${String(run.steps[0]?.requestedUsd)} |  | ${String(run.steps[0]?.committedUsd)} |`,
    );
  });

  /** What the page says that a step cost, by the amounts that its line asks for. */
  const costs = async (workflowId: string): Promise<string[]> =>
    (await details(workflowId))
      .split('\n')
      .filter((line) => /^\| \d/.test(line))
      .map((line) => line.split('|').at(-2)?.trim() ?? '');

  test('XE11: what each sandbox and each attempt cost that nobody knows of', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.failNext = [{ type: 'cut-before-usage' }];
    stack.anthropic.knobs.replies = [{ text: 'cut off' }, { text: '', code: 'console.log(1)' }, { text: 'one' }];
    const run = await stack.run({ tenantId });
    expect(run.status).toBe('completed');
    expect(run.steps.map(({ settlement }) => settlement)).toEqual(['unverified', 'actual', 'actual', 'actual']);
    expect(await costs(run.workflowId)).toEqual(
      run.steps.map(
        ({ committedUsd, settlement }) => `${committedUsd}${settlement === 'unverified' ? ' unverified' : ''}`,
      ),
    );
  });

  test('XE11: what the sandbox of a conversation cost, when it rests and when it was ended', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { sandbox: { pauseAfterSeconds: 1 } });
    for (const text of ['one', 'two']) {
      stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text }];
      expect(await talk.ended(await talk.post('Count.'))).toBe('completed');
      await until('its sandbox rests, and all costs are shown', async () =>
        (await costs(talk.workflowId)).every((cost) => Number(cost) > 0),
      );
    }
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'three' }];
    expect(await talk.ended(await talk.post('Count.'))).toBe('completed');
    await talk.close();
    await stack.ended(talk.workflowId);
    const shown = await costs(talk.workflowId);
    expect(shown).toHaveLength(9);
    const { body } = await api.call('GET', `/v1/cost-records?conversationId=${talk.id}`, { key: talk.key });
    const booked = (body.records as { amountUsd: string }[]).map(({ amountUsd }) => amountUsd);
    expect([...shown].sort()).toEqual([...booked].sort());
  });

  test('which runs hold money now', async () => {
    const tenantId = await stack.tenant('5');
    const query = `SpendlockTenantId = "${tenantId}" AND SpendlockHoldsMoney = true AND ExecutionStatus = "Running"`;
    const talk = await TestConversation.start(api, tenantId, { sandbox: { pauseAfterSeconds: 1 } });
    stack.anthropic.knobs.deltaSpacingMs = 700;
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one two three' }];
    const turnId = await talk.post('Count.');
    await until('it holds money', async () => (await found(query))[0] === talk.workflowId);
    await until('its table says how much', async () =>
      /\| holds \| [\d.]+ \| [\d.]+ \|/.test(await details(talk.workflowId)),
    );
    await talk.ended(turnId);
    await until('its sandbox rests, and it holds none', async () => (await found(query)).length === 0);
    await talk.close();
  });

  test('what a tenant has left', async () => {
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId });
    const page = await details(budgetWorkflowId(tenantId));
    const { remainingUsd = '' } =
      /\| tenant \S+ all, month \| (?<remainingUsd>[\d.]+) \| [\d.]+ \| 0 \| 5 \|/.exec(page)?.groups ?? {};
    expect(Number(remainingUsd)).toBeCloseTo(5 - Number(run.costUsd), 9);
  });

  test('what each event is about: summaries of activities and timers, and of the workflow', async () => {
    const tenantId = await stack.tenant('5');
    const { workflowId } = await stack.run({ tenantId, userId: 'ada' });
    const handle = stack.temporal.workflow.getHandle(workflowId);
    const { events } = await handle.fetchHistory();
    const summaries = (events ?? []).flatMap(({ userMetadata }) => {
      const data = userMetadata?.summary?.data;
      return data ? [JSON.parse(Buffer.from(data).toString()) as string] : [];
    });
    expect(summaries).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^claude-haiku-4-5, at most \$0\.\d+$/),
        expect.stringMatching(/^\$0\.\d+ for llm\.call$/),
        'time limit',
      ]),
    );
    const { staticDetails } = (await handle.describe()) as unknown as { staticDetails: () => Promise<string> };
    expect(await staticDetails()).toContain(`Tenant **${tenantId}**, user **ada**`);
  });
});
