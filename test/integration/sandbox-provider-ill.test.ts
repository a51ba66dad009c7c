/** A sandbox provider that is ill, lies or forgets: no workflow fails of it, nothing runs twice, and what is charged is what was seen. */
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

interface Window {
  kind: string;
  status: string;
  settlement: string | null;
  seconds: number | null;
}

describe('a sandbox provider that is ill', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { environment: { SPENDLOCK_SWEEP_MIN_AGE_SECONDS: '1' } });
  afterEach(() =>
    Object.assign(stack.e2b.knobs, { illWith: undefined, failResumeNext: [], failExtendNext: [], cutExecutions: 0 }),
  );

  const windows = async (runId: string): Promise<Window[]> => {
    const { rows } = await stack.admin.query<Window>(
      `SELECT kind, status, settlement, (outcome_usage ->> 'seconds')::integer AS seconds FROM copilot_internal.reservations
       WHERE run_id = $1 AND kind LIKE 'sandbox.%' ORDER BY decided_at`,
      [runId],
    );
    return rows;
  };
  const events = async (runId: string): Promise<string[]> => {
    const { rows } = await stack.admin.query<{ type: string }>(
      'SELECT type FROM copilot_internal.run_events WHERE run_id = $1 ORDER BY sequence',
      [runId],
    );
    return rows.map(({ type }) => type);
  };
  const results = async (talk: TestConversation): Promise<string[]> =>
    (await talk.messages())
      .flatMap(({ content }) => content as { type: string; content?: string }[])
      .filter(({ type }) => type === 'tool_result')
      .map(({ content }) => content ?? '');
  const talkWith = async (sandbox: object, more: object = {}): Promise<TestConversation> =>
    TestConversation.start(api, await stack.tenant('5'), { sandbox, ...more });
  const vanish = async (): Promise<void> => {
    for (const id of stack.e2b.calls().alive)
      await fetch(`${stack.e2b.url}/sandboxes/${id}`, { method: 'DELETE', headers: { 'x-api-key': 'outsider' } });
  };
  const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  test('XB5: an idle conversation outlives it, and takes the next message', async () => {
    const talk = await talkWith({ pauseAfterSeconds: 1, windowSeconds: 600 });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    stack.e2b.knobs.illWith = 503;
    await until('its pause was given up', async () => (await events(talk.id)).includes('sandbox.failed'));
    const { status } = await stack.temporal.workflow.getHandle(talk.workflowId).describe();
    expect(status.name).toBe('RUNNING');
    stack.e2b.knobs.illWith = undefined;
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(2)' }, { text: 'two' }];
    await talk.say('Second.');
    expect(await results(talk)).toEqual(['1\n', '2\n']);
    await talk.close();
    expect((await windows(talk.id)).every(({ settlement }) => settlement === 'actual')).toBe(true);
    expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('XB5: a run that has its answer completes; the sandbox is left to the sweeper, which settles it', async () => {
    const startNow = await stack.takeOverSchedules();
    const tenantId = await stack.tenant('5');
    const file = { name: 'data.csv', content: 'a\n1\n' };
    stack.anthropic.knobs.latencyMs = 2_000;
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'The answer.' }];
    const started = await stack.start({ tenantId, task: 'Profile this file.', file });
    await until('it has a sandbox', () => stack.e2b.calls().alive.length === 1);
    await until('the program ran', async () => (await events(started.runId)).includes('code.executed'));
    stack.e2b.knobs.illWith = 503;
    const run = await stack.finish({ tenantId, ...started });
    expect(run).toMatchObject({ status: 'completed', answer: 'The answer.' });
    expect(await windows(started.runId)).toMatchObject([{ kind: 'sandbox.create', status: 'granted' }]);
    stack.e2b.knobs.illWith = undefined;
    stack.anthropic.knobs.latencyMs = 0;
    expect(await startNow('sweepSandboxes')).toEqual({ swept: 1 });
    await until('it is settled', async () => (await stack.books(tenantId)).reservedUsd === '0');
    expect(await windows(started.runId)).toMatchObject([{ kind: 'sandbox.create', settlement: 'actual' }]);
  });

  test('XF4: gone unseen, it is charged to when it was last seen', async () => {
    const talk = await talkWith({ pauseAfterSeconds: 3_600, windowSeconds: 600 });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    const began = Date.now();
    await talk.say('First.');
    const seenSeconds = Math.ceil((Date.now() - began) / 1_000);
    await vanish();
    await wait(seenSeconds * 1_000 + 8_000);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(2)' }, { text: 'gone' }];
    await talk.say('Second.');
    const [first] = await windows(talk.id);
    expect(first).toMatchObject({ kind: 'sandbox.create', settlement: 'actual' });
    expect(first?.seconds).toBeLessThanOrEqual(seenSeconds);
    await talk.close();
  });

  test('XF4: a resumption that is answered 500 is looked up, tried again, and then replaced by a new sandbox', async () => {
    const talk = await talkWith({ pauseAfterSeconds: 1, windowSeconds: 60 });
    const turn = async (text: string): Promise<void> => {
      stack.anthropic.knobs.replies = [{ text: '', code: `console.log('${text}')` }, { text: 'done' }];
      await talk.say('Go.');
      await until('it is paused', () => stack.e2b.calls().paused.length === 1);
    };
    await turn('one');
    // It came back, and the reply said that it did not.
    stack.e2b.knobs.failResumeNext = [{ status: 500, after: true }];
    await turn('two');
    expect((await windows(talk.id)).map(({ kind }) => kind)).toEqual(['sandbox.create', 'sandbox.resume']);
    // It did not come back, once.
    stack.e2b.knobs.failResumeNext = [{ status: 500 }];
    await turn('three');
    // It never does.
    stack.e2b.knobs.failResumeNext = Array.from({ length: 10 }, () => ({ status: 500 }));
    stack.anthropic.knobs.replies = [{ text: '', code: `console.log('four')` }, { text: 'done' }];
    await talk.say('Go.');
    expect(await results(talk)).toEqual(['one\n', 'two\n', 'three\n', 'four\n']);
    await talk.close();
    const resumed = (await windows(talk.id)).filter(({ kind }) => kind === 'sandbox.resume');
    expect(resumed.filter(({ settlement }) => settlement === 'unverified')).toEqual([]);
    expect(resumed.filter(({ settlement }) => settlement === 'actual')).toHaveLength(2);
    expect((await windows(talk.id)).filter(({ kind }) => kind === 'sandbox.create')).toHaveLength(2);
    expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('XF4: an extension that was made and denied is looked up: the sandbox lives on, and each second is paid once', async () => {
    const talk = await talkWith({ pauseAfterSeconds: 3_600, windowSeconds: 15, executionSeconds: 60 });
    stack.e2b.knobs.failExtendNext = Array.from({ length: 5 }, () => ({ status: 409, after: true }));
    const long = `console.log('begun'); setTimeout(() => console.log('over'), 18_000)`;
    stack.anthropic.knobs.replies = [{ text: '', code: long }, { text: 'done' }];
    const { created } = stack.e2b.calls();
    await talk.say('Run for long.');
    expect(await results(talk)).toEqual(['begun\nover\n']);
    expect(stack.e2b.calls().created).toBe(created + 1);
    await talk.close();
    const paid = await windows(talk.id);
    expect(paid.map(({ kind }) => kind)).toContain('sandbox.extend');
    expect(paid.every(({ settlement }) => settlement === 'actual')).toBe(true);
    expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('XF4: a program over its time is ended; the sandbox stays, with its files', async () => {
    const talk = await talkWith({ pauseAfterSeconds: 3_600, executionSeconds: 3 });
    const forEver = `require('fs').writeFileSync('kept.txt', 'kept'); console.log('begun'); setInterval(() => {}, 1000);`;
    stack.anthropic.knobs.replies = [
      { text: '', code: forEver },
      { text: '', code: `console.log(require('fs').readFileSync('kept.txt', 'utf8'))` },
      { text: 'done' },
    ];
    const { created } = stack.e2b.calls();
    await talk.say('Run for ever.');
    const [ended = '', read] = await results(talk);
    expect(ended).toMatch(/^begun\n\n\[It was ended after 3 s.*The sandbox and its files are as they were\.\]$/);
    expect(read).toBe('kept\n');
    expect(stack.e2b.calls().created).toBe(created + 1);
    await talk.close();
  });

  test('XF4: a connection that is cut is told to the model, and the program is not run a second time', async () => {
    const talk = await talkWith({ pauseAfterSeconds: 3_600 });
    stack.e2b.knobs.cutExecutions = 1;
    stack.anthropic.knobs.replies = [
      { text: '', code: `console.log('begun'); setTimeout(() => console.log('over'), 3000)` },
      { text: 'I see.' },
    ];
    const { executed } = stack.e2b.calls();
    const turnId = await talk.post('Run.');
    expect(await talk.ended(turnId)).toBe('completed');
    expect((await results(talk))[0]).toMatch(
      /^begun\n\n\[The connection to the sandbox was cut .*It was not run again\.\]$/,
    );
    expect(stack.e2b.calls().executed).toBe(executed + 1);
    await talk.close();
  });

  test('XE3: a refused call makes no sandbox, reserves nothing, and nobody is told that code ran', async () => {
    const talk = await talkWith({}, { tools: [{ name: 'run_code', requiresApproval: true, priceUsd: '0.25' }] });
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(1)' }, { text: 'Then not.' }];
    const { created } = stack.e2b.calls();
    const turnId = await talk.post('Compute.');
    const asked = await until('somebody is asked', async () => {
      const { body } = await api.call('GET', `/v1/approvals?runId=${talk.id}`, { key: talk.key });
      return (body.approvals as { approvalId: string; status: string }[]).find(({ status }) => status === 'pending');
    });
    await api.call('POST', `/v1/approvals/${asked.approvalId}`, { key: talk.key, body: { decision: 'refuse' } });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await results(talk)).toEqual(['A person refused it.']);
    expect(stack.e2b.calls().created).toBe(created);
    const { rows } = await stack.admin.query<{ kind: string }>(
      'SELECT DISTINCT kind FROM copilot_internal.reservations WHERE run_id = $1',
      [talk.id],
    );
    expect(rows).toEqual([{ kind: 'llm.call' }]);
    expect(await events(talk.id)).not.toContain('code.executed');
    await talk.close();
  });

  test('XE3: a call of a tool that there is not makes no sandbox, reserves nothing, and is told to the model', async () => {
    const talk = await talkWith({});
    stack.anthropic.knobs.replies = [{ text: '', tools: [{ name: 'fly', input: {} }] }, { text: 'Then not.' }];
    const { created } = stack.e2b.calls();
    await talk.say('Fly.');
    expect(await results(talk)).toEqual([expect.stringContaining('There is no tool "fly"')]);
    expect(stack.e2b.calls().created).toBe(created);
    expect(await windows(talk.id)).toEqual([]);
    expect(await events(talk.id)).not.toContain('code.executed');
    expect(await events(talk.id)).toContain('tools.answered');
    await talk.close();
  });
});
