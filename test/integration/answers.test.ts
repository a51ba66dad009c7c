/** Answers that have to fit a JSON Schema: checked, asked for once more, and told where they do not fit again. */
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { endedRun } from '../support/http-runs';
import { withInstallation } from '../support/installation';
import { historyOf } from '../support/kept-words';
import type { TestStack } from '../support/stack';

type Provider = 'anthropic' | 'openai' | 'google';

describe('an answer by a schema', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const sum = {
    type: 'object',
    properties: { total: { type: 'integer' }, parts: { type: 'array', items: { type: 'integer' } } },
    required: ['total', 'parts'],
    additionalProperties: false,
  };
  const begin = async (body: object) => {
    const asked = { task: 'Add one and two.', model: 'claude-haiku-4-5', answerSchema: sum, ...body };
    const { run, runId, workflowId, key } = await endedRun({ stack, api }, asked);
    const { body: said } = await api.call('GET', `/v1/runs/${runId}/messages?limit=100`, { key });
    return { run, said: JSON.stringify(said.messages), history: () => historyOf(stack, workflowId) };
  };
  const good = { text: '{"total": 3, "parts": [1, 2]}' };
  const bad = { text: '{"total": "three", "secretly": 1}' };

  const cases: [model: string, provider: Provider, sent: (own: object) => object][] = [
    ['claude-haiku-4-5', 'anthropic', (schema) => ({ output_config: { format: { type: 'json_schema', schema } } })],
    [
      'gpt-5.1',
      'openai',
      (schema) => ({ text: { format: { type: 'json_schema', name: 'answer', schema, strict: true } } }),
    ],
    [
      'gemini-3.5-flash',
      'google',
      (schema) => ({
        generationConfig: { responseMimeType: 'application/json', responseJsonSchema: schema },
      }),
    ],
  ];
  test.each(cases)('of %s is asked of %s, and is the run’s as JSON', async (model, provider, sent) => {
    stack[provider].knobs.replies = [{ text: 'I look.', code: 'console.log(1 + 2)' }, good];
    const { run } = await begin({ model });
    expect(run).toMatchObject({ status: 'completed', answer: good.text, answerJson: { total: 3, parts: [1, 2] } });
    expect(run).toMatchObject({ settings: null, answerSchema: sum });
    expect(stack[provider].lastRequest()).toMatchObject(sent(sum));
    expect((run.steps as { kind: string }[]).filter(({ kind }) => kind === 'llm.call')).toHaveLength(2);
  });

  test.each([
    ['claude-3-haiku-20240307', 'anthropic', sum],
    ['gemini-2.5-flash', 'google', sum],
    ['claude-sonnet-5', 'anthropic', { ...sum, required: [] }],
  ] as const)('of %s is asked of %s in words, where it cannot make one of it', async (model, provider, schema) => {
    stack[provider].knobs.replies = [{ text: '```json\n{"total": 3, "parts": []}\n```' }];
    const { run } = await begin({ model, answerSchema: schema });
    expect(run).toMatchObject({ status: 'completed', answerJson: { total: 3, parts: [] } });
    const asked = JSON.stringify(stack[provider].lastRequest());
    expect(asked).toContain('fits this JSON Schema:');
    expect(asked).not.toMatch(/"(format|responseMimeType)":/);
  });

  test('that does not fit is asked for once more with what is wrong, each call paid, also beyond the last step', async () => {
    stack.anthropic.knobs.replies = [bad, good];
    const { run, said, history } = await begin({ limits: { maxSteps: 1 } });
    expect(run).toMatchObject({ status: 'completed', answer: good.text, answerJson: { total: 3 } });
    const calls = (run.steps as { kind: string; settlement: string; step: number }[]).filter(
      ({ kind }) => kind === 'llm.call',
    );
    expect(calls).toMatchObject([
      { step: 1, settlement: 'actual' },
      { step: 2, settlement: 'actual' },
    ]);
    expect(said).toContain(
      'Your answer does not fit the JSON Schema: it must have \\"parts\\"; /total must be integer; it must not have \\"secretly\\".',
    );
    expect(JSON.stringify(stack.anthropic.lastRequest().messages)).toContain('/total must be integer');
    const told = await history();
    expect(told).toContain('"misfit":"told"');
    expect(told).not.toMatch(/secretly|must be integer/);
  });

  test('that does not fit again fails its run with what is wrong; what was said is kept, and no history has it', async () => {
    stack.anthropic.knobs.replies = [{ text: 'Three.' }, bad];
    const { run, said, history } = await begin({});
    expect(run).toMatchObject({ status: 'failed', answer: null, answerJson: null });
    expect(run.failure).toEqual({
      code: 'answer_invalid',
      message:
        'The answer does not fit its schema. What was said is kept, and what it cost is on record. What does not fit: it must have "parts"; /total must be integer; it must not have "secretly".',
    });
    expect(said).toContain('it is no JSON');
    expect(said).toContain('secretly');
    const told = await history();
    expect(told).toContain('answer_invalid');
    expect(told).not.toMatch(/secretly|must be integer/);
  });

  test('may be looked into with tools once more before it is given again', async () => {
    stack.anthropic.knobs.replies = [{ text: 'Three.' }, { text: '', code: 'console.log(3)' }, good];
    expect((await begin({})).run).toMatchObject({ status: 'completed', answerJson: { total: 3 } });
  });

  test('of a conversation is repaired once in each of its turns', async () => {
    const tenantId = await stack.tenant('50');
    const talk = await TestConversation.start(api, tenantId, { model: 'gpt-4o', answerSchema: sum });
    stack.openai.knobs.replies = [{ text: 'Three.' }, good, { text: 'Four.' }, good, { text: '3' }, { text: '4' }];
    for (const status of ['completed', 'completed', 'failed'])
      expect(await talk.ended(await talk.post('Add.'))).toBe(status);
    const failed = (await talk.turns()).at(-1)?.failure as { code: string; message: string };
    expect(failed.code).toBe('answer_invalid');
    expect(failed.message).toContain('What does not fit: it must be object.');
    stack.openai.knobs.replies = [good];
    expect(await talk.ended(await talk.post('Again.'))).toBe('completed');
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('that is the last one for want of money fails where it does not fit', async () => {
    const search = { task: 'Find 60 facts about fog.', answerSchema: { type: 'object', additionalProperties: true } };
    const limits = { maxSteps: 60, maxCostUsd: '0.07', maxOutputTokens: 300, lastCall: true };
    stack.anthropic.knobs.lastReply = { text: '{}' };
    expect((await begin({ ...search, limits })).run).toMatchObject({ stoppedBy: 'budget', answerJson: {} });
    stack.anthropic.knobs.lastReply = { text: 'Nothing.' };
    expect((await begin({ ...search, limits })).run.failure).toMatchObject({
      code: 'answer_invalid',
      message: expect.stringMatching(/The budget had come to its end.* no money to ask for it once more/) as unknown,
    });
  });

  test('is refused by name before anything is stored where its schema is none', async () => {
    const key = await api.keyOf(await stack.tenant('5'));
    const ask = async (answerSchema: unknown) => {
      const { status, body } = await api.call('POST', '/v1/runs', { key, body: { task: 'Add.', answerSchema } });
      return [status, body.message];
    };
    expect(await ask({ type: 'string', pattern: '^a' })).toEqual([
      400,
      expect.stringContaining('answerSchema: pattern is not taken'),
    ]);
    expect((await ask('string'))[0]).toBe(400);
    expect((await api.call('GET', '/v1/runs', { key })).body.runs).toEqual([]);
  });
});
