/** One id has many spellings that Postgres takes for it. However it is spelled, it is one operation. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { parseUuid } from '../../core/ids';
import type { BudgetCommand, ReserveCommand } from '../../core/budget/commands';
import { budgetStateQuery, budgetWorkflowId } from '../../contracts/messages';
import type { Answer, TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { spellingOf, spellingsOf } from '../support/spellings';
import { type TestStack, until } from '../support/stack';

const seed = Number(process.env.SPENDLOCK_TEST_SEED ?? Date.now() % 2 ** 31);

/** An id with letters in it: digits have no case. */
const newId = (): string => `ab${randomUUID().slice(2)}`;

describe('an id, however it is spelled', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const post = (path: string, body: object, headers: Record<string, string> = {}): Promise<Answer> =>
    api.call('POST', path, { body, headers });
  const reserve = (tenantId: string, operationId: string, amountUsd = '10'): Promise<Answer> =>
    post('/v1/reservations', { operationId, tenantId, resource: 'llm', amountUsd });
  const end = (tenantId: string, operationId: string, verb: string, more: object = {}): Promise<Answer> =>
    post(`/v1/reservations/${encodeURIComponent(operationId)}/${verb}`, { tenantId, ...more });
  const rows = async (tenantId: string): Promise<Record<string, unknown>[]> =>
    (
      await stack.admin.query<Record<string, unknown>>(
        `SELECT operation_id::text, status, trim_scale(granted_usd)::text AS granted,
           (SELECT count(*)::integer FROM copilot_internal.cost_records c
            WHERE c.tenant_id = r.tenant_id AND c.operation_id = r.operation_id) AS lines
         FROM copilot_internal.reservations r WHERE tenant_id = $1 ORDER BY decided_at`,
        [tenantId],
      )
    ).rows;
  const settled = (tenantId: string) =>
    until('the books are settled', async () => {
      const books = await stack.books(tenantId);
      return books.openReservations === 0 && books;
    });
  const command = (operationId: string, amountUsd = '10'): ReserveCommand => ({
    type: 'reserve',
    operationId,
    resource: 'llm',
    amountUsd,
    priceVersion: 'test',
    ttlSeconds: 60,
    kind: 'test',
  });

  test('XA1: reserved in three spellings it is one grant, one row, and nothing is held after its commit', async () => {
    const tenantId = await stack.tenant('100');
    const id = newId();
    const answers = await Promise.all(spellingsOf(id).map((spelling) => reserve(tenantId, spelling)));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]).toMatchObject({ status: 201, body: { operationId: id, grantedUsd: '10' } });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '10', openReservations: 1 });
    expect(await end(tenantId, id, 'commit', { costUsd: '4' })).toMatchObject({ status: 200 });
    expect(await settled(tenantId)).toMatchObject({ reservedUsd: '0', spentUsd: '4', ledgerUsd: '4' });
  });

  test('XA1: reserved in capitals after its commit it stays committed, and the tenant goes on', async () => {
    const tenantId = await stack.tenant('100');
    const id = newId();
    await reserve(tenantId, id);
    await end(tenantId, id, 'commit', { costUsd: '4' });
    await settled(tenantId);
    expect(await reserve(tenantId, id.toUpperCase())).toMatchObject({ status: 201, body: { operationId: id } });
    expect(await rows(tenantId)).toEqual([{ operation_id: id, status: 'committed', granted: '10', lines: 1 }]);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', spentUsd: '4', openReservations: 0 });
    await end(tenantId, id.toUpperCase(), 'commit', { costUsd: '4' });
    expect(await reserve(tenantId, newId())).toMatchObject({ status: 201 });
    expect(await reserve(tenantId, newId())).toMatchObject({ status: 201 });
  });

  test('XA1: reserved twice and released once, eleven times, it takes nothing of the limit of the platform', async () => {
    const platform = { quotas: [{ resourceType: 'all', limitUsd: '1000' }] };
    await api.call('PUT', '/v1/platform/quotas', { body: platform });
    const reserved = async (): Promise<unknown> => {
      const { quotas } = (await api.call('GET', '/v1/platform/quotas')).body as { quotas: { reservedUsd: string }[] };
      return quotas[0]?.reservedUsd;
    };
    const before = await reserved();
    const tenantId = await stack.tenant('1000');
    for (let time = 0; time < 11; time += 1) {
      const id = newId();
      await reserve(tenantId, id, '5');
      await reserve(tenantId, id.toUpperCase(), '5');
      expect(await end(tenantId, id, 'release')).toMatchObject({ status: 200, body: { status: 'released' } });
    }
    expect(await settled(tenantId)).toMatchObject({ reservedUsd: '0', spentUsd: '0' });
    expect(await reserved()).toBe(before);
  });

  test('XA1: released before it is reserved in capitals, it is refused', async () => {
    const tenantId = await stack.tenant('100');
    const id = newId();
    expect(await end(tenantId, id, 'release')).toMatchObject({ status: 200 });
    expect(await reserve(tenantId, id.toUpperCase())).toMatchObject({
      status: 409,
      body: { error: 'operation_released' },
    });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0' });
  });

  test('XA1: committed in capitals it is answered as it was recorded', async () => {
    const tenantId = await stack.tenant('100');
    const id = newId();
    await reserve(tenantId, id);
    const answer = await end(tenantId, id.toUpperCase(), 'commit', { costUsd: '4' });
    expect(answer).toMatchObject({ status: 200, body: { operationId: id, status: 'committed' } });
    expect(await settled(tenantId)).toMatchObject({ reservedUsd: '0', spentUsd: '4' });
  });

  test('every command over HTTP, in any spelling: one row, one answer, one line in the ledger', async () => {
    process.stdout.write(`spellings over HTTP: seed ${seed}\n`);
    const tenantId = await stack.tenant('100000');
    const id = fc.uuid();
    const history = id.chain((one) =>
      fc.tuple(fc.constant(one), fc.array(spellingOf(one), { minLength: 6, maxLength: 6 })),
    );
    await fc.assert(
      fc.asyncProperty(history, async ([operationId, spelled]) => {
        const [first = '', second = '', third = '', fourth = '', fifth = '', sixth = ''] = spelled;
        const key = { 'idempotency-key': randomUUID() };
        const grants = await Promise.all([
          reserve(tenantId, first, '1'),
          reserve(tenantId, second, '1'),
          post('/v1/reservations', { operationId: third, tenantId, resource: 'llm', amountUsd: '1' }, key),
        ]);
        for (const grant of grants) expect(grant).toMatchObject({ status: 201, body: { operationId } });
        expect(new Set(grants.map(({ body }) => body.expiresAt)).size).toBe(1);
        const claimed = await end(tenantId, third, 'claim');
        expect(claimed).toMatchObject({ status: 200, body: { operationId } });
        const { claimToken } = claimed.body as { claimToken: string };
        expect((await end(tenantId, fourth, 'extend', { ttlSeconds: 600 })).status).toBe(200);
        const where = `/v1/reservations/${encodeURIComponent(fifth)}`;
        expect((await api.call('GET', `${where}?tenantId=${tenantId}`)).body).toMatchObject({ operationId });
        const commits = await Promise.all(
          [fifth, sixth].map((spelling) =>
            post(
              `/v1/reservations/${encodeURIComponent(spelling)}/commit`,
              { tenantId, costUsd: '0.5', claimToken: claimToken.toUpperCase() },
              { 'idempotency-key': `commit ${operationId}` },
            ),
          ),
        );
        for (const answer of commits) expect(answer).toMatchObject({ status: 200, body: { operationId } });
        await until('it is settled', async () => (await stack.books(tenantId)).openReservations === 0);
        expect((await rows(tenantId)).filter((row) => row.operation_id === operationId)).toEqual([
          { operation_id: operationId, status: 'committed', granted: '1', lines: 1 },
        ]);
      }),
      { seed, numRuns: 8 },
    );
    const all = await rows(tenantId);
    expect(await settled(tenantId)).toMatchObject({ reservedUsd: '0', spentUsd: String(all.length * 0.5) });
  });

  test('every command by raw signals, in any spelling: one row, one line in the ledger, and the authority lives', async () => {
    process.stdout.write(`spellings by signal: seed ${seed}\n`);
    const tenantId = await stack.tenant('100000');
    const history = fc
      .uuid()
      .chain((one) => fc.tuple(fc.constant(one), fc.array(spellingOf(one), { minLength: 6, maxLength: 6 })));
    await fc.assert(
      fc.asyncProperty(history, async ([operationId, spelled]) => {
        const [first = '', second = '', third = '', fourth = '', fifth = '', sixth = ''] = spelled;
        await stack.signal(tenantId, [command(first), command(second)]);
        await until('it is granted', async () =>
          (await rows(tenantId)).some((row) => row.operation_id === operationId && row.status === 'granted'),
        );
        // No command any more: who still sends it is heard, and nothing comes of it.
        const extend = { type: 'extend', operationId: fourth, ttlSeconds: 900 } as unknown as BudgetCommand;
        await stack.signal(tenantId, [command(third), extend]);
        expect(await end(tenantId, operationId, 'claim')).toMatchObject({ status: 200 });
        await stack.signal(tenantId, [
          { type: 'commit', operationId: fifth },
          { type: 'release', operationId: sixth },
          command(sixth),
          { type: 'commit', operationId: first },
        ]);
        await until('it is settled', async () => (await stack.books(tenantId)).openReservations === 0);
        expect((await rows(tenantId)).filter((row) => row.operation_id === operationId)).toEqual([
          { operation_id: operationId, status: 'committed', granted: '10', lines: 1 },
        ]);
      }),
      { seed, numRuns: 8 },
    );
    const all = await rows(tenantId);
    expect(await settled(tenantId)).toMatchObject({ reservedUsd: '0', spentUsd: String(all.length * 10) });
  });

  test('signals that are no commands are set aside, and the tenant goes on', async () => {
    const tenantId = await stack.tenant('100');
    const id = newId();
    const nonsense = [
      null,
      7,
      'reserve',
      [],
      {},
      { type: 'reserve' },
      { type: 'credit', operationId: newId(), amountUsd: '1000' },
      { type: 'commit', operationId: 12 },
      { type: 'release', operationId: null },
      { ...command(newId()), amountUsd: 5 },
      { ...command(newId()), userId: {} },
      { ...command(newId()), resource: 'GPU' },
      { ...command(newId()), ttlSeconds: 'long' },
      { ...command(newId()), replyTo: 'me' },
      { ...command(newId()), kind: '\0' },
      command(' ' + newId()),
    ];
    await stack.signal(tenantId, nonsense as BudgetCommand[]);
    await stack.signal(tenantId, 'reserve' as never);
    await stack.signal(tenantId, null as never);
    await stack.signal(tenantId, { type: 'reserve' } as never);
    await stack.signal(tenantId, [command(id.toUpperCase(), '3')]);
    await until('the good one is decided', async () => (await rows(tenantId)).some((row) => row.operation_id === id));
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '3', openReservations: 1 });
    const state = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).query(budgetStateQuery);
    expect(state.waiting).toBe(0);
    const { raw } = await stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId)).describe();
    expect(raw.pendingWorkflowTask?.attempt ?? 1).toBe(1);
  });

  test('one operation id of two tenants is two operations, asked for at the same time', async () => {
    const [first, second] = [await stack.tenant('10'), await stack.tenant('1')];
    const id = newId();
    const [granted, denied] = await Promise.all([reserve(first, id, '5'), reserve(second, id.toUpperCase(), '5')]);
    expect(granted).toMatchObject({ status: 201, body: { grantedUsd: '5' } });
    expect(denied).toMatchObject({ status: 429 });
  });

  test('runs, conversations, turns, approvals and keys are found in any spelling', async () => {
    const tenantId = await stack.tenant('10');
    const run = await stack.run({ tenantId });
    for (const spelling of spellingsOf(run.runId)) {
      const where = `/v1/runs/${encodeURIComponent(spelling)}?tenantId=${tenantId}`;
      expect(await api.call('GET', where)).toMatchObject({ status: 200, body: { runId: run.runId } });
      const lines = `/v1/cost-records?tenantId=${tenantId}&runId=${encodeURIComponent(spelling)}`;
      expect(((await api.call('GET', lines)).body.records as unknown[] | undefined)?.length).toBe(1);
    }
    const talk = await TestConversation.start(api, tenantId);
    await talk.say('Hello.');
    for (const spelling of spellingsOf(talk.id)) {
      const where = `/v1/conversations/${encodeURIComponent(spelling)}?tenantId=${tenantId}`;
      expect(await api.call('GET', where)).toMatchObject({ status: 200, body: { conversationId: talk.id } });
    }
    const said = await post(`/v1/conversations/${encodeURIComponent(`{${talk.id.toUpperCase()}}`)}/messages`, {
      tenantId,
      message: 'Once more.',
    });
    expect(said).toMatchObject({ status: 202 });
    const { apiKeyId } = (await post('/v1/keys', { tenantId, label: 'of a test' })).body as { apiKeyId: string };
    expect(await post(`/v1/keys/${apiKeyId.toUpperCase()}/revoke`, { tenantId })).toMatchObject({
      status: 200,
      body: { apiKeyId },
    });
  });

  test('the command line takes any spelling, and says what is no id', async () => {
    const tenantId = await stack.tenant('10');
    const id = newId();
    await reserve(tenantId, id, '1');
    const wrong = await spendlock(api, 'holds', 'release', tenantId, `${id}0`, '--reason', 'a test');
    expect(wrong).toMatchObject({ status: 2 });
    expect(wrong.err).toContain('It is no UUID.');
    const released = await spendlock(api, 'holds', 'release', tenantId, `{${id.toUpperCase()}}`, '--reason', 'a test');
    expect(released).toMatchObject({ status: 0, out: `${id} is released.\n` });
    expect(await settled(tenantId)).toMatchObject({ reservedUsd: '0' });
  });

  test('the parser takes what Postgres takes, and writes what Postgres writes', async () => {
    process.stdout.write(`the parser of ids: seed ${seed}\n`);
    const near = fc
      .tuple(
        fc.uuid().chain(spellingOf),
        fc.nat(40),
        fc.constantFrom('', '-', '--', '{', '}', ' ', 'g', 'A', '\n', 'ａ'),
      )
      .map(([text, place, put]) => text.slice(0, place) + put + text.slice(place));
    const texts = fc.sample(fc.oneof(near, fc.uuid().chain(spellingOf), fc.string()), { seed, numRuns: 2_000 });
    const storable = texts.filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text));
    const { rows: read } = await stack.admin.query<{ text: string; id: string | null }>(
      `SELECT text, CASE WHEN pg_input_is_valid(text, 'uuid') THEN text::uuid::text END AS id FROM unnest($1::text[]) AS text`,
      [storable],
    );
    expect(read.filter(({ id }) => id !== null).length).toBeGreaterThan(100);
    for (const { text, id } of read) expect([text, parseUuid(text) ?? null]).toEqual([text, id]);
  });
});
