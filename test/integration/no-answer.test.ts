/** Replies that are no answer: without a word and without a call of a tool, or with a call that their provider cannot read. */
import type { FixedReply } from '../../scripts/stand-ins/knobs';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { endedRun } from '../support/http-runs';
import { withInstallation } from '../support/installation';
import { historyOf } from '../support/kept-words';
import type { TestStack } from '../support/stack';

type Provider = 'anthropic' | 'openai' | 'google';

describe('a reply that is no answer', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const begin = async (body: object) => {
    const { run, runId, workflowId, key } = await endedRun({ stack, api }, { task: 'Add one and two.', ...body });
    const { body: said } = await api.call('GET', `/v1/runs/${runId}/messages?limit=100`, { key });
    const calls = run.steps.filter(({ kind }) => kind === 'llm.call').map(({ settlement }) => settlement);
    return { run, calls, said: JSON.stringify(said), history: await historyOf(stack, workflowId) };
  };

  const settings = { thinkingBudgetTokens: 1_024 };
  // prettier-ignore
  const cases: [what: string, model: string, provider: Provider, reply: FixedReply, told: string, more: object][] = [
    ['nothing', 'claude-haiku-4-5', 'anthropic', {}, 'it has no words and calls no tool (its provider ended it as end_turn)', {}],
    ['a thought alone', 'claude-haiku-4-5', 'anthropic', {}, 'no words', { settings }],
    ['blanks', 'claude-haiku-4-5', 'anthropic', { text: ' \n' }, 'no words', {}],
    ['nothing', 'gpt-5', 'openai', {}, 'it has no words and calls no tool (its provider ended it as completed)', {}],
    ['a thought alone', 'gpt-5', 'openai', {}, 'no words', { settings: { effort: 'low' } }],
    ['nothing', 'gemini-2.5-flash', 'google', { endedAs: 'OTHER' }, 'no words and calls no tool (its provider ended it as OTHER)', {}],
    ['a malformed call', 'gemini-2.5-flash', 'google', { endedAs: 'MALFORMED_FUNCTION_CALL' }, 'its call of a tool cannot be read (its provider ended it as MALFORMED_FUNCTION_CALL)', {}],
    ['words and a malformed call', 'gemini-2.5-flash', 'google', { text: 'I look.', endedAs: 'MALFORMED_FUNCTION_CALL' }, 'its call of a tool cannot be read', {}],
    ['an unexpected call', 'gemini-2.5-flash', 'google', { endedAs: 'UNEXPECTED_TOOL_CALL' }, '(its provider ended it as UNEXPECTED_TOOL_CALL)', {}],
  ];

  test.each(cases)(
    '%s (%s) is asked for once more, and each call is paid',
    async (_, model, provider, none, told, more) => {
      stack[provider].knobs.replies = [none, { text: 'Three.' }];
      const { run, calls, said } = await begin({ model, limits: { maxSteps: 1 }, ...more });
      expect(run).toMatchObject({ status: 'completed', answer: 'Three.' });
      expect(calls).toEqual(['actual', 'actual']);
      const words = expect.stringContaining(`Your answer cannot be used: `) as unknown;
      expect(said).toEqual(words);
      expect(said).toContain(told);
      expect(JSON.stringify(stack[provider].lastRequest())).toEqual(words);
    },
  );

  test.each(cases)(
    '%s (%s) again fails its run with what its provider said',
    async (_, model, provider, none, told, more) => {
      stack[provider].knobs.replies = [none, none, { text: 'Three.' }];
      const { run, calls, history } = await begin({ model, ...more });
      expect(run).toMatchObject({ status: 'failed', answer: null });
      expect(run.failure).toEqual({
        code: 'answer_invalid',
        message: expect.stringMatching(
          /^The model was asked for an answer twice and gave none[.] What was said and found before is kept, and what it cost is on record[.] What does not fit: /,
        ) as unknown,
      });
      expect((run.failure as { message: string }).message).toContain(told);
      expect(calls).toEqual(['actual', 'actual']);
      expect(history).toContain('"misfit":"again"');
      expect(history).not.toMatch(/I look|no words|cannot be read/);
    },
  );

  test('after a tool is asked for once more, and may call tools again', async () => {
    const code = { code: 'console.log(1 + 2)' };
    stack.google.knobs.replies = [code, { endedAs: 'MALFORMED_FUNCTION_CALL' }, code, { text: 'Three.' }];
    const { run, calls } = await begin({ model: 'gemini-2.5-flash' });
    expect(run).toMatchObject({ status: 'completed', answer: 'Three.' });
    expect(calls).toHaveLength(4);
  });

  test('fails its run by a schema as an answer that does not fit', async () => {
    stack.google.knobs.replies = [{ endedAs: 'OTHER' }, { endedAs: 'OTHER' }];
    const { run } = await begin({ model: 'gemini-2.5-flash', answerSchema: { type: 'integer' } });
    expect(run.failure).toEqual({
      code: 'answer_invalid',
      message: expect.stringMatching(/^The answer does not fit its schema[.].* ended it as OTHER/) as unknown,
    });
  });

  test('whose provider took it for personal data is a refusal', async () => {
    stack.google.knobs.replies = [{ endedAs: 'SPII' }];
    const { run, calls } = await begin({ model: 'gemini-2.5-flash' });
    expect(run.failure).toMatchObject({ code: 'model_refused' });
    expect(calls).toEqual(['actual']);
  });

  test('of a conversation is asked for once more in each turn, and a turn that failed is gone on from', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('50'), { model: 'claude-haiku-4-5', settings });
    stack.anthropic.knobs.replies = [{}, { text: 'One.' }, {}, {}, { text: 'Three.' }];
    for (const status of ['completed', 'failed', 'completed'])
      expect(await talk.ended(await talk.post('Add.'))).toBe(status);
    expect((await talk.turns())[1]?.failure).toMatchObject({ code: 'answer_invalid' });
    await talk.close();
    expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });
});
