import { randomUUID } from 'node:crypto';
import { runProgressQuery } from '../../contracts/messages';
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
    expect(shown).toMatchObject({ status: 'completed' });
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

  /** Holds a lock until what would need it waits, as a slow database does. */
  const holding = async (lock: string, parameters: unknown[] = []) => {
    const client = await stack.admin.connect();
    await client.query('BEGIN');
    await client.query(lock, parameters);
    const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    return {
      waits: (count: number) =>
        until(`${count} wait`, async () => ((await stack.admin.query(waiting)).rowCount ?? 0) >= count),
      async release() {
        await client.query('COMMIT');
        client.release();
      },
    };
  };
  const close = (talk: TestConversation) => talk.call('POST', '/close', {});
  const unanswered = { status: 'cancelled', failure: { code: 'conversation_ended' } };

  test('closed while a message is being taken from the queue leaves no turn that seems to run', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    const lock = await holding('LOCK TABLE copilot_internal.transcript_messages IN ACCESS EXCLUSIVE MODE');
    const turnId = await talk.post('Hello?');
    await lock.waits(1);
    expect(await close(talk)).toMatchObject({ status: 202 });
    await lock.release();
    await until('it is closed', async () => (await talk.show()).status === 'completed');
    expect(await talk.turns()).toMatchObject([{ turnId, ...unanswered }]);
  });

  test('closed while a message is being stored leaves none that waits for ever', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    await talk.say('Hello.');
    // It has looked for more to answer, and would take what comes while it looks.
    const { workflow } = stack.temporal;
    await until('it waits', async () => {
      const { doing } = await workflow.getHandle(talk.workflowId).query(runProgressQuery);
      return doing === 'waiting for a message';
    });
    const lock = await holding('SELECT FROM copilot_internal.runs WHERE run_id = $1 FOR UPDATE', [talk.id]);
    const posted = talk.call('POST', '/messages', { message: 'And this?' });
    await lock.waits(1);
    expect(await close(talk)).toMatchObject({ status: 202 });
    await lock.waits(2);
    await lock.release();
    expect(await posted).toMatchObject({ status: 409, body: { error: 'conversation_ended' } });
    await until('it is closed', async () => (await talk.show()).status === 'completed');
    expect(await talk.turns()).toMatchObject([{ status: 'completed' }, { message: 'And this?', ...unanswered }]);
  });

  test('a message that it took although it was being closed is not said to be refused', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    await talk.say('Hello.');
    await stack.temporal.workflow.getHandle(talk.workflowId).terminate();
    // It is told nothing any more; a look that was under way has answered it by then.
    await stack.admin.query(`
      CREATE FUNCTION copilot_internal.answered() RETURNS trigger LANGUAGE plpgsql AS $taken$
      BEGIN
        UPDATE copilot_internal.turns SET status = 'completed', started_at = now(), ended_at = now()
        WHERE turn_id = NEW.turn_id;
        RETURN NULL;
      END $taken$;
      CREATE CONSTRAINT TRIGGER answered AFTER INSERT ON copilot_internal.turns DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.message = 'And this?') EXECUTE FUNCTION copilot_internal.answered()`);
    expect(await talk.call('POST', '/messages', { message: 'And this?' })).toMatchObject({
      status: 202,
      body: { status: 'completed' },
    });
    expect(await talk.call('POST', '/messages', { message: 'And that?' })).toMatchObject({
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
