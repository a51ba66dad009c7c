/** A paid answer is kept whatever is in it and whenever it comes, and no step buys the same answer twice. */
import { randomUUID } from 'node:crypto';
import type { TestApi } from '../support/api';
import { longWords, TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { resetToBegin, resetToTask } from '../support/reset';
import { type TestStack, until } from '../support/stack';

const nul = '\0';
const half = '\ud83d';
const replaced = '\ufffd';

describe('a paid answer', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const transcript = async (runId: string): Promise<string> => {
    const { rows } = await stack.admin.query<{ content: unknown }>(
      'SELECT content FROM copilot_internal.transcript_messages WHERE run_id = $1 ORDER BY sequence',
      [runId],
    );
    return JSON.stringify(rows.map(({ content }) => content));
  };
  const events = async (runId: string, type: string): Promise<Record<string, unknown>[]> => {
    const { rows } = await stack.admin.query<{ data: Record<string, unknown> }>(
      'SELECT data FROM copilot_internal.run_events WHERE run_id = $1 AND type = $2 ORDER BY sequence',
      [runId, type],
    );
    return rows.map(({ data }) => data);
  };
  const settled = (tenantId: string, costUsd: string | undefined) =>
    expect(stack.books(tenantId)).resolves.toMatchObject({ ledgerUsd: costUsd, reservedUsd: '0', openReservations: 0 });

  describe('with characters that Postgres does not take (XB7, XE1)', () => {
    test.each([
      ['anthropic', 'claude-haiku-4-5'],
      ['openai', 'gpt-4o'],
      ['google', 'gemini-2.5-flash'],
    ] as const)('of %s is stored with U+FFFD in their place, and bought once', async (provider, model) => {
      const tenantId = await stack.tenant('5');
      const standIn = stack[provider];
      const before = standIn.calls().billable;
      standIn.knobs.replies = [
        {
          text: `It begins with ${nul}.`,
          tools: [{ name: 'read_file', input: { path: `/a${nul}b`, [`k${half}`]: [nul] } }],
        },
        { text: `The file says ${nul} and ${half}.` },
      ];
      const run = await stack.run({ tenantId, model, tools: [{ name: 'read_file' }] });
      expect(run).toMatchObject({ status: 'completed', answer: `The file says ${replaced} and ${replaced}.` });
      expect(standIn.calls().billable - before).toBe(2);
      const said = await transcript(run.runId);
      expect(said).toContain(`It begins with ${replaced}.`);
      expect(said).toContain(`"path":"/a${replaced}b"`);
      expect(said).toContain(`"k${replaced}":["${replaced}"]`);
      expect(run.steps.every(({ settlement, attempt }) => settlement === 'actual' && attempt === 1)).toBe(true);
      await settled(tenantId, run.costUsd);
    });

    test('is told with U+FFFD while it is written, and pairs that pieces part stay whole', async () => {
      const talk = await TestConversation.start(api, await stack.tenant('5'));
      const text = `${'x'.repeat(199)}\ud83d\ude00 and ${nul} at the end`;
      stack.anthropic.knobs.replies = [{ text }];
      stack.anthropic.knobs.deltaSpacingMs = 200;
      const told = await talk.say('Say something.');
      const pieces = told.flatMap(({ data }) =>
        typeof data.text === 'string' && !('step' in data) ? [data.text] : [],
      );
      expect(pieces.join('')).toContain('\ud83d\ude00');
      expect(JSON.stringify(told)).toContain(`and ${replaced} at the end`);
      await talk.close();
    });

    test('a program that prints them runs once, and what it printed is kept and said to be changed', async () => {
      const tenantId = await stack.tenant('5');
      const { executed } = stack.e2b.calls();
      const code = `console.log('a' + String.fromCharCode(0) + 'b' + String.fromCharCode(0xd83d))`;
      stack.anthropic.knobs.replies = [{ text: '', code }, { text: 'done' }];
      const run = await stack.run({ tenantId });
      expect(run).toMatchObject({ status: 'completed', answer: 'done' });
      expect(stack.e2b.calls().executed - executed).toBe(1);
      const said = await transcript(run.runId);
      expect(said).toContain(`a${replaced}b`);
      expect(said).toMatch(/characters that are no text .* were replaced/);
      await settled(tenantId, run.costUsd);
    });

    test('a summary with them stands for what it sums up', async () => {
      const tenantId = await stack.tenant('5');
      const talk = await TestConversation.nearlyFull(api, stack, tenantId);
      stack.anthropic.knobs.replies = [{ text: `The file began with ${nul}.` }, { text: 'four' }];
      await talk.say(`four? ${longWords}`);
      expect(JSON.stringify(stack.anthropic.lastRequest().messages)).toContain(`The file began with ${replaced}.`);
      const { rows } = await stack.admin.query(
        `SELECT settlement FROM copilot_internal.reservations WHERE tenant_id = $1 AND kind = 'compaction'`,
        [tenantId],
      );
      expect(rows).toEqual([{ settlement: 'actual' }]);
      await talk.close();
    });
  });

  test.each([
    ['a tier without a price', { service_tier: 'priority' }],
    [
      'a part that an unknown model served',
      { iterations: [{ type: 'fallback_message', model: 'claude-of-tomorrow', input_tokens: 5, output_tokens: 7 }] },
    ],
    [
      'a kind of part that nobody knows',
      { iterations: [{ type: 'something_new', input_tokens: 1, output_tokens: 1 }] },
    ],
    ['a count that is none', { output_tokens: 'many' }],
  ])('whose usage has %s is used, and settled once at its estimate (XD3)', async (_what, usage) => {
    const tenantId = await stack.tenant('5');
    const before = stack.anthropic.calls().billable;
    stack.anthropic.knobs.usage = usage;
    stack.anthropic.knobs.replies = [{ text: 'A whole answer.' }];
    const run = await stack.run({ tenantId });
    expect(run).toMatchObject({ status: 'completed', answer: 'A whole answer.' });
    expect(run.steps).toMatchObject([{ attempt: 1, settlement: 'unverified' }]);
    expect(stack.anthropic.calls().billable - before).toBe(1);
    expect(await events(run.runId, 'model.replied')).toMatchObject([{ unpriced: expect.any(String) as string }]);
    const { rows } = await stack.admin.query<{ granted: string; committed: string; usage: { unpriced?: string } }>(
      `SELECT granted_usd::text AS granted, committed_usd::text AS committed, outcome_usage AS usage
       FROM copilot_internal.reservations WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(rows).toMatchObject([{ committed: rows[0]?.granted, usage: { unpriced: expect.any(String) as string } }]);
    await settled(tenantId, run.costUsd);
  });

  describe('that comes after its reservation ran out (XA3)', () => {
    /** As if the reservation of a call under way had run out, and its authority had ended it. */
    async function runsOut(tenantId: string, kind: string): Promise<void> {
      await stack.admin.query(
        `UPDATE copilot_internal.reservations SET expires_at = clock_timestamp() - interval '1 second'
         WHERE tenant_id = $1 AND kind = $2 AND claimed_at IS NOT NULL AND status = 'granted'`,
        [tenantId, kind],
      );
      await stack.signal(tenantId, [{ type: 'reload' }]);
      await until('it is settled as unverified', async () => {
        const { rows } = await stack.admin.query(
          `SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 AND kind = $2 AND settlement = 'unverified'`,
          [tenantId, kind],
        );
        return rows.length > 0;
      });
    }

    test('is kept, at what it cost', async () => {
      const tenantId = await stack.tenant('5');
      stack.anthropic.knobs.latencyMs = 4_000;
      stack.anthropic.knobs.replies = [{ text: 'Late, and paid for.' }];
      const started = await stack.start({ tenantId });
      await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
      await runsOut(tenantId, 'llm.call');
      const run = await stack.finish({ tenantId, ...started });
      expect(run).toMatchObject({ status: 'completed', answer: 'Late, and paid for.' });
      expect(run.steps).toMatchObject([{ attempt: 1, settlement: 'actual' }]);
      await settled(tenantId, run.costUsd);
    });

    test('of a tool is kept, and what it did is gone on with', async () => {
      const tenantId = await stack.tenant('5');
      const { executed } = stack.e2b.calls();
      stack.anthropic.knobs.replies = [
        { text: '', code: `setTimeout(() => console.log('late'), 4000)` },
        { text: 'done' },
      ];
      const started = await stack.start({ tenantId, tools: [{ name: 'run_code', priceUsd: '0.25' }] });
      await until('the program runs', () => stack.e2b.calls().executed > executed);
      await runsOut(tenantId, 'tool.call');
      const run = await stack.finish({ tenantId, ...started });
      expect(run.status).toBe('completed');
      expect(await transcript(run.runId)).toContain('late');
      expect(stack.e2b.calls().executed - executed).toBe(1);
      await settled(tenantId, run.costUsd);
    });
  });

  test('comes under a reservation that lasts as long as its call may, however late the call began (XA3)', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 1_500;
    const started = await stack.start({ tenantId });
    await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
    const { rows } = await stack.admin.query<{ seconds: number }>(
      `SELECT extract(epoch FROM expires_at - claimed_at)::float8 AS seconds FROM copilot_internal.reservations WHERE tenant_id = $1`,
      [tenantId],
    );
    // Ten minutes for the call, five for writing what came of it, one to spare: from the claim on.
    expect(rows[0]?.seconds).toBeGreaterThanOrEqual(959.9);
    await stack.finish({ tenantId, ...started });
  });

  describe('is gone on with when its workflow is reset (XB11)', () => {
    test.each([0, 2, 4, 8])('at its workflow task %d: nothing is bought or run a second time', async (nth) => {
      const tenantId = await stack.tenant('5');
      const { executed, created } = stack.e2b.calls();
      const before = stack.anthropic.calls().billable;
      stack.anthropic.knobs.replies = [
        { text: '', code: `console.log('one')` },
        { text: '', code: `console.log('two')` },
        { text: 'The answer.' },
      ];
      const started = await stack.start({ tenantId, tools: [{ name: 'run_code', requiresApproval: true }] });
      const { runId, workflowId } = started;
      for (let asked = 1; asked <= 2; asked += 1) {
        await until('a person is asked', async () => {
          const { rows } = await stack.admin.query<{ id: string }>(
            `SELECT approval_id AS id FROM copilot_internal.approvals WHERE run_id = $1 AND status = 'pending'`,
            [runId],
          );
          const [row] = rows;
          if (!row) return false;
          const body = { decision: 'approve', tenantId };
          return (await api.call('POST', `/v1/approvals/${row.id}`, { body })).status < 300;
        });
      }
      const first = await stack.finish({ tenantId, ...started });
      expect(first.status).toBe('completed');
      // A reply after the reset would be another one.
      stack.anthropic.knobs.replies = [{ text: '', code: `console.log('not asked for')` }, { text: 'Another answer.' }];
      await resetToTask(stack, workflowId, nth);
      await stack.temporal.workflow.getHandle(workflowId).result();
      expect(stack.anthropic.calls().billable - before).toBe(3);
      expect(stack.e2b.calls().executed - executed).toBe(2);
      // One whose reply was in its history makes a sandbox before it finds that the program has run.
      expect(stack.e2b.calls().created - created).toBeLessThanOrEqual(2);
      const said = await transcript(runId);
      expect(said).not.toContain('not asked for');
      expect(said).toContain('The answer.');
      await until('all has ended', async () => (await stack.books(tenantId)).openReservations === 0);
      expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0' });
    });
  });

  test('of a conversation that was reset is its own: what is said next comes behind what was said before (XB11)', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    stack.anthropic.knobs.replies = [{ text: 'one' }];
    await talk.say('One?');
    await resetToBegin(stack, talk.workflowId);
    stack.anthropic.knobs.replies = [{ text: 'two' }];
    expect((await talk.say('Two?')).at(-1)?.data).toMatchObject({ status: 'completed' });
    expect((await talk.messages()).map(({ content }) => content[0]?.text)).toEqual(['One?', 'one', 'Two?', 'two']);
    await talk.close();
  });

  test('calls a tool that needs a permission: without a question on record it is not run (XB11)', async () => {
    const tenantId = await stack.tenant('5');
    const { executed } = stack.e2b.calls();
    stack.anthropic.knobs.replies = [{ text: '', code: `console.log('ran')` }, { text: 'done' }];
    const started = await stack.start({ tenantId, tools: [{ name: 'run_code', requiresApproval: true }] });
    await until('a person is asked', async () => {
      const { rowCount } = await stack.admin.query('DELETE FROM copilot_internal.approvals WHERE run_id = $1', [
        started.runId,
      ]);
      return (rowCount ?? 0) > 0;
    });
    // Whoever asks for what is pending finds nothing, and goes on.
    await stack.temporal.workflow.getHandle(started.workflowId).signal('decideApproval', { approvalId: randomUUID() });
    const run = await stack.finish({ tenantId, ...started });
    expect(run.status).toBe('completed');
    expect(stack.e2b.calls().executed - executed).toBe(0);
    expect(await transcript(run.runId)).toContain('Nobody was asked');
  });
});
