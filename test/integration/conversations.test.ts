import { randomUUID } from 'node:crypto';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('a conversation', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('answers each message in its turn, streams it, and remembers what was said', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.replies = [{ text: 'The first answer is forty-two.' }, { text: 'The second answer.' }];
    const first = await talk.say('What is the answer?');
    expect(first[0]).toMatchObject({ event: 'turn.started' });
    const deltas = first.filter(({ event }) => event === 'delta').map(({ data }) => data.text);
    expect(deltas.join('')).toBe('The first answer is forty-two.');
    expect(first.find(({ event }) => event === 'model.replied')?.data).toMatchObject({
      text: 'The first answer is forty-two.',
      stopReason: 'end_turn',
    });
    expect(first.at(-1)).toMatchObject({ event: 'done', data: { status: 'completed' } });
    await talk.say('And then?');
    expect((await talk.messages()).map(({ role, content }) => [role, content[0]?.text])).toEqual([
      ['user', 'What is the answer?'],
      ['assistant', 'The first answer is forty-two.'],
      ['user', 'And then?'],
      ['assistant', 'The second answer.'],
    ]);
    const turns = await talk.turns();
    expect(turns.map(({ status }) => status)).toEqual(['completed', 'completed']);
    await talk.close();
    const shown = await talk.show();
    expect(shown).toMatchObject({ status: 'closed' });
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({ ledgerUsd: shown.costUsd, reservedUsd: '0', openReservations: 0 });
    expect(turns.map(({ costUsd }) => Number(costUsd)).reduce((sum, cost) => sum + cost)).toBeCloseTo(
      Number(shown.costUsd),
      9,
    );
  });

  test('queues messages that arrive during a turn, and answers them in order', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    stack.anthropic.knobs.latencyMs = 300;
    stack.anthropic.knobs.replies = [{ text: 'one' }, { text: 'two' }, { text: 'three' }];
    const turns = [];
    for (const message of ['first', 'second', 'third']) turns.push(await talk.post(message));
    for (const turn of turns) expect(await talk.ended(turn)).toBe('completed');
    expect((await talk.messages()).map(({ content }) => content[0]?.text)).toEqual([
      'first',
      'one',
      'second',
      'two',
      'third',
      'three',
    ]);
    await talk.close();
  });

  test('can be interrupted in the middle of a call, and goes on with the next message', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.deltaSpacingMs = 20_000;
    stack.anthropic.knobs.replies = [{ text: 'a long answer that nobody waits for '.repeat(20) }, { text: 'short' }];
    const turnId = await talk.post('Talk to me.');
    const next = await talk.post('And this?');
    await until('the call began', () => stack.anthropic.calls().inFlight > 0);
    stack.anthropic.knobs.deltaSpacingMs = 0;
    expect(await talk.call('POST', '/interrupt', { turnId })).toMatchObject({ status: 202 });
    expect(await talk.ended(turnId)).toBe('interrupted');
    expect(await talk.ended(next)).toBe('completed');
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('a message is repeated under its Idempotency-Key without being answered twice', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    const headers = { 'idempotency-key': randomUUID() };
    const [first, second] = [
      await talk.call('POST', '/messages', { message: 'hello' }, headers),
      await talk.call('POST', '/messages', { message: 'hello' }, headers),
    ];
    expect(second.body).toEqual(first.body);
    await talk.ended(String(first.body.turnId));
    expect(await talk.turns()).toHaveLength(1);
    await talk.close();
    expect(await talk.call('POST', '/messages', { message: 'too late' })).toMatchObject({
      status: 409,
      body: { error: 'conversation_ended' },
    });
  });

  test('uses its sandbox over several turns, pauses it when idle, and pays by the second', async () => {
    const tenantId = await stack.tenant('5');
    const file = { name: 'data.csv', contentBase64: Buffer.from('name,amount\na,1\nb,2\n').toString('base64') };
    const talk = await TestConversation.start(api, tenantId, { file, sandbox: { pauseAfterSeconds: 2 } });
    await talk.say('Profile this file.');
    expect(stack.e2b.calls().alive).toHaveLength(1);
    await until('the sandbox was paused', () => stack.e2b.calls().paused.length === 1);
    await until('nothing is held', async () => (await stack.books(tenantId)).reservedUsd === '0');
    stack.anthropic.knobs.replies = [{ text: 'again', code: 'console.log(1 + 1)' }, { text: 'two' }];
    expect((await talk.say('And one and one?')).at(-1)?.data).toMatchObject({ status: 'completed' });
    expect((await talk.messages()).at(-2)?.content[0]).toMatchObject({ content: '2\n' });
    await talk.close();
    expect(stack.e2b.calls()).toMatchObject({ alive: [], paused: [] });
    const { body } = await api.call('GET', `/v1/cost-records?conversationId=${talk.id}`, { key: talk.key });
    const kinds = (body.records as { kind: string }[]).map(({ kind }) => kind).sort();
    expect(kinds).toEqual(['llm.call', 'llm.call', 'llm.call', 'llm.call', 'sandbox.create', 'sandbox.resume']);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });
});
