import type { TestApi } from '../support/api';
import { longWords, TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('compaction', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const start = (tenantId: string, more: object = {}): Promise<TestConversation> =>
    TestConversation.start(api, tenantId, { compaction: { contextTokens: 4_000, atShare: 0.7 }, ...more });
  const records = async (talk: TestConversation, kind: string): Promise<Record<string, unknown>[]> =>
    (await api.call('GET', `/v1/cost-records?conversationId=${talk.id}&kind=${kind}`, { key: talk.key })).body
      .records as Record<string, unknown>[];
  const events = async (talk: TestConversation): Promise<string[]> => {
    const { rows } = await stack.admin.query<{ type: string }>(
      'SELECT type FROM copilot_internal.run_events WHERE run_id = $1 ORDER BY sequence',
      [talk.id],
    );
    return rows.map(({ type }) => type);
  };

  test('sums older messages up with a call of its own, which is billed once, and keeps the newest (F15)', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await start(tenantId);
    for (const answer of ['one', 'two', 'three']) {
      stack.anthropic.knobs.replies = [{ text: answer }];
      await talk.say(`${answer}? ${longWords}`);
    }
    stack.anthropic.knobs.replies = [{ text: 'The user asked for one, two and three.' }, { text: 'four' }];
    await talk.say(`four? ${longWords}`);
    expect(await events(talk)).toContain('context.compacted');
    expect(await records(talk, 'compaction')).toMatchObject([{ entry: 'commit', settlement: 'actual' }]);
    // The call after it is told the summary, and no longer what that stands for.
    const asked = stack.anthropic.lastRequest();
    const text = JSON.stringify(asked.messages);
    expect(text).toContain('The user asked for one, two and three.');
    expect(text).toContain('four? ');
    expect(text).not.toContain('one? ');
    // The transcript keeps all of it.
    expect((await talk.messages()).map(({ content }) => content[0]?.text?.slice(0, 6))).toEqual(
      expect.arrayContaining(['one? w', 'one', 'four']),
    );
    await talk.close();
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({ ledgerUsd: (await talk.show()).costUsd, reservedUsd: '0', openReservations: 0 });
  });

  test('shortens old tool results first, which needs no call', async () => {
    const talk = await start(await stack.tenant('5'), { compaction: { contextTokens: 7_000, atShare: 0.7 } });
    stack.anthropic.knobs.replies = [
      { text: '', code: `console.log('x'.repeat(15000))` },
      { text: 'printed' },
      { text: 'two' },
      { text: 'three' },
    ];
    await talk.say('Print.');
    await talk.say('And two?');
    await talk.say(`And three? ${longWords}`);
    expect(await events(talk)).toContain('context.shortened');
    expect(await records(talk, 'compaction')).toEqual([]);
    expect(JSON.stringify(stack.anthropic.lastRequest().messages)).toContain('characters were left out here');
    await talk.close();
  });

  test('that fails does not lose the conversation', async () => {
    const talk = await start(await stack.tenant('5'));
    for (const answer of ['one', 'two', 'three']) {
      stack.anthropic.knobs.replies = [{ text: answer }];
      await talk.say(`${answer}? ${longWords}`);
    }
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 400 }];
    stack.anthropic.knobs.replies = [{ text: 'four' }];
    expect((await talk.say(`four? ${longWords}`)).at(-1)?.data).toMatchObject({ status: 'completed' });
    expect(JSON.stringify(stack.anthropic.lastRequest().messages)).toContain('one? ');
    await talk.close();
  });

  test('that is denied does not lose the conversation either', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await start(tenantId, { limits: { maxOutputTokens: 64 } });
    stack.anthropic.knobs.replies = [{ text: 'one' }];
    await talk.say(`one? ${'x'.repeat(9_000)}`);
    // Enough for a short answer, not for a summary, which needs more words.
    const { spentUsd } = await stack.books(tenantId);
    const limitUsd = (Number(spentUsd) + 0.0036).toFixed(6);
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'llm', limitUsd }]);
    stack.anthropic.knobs.replies = [{ text: 'two' }];
    expect((await talk.say(`two? ${'y'.repeat(1_000)}`)).at(-1)?.data).toMatchObject({ status: 'completed' });
    const { rows } = await stack.admin.query<{ status: string }>(
      `SELECT status FROM copilot_internal.reservations WHERE run_id = $1 AND kind = 'compaction'`,
      [talk.id],
    );
    expect(rows).toEqual([{ status: 'denied' }]);
    await talk.close();
  });

  test('that hits its cap is paid and told of, and stands for nothing (XD5)', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await start(tenantId);
    for (const answer of ['one', 'two', 'three']) {
      stack.anthropic.knobs.replies = [{ text: answer }];
      await talk.say(`${answer}? ${longWords}`);
    }
    stack.anthropic.knobs.replies = [{ text: 'A summary without an end '.repeat(2_000) }, { text: 'four' }];
    expect((await talk.say(`four? ${longWords}`)).at(-1)?.data).toMatchObject({ status: 'completed' });
    const text = JSON.stringify(stack.anthropic.lastRequest().messages);
    expect(text).toContain('one? ');
    expect(text).not.toContain('A summary without an end');
    expect(await records(talk, 'compaction')).toMatchObject([{ entry: 'commit', settlement: 'actual' }]);
    expect(await events(talk)).toContain('context.compaction-failed');
    await talk.close();
  });

  test('takes no money that the answer needs (XD5)', async () => {
    await stack.priceModel('claude-two-dollars', '2000');
    const tenantId = await stack.tenant('6');
    stack.anthropic.knobs.usage = { output_tokens: 700 };
    const code = (text: string): { text: string; code: string } => ({
      text: '',
      code: `console.log(${JSON.stringify(text)})`,
    });
    stack.anthropic.knobs.replies = [code(longWords), code(longWords), code(longWords), { text: 'The answer.' }];
    // Three steps cost $1.40 each. Of the $1.80 that are left the answer needs $1.40, and a summary would cost as much.
    const run = await stack.run({
      tenantId,
      model: 'claude-two-dollars',
      limits: { maxOutputTokens: 900 },
      compaction: { contextTokens: 3_000, atShare: 0.7 },
    });
    expect(run).toMatchObject({ status: 'completed', answer: 'The answer.' });
    const { rows } = await stack.admin.query<{ status: string }>(
      `SELECT status FROM copilot_internal.reservations WHERE tenant_id = $1 AND kind = 'compaction'`,
      [tenantId],
    );
    expect(rows).toEqual([{ status: 'denied' }]);
  });
});
