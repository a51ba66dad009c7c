/** The life of a sandbox: windows, pauses, loss, and the sweeper. */
import { randomUUID } from 'node:crypto';
import { formatUsd, parseUsd, sumUsd } from '../../core/money';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('a sandbox', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { environment: { SPENDLOCK_SWEEP_MIN_AGE_SECONDS: '1' } });

  const sleepFor = (seconds: number, more = ''): string =>
    `console.log('begun'); setTimeout(() => console.log('over'), ${seconds * 1000});${more}`;
  const steps = async (tenantId: string, runId: string): Promise<Record<string, unknown>[]> => {
    const { rows } = await stack.admin.query<Record<string, unknown>>(
      `SELECT kind, status, settlement, trim_scale(committed_usd)::text AS cost, outcome_usage AS usage
       FROM copilot_internal.reservations WHERE tenant_id = $1 AND run_id = $2 AND kind LIKE 'sandbox.%' ORDER BY decided_at`,
      [tenantId, runId],
    );
    return rows;
  };
  const event = async (runId: string, type: string): Promise<Record<string, unknown> | undefined> => {
    const { rows } = await stack.admin.query<{ data: Record<string, unknown> }>(
      'SELECT data FROM copilot_internal.run_events WHERE run_id = $1 AND type = $2',
      [runId, type],
    );
    return rows[0]?.data;
  };
  const result = async (talk: TestConversation): Promise<string> =>
    (await talk.messages())
      .flatMap(({ content }) => content as { type: string; content?: string }[])
      .filter(({ type }) => type === 'tool_result')
      .map(({ content }) => content ?? '')
      .join('|');

  test('is extended while a program runs longer than its window, and every second is paid once', async () => {
    const tenantId = await stack.tenant('5');
    const sandbox = { windowSeconds: 15, executionSeconds: 60, pauseAfterSeconds: 3_600 };
    const talk = await TestConversation.start(api, tenantId, { sandbox });
    stack.anthropic.knobs.replies = [{ text: '', code: sleepFor(18) }, { text: 'done' }];
    const began = Date.now();
    await talk.say('Run for long.');
    expect(await result(talk)).toBe('begun\nover\n');
    await talk.close();
    const lived = (Date.now() - began) / 1000;
    const windows = await steps(tenantId, talk.id);
    expect(windows.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['sandbox.create', 'sandbox.extend']));
    expect(windows.every(({ settlement }) => settlement === 'actual')).toBe(true);
    const seconds = windows.reduce((sum, { usage }) => sum + (usage as { seconds: number }).seconds, 0);
    expect(seconds).toBeGreaterThanOrEqual(18);
    expect(seconds).toBeLessThanOrEqual(Math.ceil(lived) + 1);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('that is refused more time ends in order, after what was printed was saved', async () => {
    const tenantId = await stack.tenant('5');
    const sandbox = { windowSeconds: 10, executionSeconds: 60 };
    const talk = await TestConversation.start(api, tenantId, { sandbox });
    stack.anthropic.knobs.replies = [{ text: '', code: sleepFor(30) }, { text: 'never said' }];
    const turnId = await talk.post('Run for long.');
    await until('it runs', () => stack.e2b.calls().alive.length === 1);
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'e2b', limitUsd: '0' }]);
    expect(await talk.ended(turnId)).toBe('quota_exceeded');
    expect(await result(talk)).toBe('begun\n\n[It was stopped before its end.]');
    expect(stack.e2b.calls().alive).toEqual([]);
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('resumed for a long step lives for its window, not for the provider’s default (F17)', async () => {
    const tenantId = await stack.tenant('5');
    const sandbox = { windowSeconds: 1_200, executionSeconds: 1_200, pauseAfterSeconds: 1 };
    const talk = await TestConversation.start(api, tenantId, { sandbox });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    await until('it is paused', () => stack.e2b.calls().paused.length === 1);
    stack.anthropic.knobs.replies = [{ text: '', code: sleepFor(3) }, { text: 'two' }];
    const turnId = await talk.post('Second.');
    await until('it runs again', () => stack.e2b.calls().alive.length === 1);
    const [alive = ''] = stack.e2b.calls().alive;
    const info = await fetch(`${stack.e2b.url}/sandboxes/${alive}`, { headers: { 'x-api-key': 'stand-in' } });
    const { endAt } = (await info.json()) as { endAt: string };
    expect((Date.parse(endAt) - Date.now()) / 1000).toBeGreaterThan(1_150);
    expect(await talk.ended(turnId)).toBe('completed');
    await talk.close();
  });

  test('nobody uses any more is killed, and a new one is made when it is needed', async () => {
    const tenantId = await stack.tenant('5');
    const sandbox = { pauseAfterSeconds: 1, killAfterSeconds: 1, template: 'my-template' };
    const talk = await TestConversation.start(api, tenantId, { sandbox });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    const [alive = ''] = stack.e2b.calls().alive;
    const info = await fetch(`${stack.e2b.url}/sandboxes/${alive}`, { headers: { 'x-api-key': 'stand-in' } });
    expect(await info.json()).toMatchObject({ templateID: 'my-template' });
    await until('it was paused', () => stack.e2b.calls().paused.length === 1);
    await until('it was killed', () => stack.e2b.calls().paused.length === 0);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(2)' }, { text: 'two' }];
    await talk.say('Second.');
    expect(await result(talk)).toBe('1\n|2\n');
    await talk.close();
    expect((await steps(tenantId, talk.id)).map(({ kind }) => kind)).toEqual(['sandbox.create', 'sandbox.create']);
  });

  test('is priced by the shape that it turns out to have, and by the newest version of its price', async () => {
    const price = { vcpu: 3, memoryMib: 2_048, vcpuSecondUsd: '0.000021', gibSecondUsd: '0.000005' };
    const added = await api.call('POST', '/v1/sandbox-prices', {
      body: { tier: 'odd', ...price, source: 'a test', sourceDate: '2026-11-26' },
    });
    expect(added).toMatchObject({ status: 201 });
    Object.assign(stack.e2b.knobs, { cpuCount: 3, memoryMb: 2_048 });
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { sandbox: { tier: 'odd' } });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    await talk.close();
    Object.assign(stack.e2b.knobs, { cpuCount: 4, memoryMb: 8_192 });
    const [window] = await steps(tenantId, talk.id);
    const { seconds } = window?.usage as { seconds: number };
    // 3 vCPU at $0.000021 and 2 GiB at $0.000005 a second: $0.000073.
    expect(window?.cost).toBe(String((seconds * 73) / 1_000_000));
    const listed = await spendlock(api, 'prices', 'sandboxes');
    expect(listed.out).toMatch(/odd.*3.*2.*\$0\.000021.*\$0\.000005/);
    const set = await spendlock(
      api,
      'prices',
      'set-sandbox',
      'odd',
      '--vcpu',
      '3',
      '--memory-mib',
      '2048',
      '--vcpu-second',
      '0.1',
      '--gib-second',
      '0',
      '--source',
      'a test',
    );
    expect(set).toMatchObject({ status: 0 });
    expect(set.out).toContain('Added e2b/odd@');
  });

  test('that vanishes is charged for the seconds it lived and replaced, with its stage on record', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { sandbox: { pauseAfterSeconds: 3_600 } });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    const [alive = ''] = stack.e2b.calls().alive;
    await fetch(`${stack.e2b.url}/sandboxes/${alive}`, { method: 'DELETE', headers: { 'x-api-key': 'outsider' } });
    stack.anthropic.knobs.replies = [
      { text: '', code: 'console.log(2)' },
      { text: '', code: 'console.log(3)' },
      { text: 'three' },
    ];
    await talk.say('Second.');
    expect(await result(talk)).toMatch(/^1\n\|The sandbox ended before this program did \(stage execution\).*\|3\n$/);
    expect(await event(talk.id, 'sandbox.failed')).toMatchObject({ operation: 'execute', lifecycleStage: 'execution' });
    await talk.close();
    const windows = await steps(tenantId, talk.id);
    expect(windows).toMatchObject([
      { kind: 'sandbox.create', settlement: 'actual' },
      { kind: 'sandbox.create', settlement: 'actual' },
    ]);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('that is over before its window is leaves room for a second window: the limit of its run counts what it cost (XA8)', async () => {
    const tenantId = await stack.tenant('5');
    const sandbox = { windowSeconds: 3_600, executionSeconds: 60 };
    const run = (limits: { maxCostUsd?: string }) =>
      stack.start({ tenantId, limits: { ...limits, maxOutputTokens: 500 }, sandbox });
    const windowsOf = async (runId: string): Promise<{ heldUsd: string; costUsd: string }[]> => {
      const { rows } = await stack.admin.query<{ heldUsd: string; costUsd: string }>(
        `SELECT granted_usd::text AS "heldUsd", committed_usd::text AS "costUsd" FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND run_id = $2 AND kind = 'sandbox.create' ORDER BY decided_at`,
        [tenantId, runId],
      );
      return rows;
    };
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    const first = await run({});
    await stack.finish({ tenantId, ...first });
    const [window] = await windowsOf(first.runId);
    // Just above what the calls of models cost, and one window.
    const maxCostUsd = formatUsd(parseUsd(window?.heldUsd ?? '0') + parseUsd('0.03'));
    stack.anthropic.knobs.replies = [
      { text: '', code: sleepFor(30) },
      { text: '', code: 'console.log(2)' },
      { text: 'two' },
    ];
    const second = await run({ maxCostUsd });
    const alive = await until('its program runs', () => stack.e2b.calls().alive[0]);
    await fetch(`${stack.e2b.url}/sandboxes/${alive}`, { method: 'DELETE', headers: { 'x-api-key': 'outsider' } });
    expect(await stack.finish({ tenantId, ...second })).toMatchObject({ status: 'completed', answer: 'two' });
    const windows = await windowsOf(second.runId);
    expect(windows).toHaveLength(2);
    expect(sumUsd(windows.map(({ heldUsd }) => parseUsd(heldUsd)))).toBeGreaterThan(parseUsd(maxCostUsd));
    expect(sumUsd(windows.map(({ costUsd }) => parseUsd(costUsd)))).toBeLessThan(parseUsd('0.005'));
  });

  test('waits for room when the provider has none, and does not fail', async () => {
    const tenantId = await stack.tenant('5');
    const alive = stack.e2b.calls().alive.length;
    stack.e2b.knobs.concurrentMax = alive;
    const talk = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log("room")' }, { text: 'done' }];
    const full = stack.e2b.calls().full;
    const turnId = await talk.post('Run.');
    // More refusals than a step has attempts.
    await until('it was refused often', () => stack.e2b.calls().full >= full + 2);
    await until('nothing is held', async () => (await stack.books(tenantId)).openReservations === 0);
    stack.e2b.knobs.concurrentMax = 1_000;
    expect(await talk.ended(turnId)).toBe('completed');
    expect(await result(talk)).toBe('room\n');
    await talk.close();
  });

  test('that nobody owns is swept and settled: its run was terminated', async () => {
    const startNow = await stack.takeOverSchedules();
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { sandbox: { pauseAfterSeconds: 3_600 } });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    expect(stack.e2b.calls().alive).toHaveLength(1);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    // Its run goes on and pays for it: it stays.
    expect(await startNow('sweepSandboxes')).toEqual({ swept: 0 });
    await stack.temporal.workflow.getHandle(talk.workflowId).terminate('by an operator');
    await stack.admin.query(`UPDATE copilot_internal.runs SET seen_at = seen_at - interval '5 minutes'`);
    await startNow('lookAfter');
    expect(await talk.show()).toMatchObject({ status: 'failed', failure: { code: 'run_lost' } });
    expect(await startNow('sweepSandboxes')).toEqual({ swept: 1 });
    expect(stack.e2b.calls().alive).toEqual([]);
    await until('it is settled', async () => (await stack.books(tenantId)).reservedUsd === '0');
    expect(await steps(tenantId, talk.id)).toMatchObject([{ kind: 'sandbox.create', settlement: 'actual' }]);
  });

  test('of another installation is left alone', async () => {
    const startNow = await stack.takeOverSchedules();
    const body = { templateID: 'base', timeout: 60, metadata: { spendlockInstallation: randomUUID() } };
    await fetch(`${stack.e2b.url}/v2/sandboxes`, {
      method: 'POST',
      headers: { 'x-api-key': 'other', 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(await startNow('sweepSandboxes')).toEqual({ swept: 0 });
    expect(stack.e2b.calls().alive).toHaveLength(1);
  });
});
