/** Where the command line goes, and what it says of wrong words: never elsewhere than it was told, never nothing. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { command, spendlock } from '../support/cli';
import { program } from '../../cli/program';
import { answerCheck, type ApiDescription } from '../support/answers';
import type { TestApi } from '../support/api';
import { describedOperations } from '../support/api-document';
import { commandsOf, type Named } from '../support/commands';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

describe('the command line', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** A folder as a running `npm start` leaves it. */
  async function withLocal<T>(work: (dataDir: string) => Promise<T>): Promise<T> {
    const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-local-'));
    const local = {
      apiUrl: api.url,
      apiKey: api.adminKey,
      databaseUrl: stack.database.appUrl,
      temporalAddress: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS,
    };
    writeFileSync(path.join(dataDir, 'api.json'), JSON.stringify(local));
    try {
      return await work(dataDir);
    } finally {
      rmSync(dataDir, { recursive: true });
    }
  }

  test('XE4: goes to the running npm start, or where the environment says and then says so; half of it is an error', () =>
    withLocal(async (dataDir) => {
      const here = { SPENDLOCK_DATA_DIR: dataDir };
      const local = await command(['tenants', 'list'], here);
      expect(local).toMatchObject({ status: 0, err: '' });
      const elsewhere = 'http://127.0.0.1:1';
      const half = await command(['tenants', 'list'], { ...here, SPENDLOCK_API_URL: elsewhere });
      expect(half).toMatchObject({ status: 2, out: '' });
      expect(half.err).toContain('SPENDLOCK_API_URL is set and SPENDLOCK_API_KEY is not');
      expect(half.err).toContain('Nothing was done');
      const otherHalf = await command(['tenants', 'list'], { ...here, SPENDLOCK_API_KEY: api.adminKey });
      expect(otherHalf.err).toContain('SPENDLOCK_API_KEY is set and SPENDLOCK_API_URL is not');
      expect(otherHalf.status).toBe(2);
      const named = await command(['tenants', 'list'], {
        ...here,
        SPENDLOCK_API_URL: elsewhere,
        SPENDLOCK_API_KEY: api.adminKey,
      });
      expect(named.status).toBe(1);
      expect(named.err.split('\n')[0]).toBe(`API: ${elsewhere} (SPENDLOCK_API_URL)`);
    }));

  test('an environment that does not say where to go is a wrong use, whatever the command asks', async () => {
    const key = { SPENDLOCK_API_KEY: 'a key' };
    for (const [words, environment] of [
      [['tenants', 'list'], {}],
      [['tenants', 'list'], { ...key, SPENDLOCK_API_URL: 'localhost:8080' }],
      [['workers', 'list'], { TEMPORAL_CONFIG_FILE: __filename }],
      [['keys', 'first'], {}],
      [['doctor', '--books'], {}],
      [['keys', 'first'], { DATABASE_URL: 'nonsense' }],
      [['keys', 'first'], { DATABASE_URL: 'mysql://127.0.0.1/x' }],
      [['doctor', '--books'], { DATABASE_URL: 'nonsense' }],
      [['tenants', 'list'], { ...key, SPENDLOCK_API_URL: 'http://ada:hunter2@localhost:8080' }],
    ] as const) {
      const dataDir = path.join(tmpdir(), 'spendlock-nobody');
      const { status, out, err } = await command([...words, '--json'], { SPENDLOCK_DATA_DIR: dataDir, ...environment });
      expect([words, status, JSON.parse(out)]).toMatchObject([words, 2, { error: { code: 'wrong_use' } }]);
      expect(err).toContain('Nothing was done.');
      expect(err + out).not.toContain('hunter2');
    }
  });

  test('a Postgres that does not answer, or not this one, is told with what was done', async () => {
    const url = new URL(stack.database.appUrl);
    const away = 'postgres://x@127.0.0.1:1/x';
    const noName = 'postgres://x@nobody.invalid/x';
    url.password = 'another';
    for (const [words, DATABASE_URL, code, says] of [
      [['keys', 'first'], away, 'unreachable', 'Postgres did not answer (ECONNREFUSED)'],
      [['doctor', '--books'], away, 'unreachable', 'Postgres did not answer (ECONNREFUSED)'],
      [['keys', 'first'], noName, 'unreachable', 'Postgres did not answer ('],
      [['keys', 'first'], url.href, 'refused', 'Postgres refuses it: password authentication failed'],
    ] as const) {
      const { status, out, err } = await command([...words, '--json'], { DATABASE_URL });
      expect([words, status, JSON.parse(out)]).toMatchObject([words, 1, { error: { code } }]);
      expect(err).toContain(says);
      expect(err).toContain('Nothing was done.');
    }
  });

  test('XE4: doctor and workers look at the Temporal and the Postgres of the running npm start', () =>
    withLocal(async (dataDir) => {
      const address = process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '';
      const here = { SPENDLOCK_DATA_DIR: dataDir, SPENDLOCK_TASK_QUEUE_PREFIX: stack.prefix };
      const doctor = await command(['doctor'], here);
      expect(doctor.out).toContain(`${address} answers`);
      expect(doctor).toMatchObject({ status: 0, err: '' });
      expect(await command(['workers', 'list'], here)).toMatchObject({ status: 0, err: '' });
      const other = await command(['workers', 'list'], { ...here, TEMPORAL_ADDRESS: '127.0.0.1:1' });
      expect(other.status).toBe(1);
      expect(other.err.split('\n')[0]).toBe('Temporal: 127.0.0.1:1, namespace default (from the environment)');
      expect(other.err).toMatch(/Temporal at 127[.]0[.]0[.]1:1 cannot be reached .*Nothing was done[.]/);
      const inJson = await command(['workers', 'list', '--json'], { ...here, TEMPORAL_ADDRESS: '127.0.0.1:1' });
      expect([inJson.status, JSON.parse(inJson.out)]).toMatchObject([1, { error: { code: 'unreachable' } }]);
    }));

  test('XE5: a key of the administration is made when it is said, and its last one is not taken away unasked', async () => {
    const neither = await spendlock(api, 'keys', 'create', '--label', 'x');
    expect(neither.status).toBe(2);
    expect(neither.err).toContain('--admin');
    const tenantId = await stack.tenant('5');
    expect((await spendlock(api, 'keys', 'create', '--admin', '--tenant', tenantId)).status).toBe(2);
    const list = await spendlock(api, 'keys', 'list', '--json');
    const inForce = (JSON.parse(list.out) as { keys: { apiKeyId: string; revokedAt: string | null }[] }).keys.filter(
      ({ revokedAt }) => revokedAt === null,
    );
    expect(inForce).toHaveLength(1);
    const last = inForce[0]?.apiKeyId ?? '';
    const kept = await spendlock(api, 'keys', 'revoke', last);
    expect(kept).toMatchObject({ status: 1, out: '' });
    expect(kept.err).toContain('keys first');
    expect((await spendlock(api, 'tenants', 'list')).status).toBe(0);
    const made = await spendlock(api, 'keys', 'create', '--admin', '--json');
    const second = JSON.parse(made.out) as { apiKeyId: string; apiKey: string };
    expect((await spendlock(api, 'keys', 'revoke', second.apiKeyId)).status).toBe(0);
  });

  test('XE6: amounts that are none get a message each, and nothing is lifted by 0', async () => {
    const tenantId = await stack.tenant('5');
    const operation = 'b7a3b8de-2a8e-4b8e-8f0e-0d6d9a1f9c11';
    const wrong = [
      ['budget', 'topup', tenantId, 'abc', '--reason', 'x'],
      ['budget', 'topup', tenantId, '-5', '--reason', 'x'],
      ['budget', 'topup', tenantId, '0', '--reason', 'x'],
      ['budget', 'topup', tenantId, '1e3', '--reason', 'x'],
      ['budget', 'adjust', tenantId, operation, 'abc', '--reason', 'x'],
      ['budget', 'adjust', tenantId, operation, '-1', '--reason', 'x'],
      ['budget', 'reconcile', tenantId, operation],
      ['budget', 'reconcile', tenantId, operation, '-1'],
      ['budget', 'set', tenantId, '--limit', 'abc'],
      ['budget', 'set', tenantId, '--limit', '5', '--warn-at', 'half'],
    ];
    for (const words of wrong) {
      const { status, out, err } = await spendlock(api, ...words);
      expect([words, status, out, err.length > 20]).toEqual([words, 2, '', true]);
    }
    const topups = await stack.admin.query(
      `SELECT FROM copilot_internal.audit_entries WHERE tenant_id = $1 AND action IN ('top_up', 'adjust_cost')`,
      [tenantId],
    );
    expect(topups.rowCount).toBe(0);
  });

  test('XE17: failures are one JSON value with --json, and what operators changed and who was warned is listed', async () => {
    const tenantId = await stack.tenant('5');
    const nobody = await spendlock(api, 'tenants', 'show', 'nobody', '--json');
    expect(nobody.status).toBe(1);
    expect(JSON.parse(nobody.out)).toMatchObject({ error: { code: 'unknown_tenant' } });
    const wrong = await spendlock(api, 'runs', 'list', tenantId, '--limit', 'ten', '--json');
    expect([wrong.status, JSON.parse(wrong.out)]).toMatchObject([2, { error: { code: 'wrong_use' } }]);
    for (const amount of ['1', '2'])
      await spendlock(api, 'budget', 'topup', tenantId, amount, '--resource', 'all', '--reason', `for ${amount}`);
    const page = async (...more: string[]): Promise<{ entries: { details: object }[]; nextCursor: string | null }> => {
      const asked = ['audit', 'list', tenantId, '--action', 'top_up', '--limit', '1', '--json', ...more];
      return JSON.parse((await spendlock(api, ...asked)).out) as Awaited<ReturnType<typeof page>>;
    };
    const newest = await page();
    expect(newest.entries).toMatchObject([{ action: 'top_up', details: { amountUsd: '2', reason: 'for 2' } }]);
    const older = await page('--cursor', String(newest.nextCursor));
    expect(older).toMatchObject({ entries: [{ details: { amountUsd: '1' } }], nextCursor: null });
    expect(await spendlock(api, 'alerts', tenantId)).toMatchObject({
      status: 0,
      out: `There are no alerts of ${tenantId}.\n`,
    });
    expect((await spendlock(api, '--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test('XE17: a run is started and followed, and a talk is had, to their answers', async () => {
    const tenantId = await stack.tenant('5');
    const run = await spendlock(api, 'runs', 'start', tenantId, '--task', 'Say hello.', '--follow', '--json');
    const ended = JSON.parse(run.out) as { runId: string; answer: string };
    expect([run.status, ended]).toMatchObject([0, { status: 'completed' }]);
    expect((await spendlock(api, 'runs', 'show', tenantId, ended.runId)).out).toContain(ended.answer.slice(0, 20));
    const poor = await stack.tenant('0');
    expect(await spendlock(api, 'runs', 'start', poor, '--task', 'Say hello.')).toMatchObject({ status: 3, out: '' });
    expect((await spendlock(api, 'runs', 'messages', tenantId, ended.runId)).out).toMatch(/^user: Say hello\./);
    const talk = talking(['chat', tenantId, '--close']);
    talk.end('Hello\n');
    expect(await talk.ended).toBe(0);
    expect(talk.out().trim()).not.toBe('');
  });

  test('XE17: Ctrl-C stops the turn of a talk, a second one leaves, and what the agent asks is answered in place', async () => {
    const tenantId = await stack.tenant('5');
    const asks = { text: 'May I?', code: 'console.log(6 * 7)' };
    stack.anthropic.knobs.replies = [asks, { text: 'It is 42.' }];
    const talk = talking(['chat', tenantId, '--ask']);
    talk.type('Compute.\n');
    await until('it asks', () => talk.err().includes('asks to use run_code'));
    talk.type('y\n');
    await until('it answers', () => talk.out().includes('It is 42.'));
    stack.anthropic.knobs.replies = [asks];
    talk.type('Once more.\n');
    await until('it asks again', () => talk.err().split('asks to use run_code').length === 3);
    talk.interrupt();
    const { conversations } = await api.admin.conversations.list({ tenantId });
    const id = String(conversations[0]?.conversationId);
    const turns = async (): Promise<string[]> =>
      (await api.admin.conversations.messages(id, { tenantId })).turns.map(({ status }) => status);
    await until('the turn is stopped', async () => (await turns())[1] === 'interrupted');
    talk.interrupt();
    expect(await talk.ended).toBe(0);
    expect(talk.err()).toContain('stopping; Ctrl-C once more leaves');
    expect(talk.err()).toContain(`npx spendlock chat ${tenantId} ${id}`);
    expect(await turns()).toEqual(['completed', 'interrupted']);
    expect(await api.admin.conversations.get(id, { tenantId })).toMatchObject({ status: 'running' });
  });

  test.each(['interrupt', 'terminate'] as const)(
    'who is stopped (%s) while it follows a run says that it goes on',
    async (by) => {
      const tenantId = await stack.tenant('5');
      stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'two' }];
      stack.anthropic.knobs.latencyMs = 3_000;
      const following = talking(['runs', 'start', tenantId, '--task', 'Say hello.', '--follow']);
      await until('it tells of the first step', () => following.err().includes('  · '));
      following[by]();
      expect(await following.ended).toBe(130);
      const { runId } = (await api.admin.runs.list({ tenantId })).runs[0] ?? {};
      expect(following.err()).toContain(`${String(runId)} goes on.`);
      expect(await api.admin.runs.get(String(runId), tenantId)).toMatchObject({ status: 'running' });
      await api.admin.runs.cancel(String(runId), tenantId);
    },
  );

  test('a change that a signal cuts off may have been done, and the command says what shows it', async () => {
    const tenantId = await stack.tenant('5');
    const { operationId } = await api.admin.reserve({ tenantId, resource: 'llm', amountUsd: '1' });
    await api.admin.commit(operationId, { tenantId, costUsd: '1' });
    const held = await stack.admin.connect();
    /** Runs a command that is ended while the API carries it out. */
    const cutOff = async (words: string[], by: 'interrupt' | 'terminate') => {
      const talk = talking(words);
      await until('the API is at it', async () => {
        const { rowCount } = await stack.admin.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
             AND query LIKE '%INSERT INTO copilot_internal.idempotent_requests%'`,
        );
        return rowCount === 1;
      });
      talk[by]();
      return { status: await talk.ended, out: talk.out(), err: talk.err() };
    };
    const adjust = ['budget', 'adjust', tenantId, operationId, '0.5', '--reason', 'invoice', '--json'];
    for (const [words, by, name, seen, what] of [
      [
        ['runs', 'start', tenantId, '--task', 'Say hello.'],
        'interrupt',
        'Ctrl-C',
        `runs list ${tenantId}`,
        'The run may have begun',
      ],
      [adjust, 'terminate', 'SIGTERM', `holds show ${tenantId} ${operationId}`, 'What was ordered may have been done'],
    ] as const) {
      await held.query('BEGIN');
      await held.query('LOCK TABLE copilot_internal.idempotent_requests IN ACCESS EXCLUSIVE MODE');
      const { status, out, err } = await cutOff([...words], by).finally(() => held.query('ROLLBACK'));
      expect([status, err]).toEqual([
        130,
        expect.stringContaining(`Ended by ${name} before the API had answered. ${what}`),
      ]);
      expect(err).toContain(`see: npx spendlock ${seen}\n`);
      if (by === 'interrupt') expect(out).toBe('');
      else expect(JSON.parse(out)).toMatchObject({ error: { code: 'interrupted' } });
    }
    held.release();
    await until('the run is there', async () => (await api.admin.runs.list({ tenantId })).runs.length === 1);
    await until('it was done', async () => {
      const { committedUsd } = await api.admin.reservation(operationId, { tenantId });
      return committedUsd === '0.5';
    });
  });

  test('a freeze says of whom it is, and lifting one of nobody says so and of whom there is one', async () => {
    const tenantId = await stack.tenant('5');
    const ada = ['--user', 'ada'];
    const frozen = await spendlock(api, 'budget', 'freeze', tenantId, ...ada, '--reason', 'a leak');
    expect(frozen.out).toContain(`To lift it: npx spendlock budget unfreeze ${tenantId} --user ada`);
    const again = await answer('budget', 'freeze', tenantId, ...ada, '--reason', 'a bill');
    expect(again).toEqual({ tenantId, userId: 'ada', frozen: true, reasonBefore: 'a leak' });
    const refused = await spendlock(api, 'holds', 'reserve', tenantId, '1', ...ada);
    expect(refused.err).toContain(`The budget of user ada of ${tenantId} is frozen: a bill.`);
    expect(refused.err).toContain(`\`npx spendlock budget unfreeze ${tenantId} --user ada\``);
    const checked = await spendlock(api, 'budget', 'check', tenantId, '--amount', '1', ...ada);
    expect(checked.err).toContain(`The budget of user ada of ${tenantId} is frozen: a bill.`);
    const wrong = await spendlock(api, 'budget', 'unfreeze', tenantId);
    expect(wrong.out).toContain(
      `${tenantId} was not frozen; nothing was lifted.\nuser ada of ${tenantId} is still frozen`,
    );
    const lifted = await spendlock(api, 'budget', 'unfreeze', tenantId, ...ada);
    expect(lifted.out).toBe(`user ada of ${tenantId} may reserve again.\n`);
    expect((await spendlock(api, 'holds', 'reserve', tenantId, '1', ...ada)).status).toBe(0);
  });

  test('XE17: money for a call of one’s own is asked for, held, and spent or given back', async () => {
    const tenantId = await stack.tenant('5');
    const { operationId } = await answer<{ operationId: string }>('holds', 'reserve', tenantId, '3', '--ttl', '600');
    expect(await answer('budget', 'check', tenantId, '--amount', '2')).toMatchObject({ estimatedCostUsd: '2' });
    expect(await spendlock(api, 'budget', 'check', tenantId, '--amount', '4')).toMatchObject({ status: 3, out: '' });
    await answer('holds', 'extend', tenantId, operationId, '1200');
    const { claimToken } = await answer<{ claimToken: string }>('holds', 'claim', tenantId, operationId);
    expect((await spendlock(api, 'holds', 'release', tenantId, operationId)).err).toContain('claim_refused');
    await answer('holds', 'commit', tenantId, operationId, '2.5', '--claim-token', claimToken);
    // A cost is folded within moments.
    const spent = await until('it is folded', async () => {
      const shown = await answer<{ status: string }>('holds', 'show', tenantId, operationId);
      return shown.status === 'committed' && shown;
    });
    expect(spent).toMatchObject({ committedUsd: '2.5' });
    const much = randomUUID();
    expect((await spendlock(api, 'holds', 'reserve', tenantId, '9', '--operation', much)).status).toBe(3);
    expect(await answer('holds', 'show', tenantId, much)).toMatchObject({ refused: { code: 'quota_exceeded' } });
    const why = (await spendlock(api, 'holds', 'show', tenantId, much)).out;
    expect(why).toMatch(/^status +denied\nrefused +quota_exceeded: .*\$2[.]5.*$/m);
    const own = await answer<{ operationId: string }>('holds', 'reserve', tenantId, '1');
    await answer('holds', 'release', tenantId, own.operationId);
    const lost = await answer<{ operationId: string }>('holds', 'reserve', tenantId, '1');
    await answer('holds', 'claim', tenantId, lost.operationId);
    await answer('holds', 'release', tenantId, lost.operationId, '--reason', 'the process is gone');
    expect(await answer('holds', 'list', tenantId)).toMatchObject({ holds: [] });
    expect(await answer('budget', 'check', tenantId, '--amount', '2.5')).toMatchObject({ allowed: true });
    const dear = await answer<{ operationId: string }>('holds', 'reserve', tenantId, '0.01');
    const told = ['holds', 'commit', tenantId, dear.operationId, '1.1'];
    expect((await spendlock(api, ...told)).err).toContain('cost_unconfirmed');
    for (const half of [['--reason', 'billed'], ['--confirm']])
      expect([half, (await spendlock(api, ...told, ...half)).status]).toEqual([half, 2]);
    await answer(...told, '--confirm', '--reason', 'billed');
    expect((await spendlock(api, 'audit', tenantId)).out).toMatch(/confirm_cost[^]*billed/);
    expect((await spendlock(api, ...told, '--confirm', '--reason', 'late')).out).toContain('It was confirmed before');
    await answer('budget', 'policy', 'set', tenantId, '--on-unavailable', 'allow');
    const call = ['--unreserved', '--model', 'm', '--kind', 'own.call', '--usage', '{"tokens": 5}'];
    const unasked = ['holds', 'commit', tenantId, randomUUID(), '0.5', ...call];
    await until('the policy is known', async () => (await spendlock(api, ...unasked)).status === 0);
    const { records } = await answer<{ records: object[] }>('usage', 'list', tenantId, '--model', 'm');
    expect(records).toMatchObject([{ kind: 'own.call', amountUsd: '0.5', usage: { tokens: 5 } }]);
  });

  test('XE17: the policy and what new users get are set and read back, and a file and a title too', async () => {
    const tenantId = await stack.tenant('5');
    await answer('budget', 'policy', 'set', tenantId, '--on-unavailable', 'deny', '--reason', 'a test');
    const policy = await answer('budget', 'policy', 'show', tenantId);
    expect(policy).toMatchObject({ onUnavailable: 'deny', answerTimeoutMs: 5_000 });
    const defaults = ['budget', 'user-defaults'];
    for (const wrong of [['llm/year=2'], ['llm/day=x'], []])
      expect((await spendlock(api, ...defaults, 'set', tenantId, ...wrong)).status).toBe(2);
    await answer(...defaults, 'set', tenantId, 'llm/day=2', 'all/month=20', '--warn-at', '0.9');
    expect(await answer(...defaults, 'show', tenantId)).toMatchObject({
      quotas: [
        { resourceType: 'all', period: 'month', limitUsd: '20', warningThreshold: 0.9 },
        { resourceType: 'llm', period: 'day', limitUsd: '2' },
      ],
    });
    await answer(...defaults, 'set', tenantId, '--none');
    expect(await answer(...defaults, 'show', tenantId)).toMatchObject({ quotas: [] });
    const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-files-'));
    const [given, taken] = [path.join(folder, 'a.csv'), path.join(folder, 'b.csv')];
    writeFileSync(given, 'a,b\n1,2\n');
    const file = { name: 'a.csv', content: readFileSync(given) };
    const { conversationId } = await api.admin.conversations.create({ tenantId, file });
    await answer('conversations', 'file', tenantId, conversationId, taken);
    expect(readFileSync(taken, 'utf8')).toBe('a,b\n1,2\n');
    expect((await spendlock(api, 'conversations', 'file', tenantId, conversationId, taken)).err).toContain('--force');
    await answer('conversations', 'title', tenantId, conversationId, 'Sales in March');
    const { conversations } = await answer<{ conversations: object[] }>('conversations', 'list', tenantId);
    expect(conversations).toMatchObject([{ title: 'Sales in March' }]);
    rmSync(folder, { recursive: true });
  });

  /** What a command prints with --json, run in this process. */
  async function printed(...words: string[]): Promise<unknown> {
    const lines: string[] = [];
    const environment = { ...process.env };
    const log = jest.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
    const err = jest.spyOn(console, 'error').mockImplementation(() => undefined);
    Object.assign(process.env, { SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: api.adminKey });
    try {
      await program().parseAsync([...words, '--json'], { from: 'user' });
    } finally {
      process.env = environment;
      log.mockRestore();
      err.mockRestore();
    }
    expect([words, lines.length]).toEqual([words, 1]);
    return JSON.parse(lines[0] ?? '') as unknown;
  }

  /** A tenant that has something of everything. */
  async function furnished(): Promise<Omit<Named, 'file'>> {
    const tenantId = await stack.tenant('5');
    const { admin } = api;
    await admin.tenants.setQuotas(tenantId, [
      { scope: 'user', scopeId: 'ada', resourceType: 'llm', period: 'day', limitUsd: '1' },
    ]);
    await admin.budget.topUp(tenantId, { resourceType: 'all', period: 'month', amountUsd: '1', reason: 'a test' });
    await admin.budget.setUserDefaults(tenantId, { quotas: [{ resourceType: 'llm', period: 'day', limitUsd: '2' }] });
    await admin.budget.freeze(tenantId, { userId: 'grace', reason: 'a test' });
    const { runId } = await admin.runs.start({ tenantId, userId: 'ada', task: 'Say hello.' });
    await until('it has ended', async () => (await admin.runs.get(runId, tenantId)).status === 'completed');
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(1)\nconsole.log(2)' }];
    const tools = [{ name: 'run_code' as const, requiresApproval: true }];
    const { conversationId } = await admin.conversations.create({ tenantId, userId: 'ada', tools });
    await admin.conversations.send(conversationId, { tenantId, message: 'Compute.' });
    const approvalId = await until(
      'it asks',
      async () => (await admin.approvals.list({ tenantId })).approvals[0]?.approvalId,
    );
    const held = await admin.reserve({ tenantId, resource: 'llm', amountUsd: '0.5', model: 'm' });
    const over = await admin.reserve({ tenantId, resource: 'llm', amountUsd: '0.1', userId: 'ada' });
    await admin.commit(over.operationId, { tenantId, costUsd: '0.2', usage: { tokens: 5 } });
    const { apiKeyId } = await admin.keys.create({ tenantId, role: 'reader', label: 'a test' });
    const { claimToken } = await admin.claim(held.operationId, { tenantId });
    return {
      tenantId,
      userId: 'ada',
      runId,
      conversationId,
      approvalId,
      operationId: held.operationId,
      apiKeyId,
      claimToken,
    };
  }

  test('each command that reads prints with --json what the API describes of it', async () => {
    const named = await furnished();
    const check = answerCheck((await (await fetch(`${api.url}/openapi.json`)).json()) as ApiDescription);
    const commands = commandsOf({ ...named, file: '' });
    const reading = (await describedOperations()).filter(
      ({ name, responses }) => name.startsWith('GET ') && responses[200]?.content?.['application/json'] !== undefined,
    );
    expect(reading.length).toBeGreaterThan(20);
    const fits = async (words: string[], name: string, whole = (part: unknown): unknown => part): Promise<void> => {
      const body = whole(await printed(...words.filter((word) => word !== '--cursor' && word !== 'next')));
      const path = (name.split(' ')[1] ?? '').replace(/\{\w+\}/g, 'one');
      expect([words.join(' '), check({ method: 'GET', path, status: 200, body })]).toEqual([
        words.join(' '),
        undefined,
      ]);
    };
    for (const { name, operationId } of reading) {
      const words = commands[operationId];
      if (words !== undefined) await fits(words, name);
    }
    // Those that read the same in another way.
    const { tenantId, runId, approvalId } = named;
    await fits(['approvals', 'show', tenantId, approvalId], 'GET /v1/approvals', (one) => ({
      approvals: [one],
      nextCursor: null,
    }));
    await fits(['runs', 'follow', tenantId, runId], 'GET /v1/runs/{id}');
    await fits(['budget', 'reconcile', tenantId], 'GET /v1/tenants/{id}/holds');
    await fits(['runs', 'list', tenantId, '--conversations'], 'GET /v1/runs');
    await fits(['prices', 'sandboxes'], 'GET /v1/prices');
    await fits(['budget', 'show', tenantId], 'GET /v1/tenants/{id}/quotas');
  });

  /** What a command answers as JSON. */
  async function answer<T = object>(...words: string[]): Promise<T> {
    const { status, out, err } = await spendlock(api, ...words, '--json');
    expect([words, status, err]).toEqual([words, 0, expect.stringMatching(/^API: .*\n$/)]);
    return JSON.parse(out) as T;
  }

  /** A command that goes on while it is typed to. */
  function talking(words: string[]) {
    const bin = path.join(__dirname, '..', '..', 'cli', 'spendlock.cjs');
    const env = { ...process.env, SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: api.adminKey };
    // Ctrl-C reaches all processes of a command, as a terminal sends it.
    const child = spawn(process.execPath, [bin, ...words], { env, stdio: 'pipe', detached: true });
    const said = { out: '', err: '' };
    child.stdout.on('data', (piece: Buffer) => (said.out += piece.toString()));
    child.stderr.on('data', (piece: Buffer) => (said.err += piece.toString()));
    return {
      out: () => said.out,
      err: () => said.err,
      type: (text: string) => child.stdin.write(text),
      end: (text: string) => child.stdin.end(text),
      interrupt: () => process.kill(-(child.pid ?? 0), 'SIGINT'),
      terminate: () => child.kill('SIGTERM'),
      ended: new Promise<number | null>((resolve) => child.on('exit', resolve)),
    };
  }

  test('XC6: control characters of names are not taken, and those that are there do not reach the terminal', async () => {
    const tenantId = await stack.tenant('5');
    const awkward = 'ada\u001b[2J';
    const body = { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '1', userId: awkward };
    expect((await api.call('POST', '/v1/reservations', { body })).status).toBe(400);
    expect((await api.call('POST', '/v1/tenants', { body: { tenantId: awkward } })).status).toBe(400);
    expect((await api.call('POST', '/v1/tenants', { body: { tenantId: 'plain', name: awkward } })).status).toBe(400);
    // As a version before took them.
    await stack.admin.query('UPDATE copilot_internal.tenants SET name = $2 WHERE tenant_id = $1', [tenantId, awkward]);
    await stack.admin.query(
      `INSERT INTO copilot_internal.frozen_users (tenant_id, user_id, frozen_reason) VALUES ($1, $2, 'test')`,
      [tenantId, awkward],
    );
    const list = await spendlock(api, 'tenants', 'list');
    const shown = await spendlock(api, 'budget', 'show', tenantId);
    for (const { out } of [list, shown]) {
      expect(out).toContain('ada\\u001b[2J');
      expect(out).not.toContain('\u001b');
    }
    const refused = await spendlock(api, 'budget', 'show', awkward);
    expect(refused.status).toBe(1);
    expect(refused.err).not.toContain('\u001b');
  });
});
