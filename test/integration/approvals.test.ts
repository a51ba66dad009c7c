import { conversationWorkflowId } from '../../contracts/messages';
import { decideApproval, findUntoldDecisions } from '../../store/approvals';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

interface Approval {
  approvalId: string;
  kind: string;
  tool: string;
  input: Record<string, unknown>;
  status: string;
}

describe('asking a person', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const start = async (tools: object[]): Promise<TestConversation> =>
    TestConversation.start(api, await stack.tenant('5'), { tools });
  const pending = (talk: TestConversation): Promise<Approval> =>
    until('somebody is asked', async () => {
      const { body } = await api.call('GET', `/v1/approvals?runId=${talk.id}`, { key: talk.key });
      return (body.approvals as Approval[]).find(({ status }) => status === 'pending');
    });
  const decide = (talk: TestConversation, { approvalId }: Approval, body: object) =>
    api.call('POST', `/v1/approvals/${approvalId}`, { key: talk.key, body });
  /** What the tools answered, in order. */
  const results = async (talk: TestConversation): Promise<unknown[]> =>
    (await talk.messages()).flatMap(({ content }) =>
      content.flatMap((block) => (block.type === 'tool_result' ? [(block as { content?: unknown }).content] : [])),
    );

  test('what was terminated from outside waits for no decision any more, before anybody noted its end', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(6 * 7)' }];
    await talk.post('Compute.');
    const asked = await pending(talk);
    await stack.temporal.workflow.getHandle(conversationWorkflowId(talk.id)).terminate();
    expect(await decide(talk, asked, { decision: 'approve', author: 'ada' })).toMatchObject({
      status: 409,
      body: {
        error: 'approval_decided',
        message: expect.stringContaining('has ended, and waits for no decision') as string,
      },
    });
  });

  test('a tool that requires approval runs after a person approved it, holding no sandbox meanwhile', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
    const turnId = await talk.post('Compute.');
    const asked = await pending(talk);
    expect(asked).toMatchObject({ kind: 'approval', tool: 'run_code', input: { code: 'console.log(6 * 7)' } });
    expect(stack.e2b.calls().alive).toEqual([]);
    const { approvalId } = asked;
    const waits = {
      status: 'waiting_for_approval',
      waitingFor: { kind: 'approval', approvals: [{ approvalId, tool: 'run_code', kind: 'approval' }] },
    };
    expect(await talk.show()).toMatchObject(waits);
    const listed = await api.call('GET', '/v1/runs?type=conversation&status=waiting_for_approval', { key: talk.key });
    expect(listed.body).toMatchObject({ runs: [{ runId: talk.id, ...waits }] });
    expect(await decide(talk, asked, { decision: 'answer', answer: 'yes' })).toMatchObject({ status: 400 });
    expect(await decide(talk, asked, { decision: 'approve', author: 'ada' })).toMatchObject({
      status: 200,
      body: { status: 'approved', decidedBy: 'ada' },
    });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await talk.show()).toMatchObject({ status: 'running', waitingFor: { kind: 'message' } });
    expect(await results(talk)).toEqual(['42\n']);
    // The same again changes nothing; the opposite is refused.
    expect(await decide(talk, asked, { decision: 'approve' })).toMatchObject({ status: 200 });
    expect(await decide(talk, asked, { decision: 'refuse' })).toMatchObject({
      status: 409,
      body: { error: 'approval_decided' },
    });
    await talk.close();
  });

  test('XE19: who starts a conversation with an agent’s key cannot approve its own tool; an operator can, and is on record', async () => {
    const tenantId = await stack.tenant('5');
    const [operator, reader] = [await api.keyOf(tenantId, 'operator'), await api.keyOf(tenantId, 'reader')];
    const tools = [{ name: 'run_code', requiresApproval: true }];
    const talk = await TestConversation.start(api, tenantId, { tools }, 'agent');
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(2 * 21)' }, { text: 'It is 42.' }];
    const turnId = await talk.post('Compute.');
    const { approvalId } = await pending(talk);
    const approve = (key: string) =>
      api.call('POST', `/v1/approvals/${approvalId}`, { key, body: { decision: 'approve', author: 'ada' } });
    for (const key of [talk.key, reader])
      expect(await approve(key)).toMatchObject({ status: 403, body: { error: 'forbidden' } });
    expect((await pending(talk)).status).toBe('pending');
    const { body: by } = await api.call('GET', '/v1/keys/current', { key: operator });
    expect(await approve(operator)).toMatchObject({
      status: 200,
      body: { status: 'approved', decidedBy: 'ada', decidedByKeyId: by.apiKeyId, decidedByRole: 'operator' },
    });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await results(talk)).toEqual(['42\n']);
    await talk.close();
  });

  test('a refused tool is not run, and the model is told why', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(1)' }, { text: 'Then not.' }];
    const turnId = await talk.post('Compute.');
    await decide(talk, await pending(talk), { decision: 'refuse', answer: 'not today' });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await results(talk)).toEqual(['A person refused it, and said: not today']);
    await talk.close();
  });

  test('a question of the model is answered by a person; no sandbox is made for it', async () => {
    const created = stack.e2b.calls().created;
    const talk = await start([{ name: 'ask_person' }]);
    const question = { question: 'Which year?' };
    stack.anthropic.knobs.replies = [
      { text: 'I have to ask.', tools: [{ name: 'ask_person', input: question }] },
      { text: 'Thank you.' },
    ];
    const turnId = await talk.post('Do it.');
    const asked = await pending(talk);
    expect(asked).toMatchObject({ kind: 'question', input: question });
    expect(await decide(talk, asked, { decision: 'answer' })).toMatchObject({ status: 400 });
    await decide(talk, asked, { decision: 'answer', answer: '1984' });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await results(talk)).toEqual(['1984']);
    expect(stack.e2b.calls().created).toBe(created);
    await talk.close();
  });

  test('a decision from Temporal UI is a signal', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log("signalled")' }, { text: 'Done.' }];
    const turnId = await talk.post('Compute.');
    const { approvalId } = await pending(talk);
    await stack.temporal.workflow
      .getHandle(talk.workflowId)
      .signal('decideApproval', { approvalId, decision: 'approve', decidedBy: 'an operator' });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await results(talk)).toEqual(['signalled\n']);
    await talk.close();
  });

  test('the command line lists what is asked, approves and refuses', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log("by cli")' }, { text: 'Done.' }];
    const turnId = await talk.post('Compute.');
    const { approvalId } = await pending(talk);
    const listed = await spendlock(api, 'approvals', 'list', talk.tenantId);
    expect(listed.out).toContain(approvalId);
    expect(listed.out).toContain('run_code');
    const approved = await spendlock(api, 'approvals', 'approve', talk.tenantId, approvalId);
    expect(approved).toMatchObject({ status: 0 });
    expect(await talk.ended(turnId)).toBe('completed');
    const late = await spendlock(api, 'approvals', 'refuse', talk.tenantId, approvalId, '--reason', 'no');
    expect(late).toMatchObject({ status: 1 });
    expect(late.err).toContain('approved before');
    await talk.close();
  });

  test('an interrupted turn withdraws what it asked', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'Hello.' }];
    const turnId = await talk.post('Compute.');
    const asked = await pending(talk);
    await talk.call('POST', '/interrupt', {});
    expect(await talk.ended(turnId)).toBe('interrupted');
    expect(await decide(talk, asked, { decision: 'approve' })).toMatchObject({
      status: 409,
      body: { error: 'approval_decided' },
    });
    // What was not run is told to the model, which would refuse a call without a result.
    expect(await talk.ended(await talk.post('Hello?'))).toBe('completed');
    await talk.close();
  });

  test('a decision whose process ended before it told the workflow reaches it with the next look', async () => {
    const startNow = await stack.takeOverSchedules();
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log("late")' }, { text: 'Done.' }];
    const turnId = await talk.post('Compute.');
    const { approvalId } = await pending(talk);
    const { tenantId } = talk;
    await stack.rests(talk.workflowId);
    await decideApproval(stack.pool, { tenantId, approvalId }, { decision: 'approve', decidedBy: 'ada' });
    // Whoever decided may still be about to tell it.
    expect(await startNow('lookAfter')).toMatchObject({ told: 0 });
    expect(await talk.turns()).toMatchObject([{ turnId, status: 'running' }]);
    await stack.admin.query(
      `UPDATE copilot_internal.approvals SET decided_at = decided_at - interval '1 minute' WHERE approval_id = $1`,
      [approvalId],
    );
    expect(await startNow('lookAfter')).toMatchObject({ told: 1 });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await results(talk)).toEqual(['late\n']);
    expect(await startNow('lookAfter')).toMatchObject({ told: 0 });
    await talk.close();
  });

  test('a decision that its workflow has looked up needs no telling', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'Done.' }];
    const turnId = await talk.post('Compute.');
    await decide(talk, await pending(talk), { decision: 'approve' });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await findUntoldDecisions(stack.pool, { waitedMs: 0, max: 10 })).toEqual([]);
    await talk.close();
  });

  test('another tenant can neither see nor decide it', async () => {
    const talk = await start([{ name: 'run_code', requiresApproval: true }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }];
    await talk.post('Compute.');
    const asked = await pending(talk);
    const other = await api.keyOf(await stack.tenant('5'));
    expect((await api.call('GET', '/v1/approvals', { key: other })).body).toEqual({
      approvals: [],
      nextCursor: null,
    });
    expect(
      await api.call('POST', `/v1/approvals/${asked.approvalId}`, { key: other, body: { decision: 'approve' } }),
    ).toMatchObject({ status: 404 });
    await talk.close();
  });

  test('a tool with a price is reserved and committed like any other paid step', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { tools: [{ name: 'run_code', priceUsd: '0.25' }] });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log("paid")' }, { text: 'Done.' }];
    await talk.say('Compute.');
    expect(await results(talk)).toEqual(['paid\n']);
    const { body } = await api.call('GET', `/v1/cost-records?conversationId=${talk.id}&kind=tool.call`, {
      key: talk.key,
    });
    expect(body.records).toMatchObject([{ amountUsd: '0.25', settlement: 'actual', usage: { tools: ['run_code'] } }]);
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });
});
