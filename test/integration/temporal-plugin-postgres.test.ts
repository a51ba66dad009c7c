/** `spendlock/temporal` on a worker that reaches its budget by Postgres and signals (O1), as `budgetForOwnWorker` does. */
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { AgentWorkers } from '../support/agents';
import { settledBooks, settlementsOf } from '../support/proxy';
import { TestStack, until } from '../support/stack';
import { startTcpRelay } from '../support/tcp-relay';

const modelId = 'anthropic:claude-haiku-4-5';
const prompt = 'What is the weather in Oslo?';

let stack: TestStack;
let workers: AgentWorkers;
beforeAll(async () => {
  stack = await TestStack.start();
  workers = new AgentWorkers(stack);
});
afterAll(async () => {
  await workers.stop();
  await stack.stop();
});
beforeEach(() => {
  Object.assign(stack.anthropic.knobs, modelKnobs(), { usage: { input_tokens: 1_000, output_tokens: 200 } });
});
const pluginOf = (tenantId: string) => ({
  databaseUrl: stack.database.appUrl,
  taskQueuePrefix: stack.prefix,
  scope: { tenantId, userId: 'ada', labels: { team: 'search' } },
});

const outcomesOf = async (tenantId: string) => {
  const { rows } = await stack.admin.query<{ outcome: string | null }>(
    'SELECT outcome FROM copilot_internal.reservations WHERE tenant_id = $1',
    [tenantId],
  );
  return rows.map(({ outcome }) => outcome);
};

test('calls of models and paid activities cost what they cost, and are denied', async () => {
  const tenantId = await stack.tenant('10');
  const agent = await workers.start(pluginOf(tenantId));
  stack.anthropic.knobs.replies.push(
    { text: 'I look.', tools: [{ name: 'weather', input: { city: 'Oslo' } }] },
    { text: 'It rains.' },
  );
  expect(await agent.ask('weatherAgent', { modelId, prompt })).toEqual({ text: 'It rains.' });
  expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.008', spentUsd: '0.008' });
  const denied = await agent.ask('lookUpAgent', { modelId, prompt: 'Everywhere' });
  expect(denied).toMatchObject({ failed: 'quota_exceeded', deniedBy: 'tenant $10' });
  stack.anthropic.knobs.failNext.push({ type: 'status', status: 529 });
  await agent.ask('weatherAgent', { modelId, prompt });
  const settlements = await settlementsOf(stack, tenantId);
  expect(settlements.filter((one) => one !== null)).toEqual(['actual', 'actual', 'actual', 'released', 'actual']);
  await agent.stop();
});

/** Of agents that do not ask as `weatherAgent` does: what each asks, what it comes to, and what it costs to the last digit. */
const others = [
  {
    what: 'a stream',
    workflow: 'streamingAgent',
    asked: { modelId, prompt },
    asks: 'anthropic' as const,
    usage: { input_tokens: 1_003, cache_read_input_tokens: 10, output_tokens: 207 },
    end: { text: 'Word by word.' },
    // $1, $0.10 from a cache, and $5 a million.
    line: { model: 'claude-haiku-4-5', usd: '0.002039000000' },
  },
  {
    what: 'embeddings',
    workflow: 'embeddingAgent',
    asked: { modelId: 'openai:text-embedding-3-small', prompt },
    asks: 'openai' as const,
    usage: { prompt_tokens: 501, total_tokens: 501 },
    end: { text: '2 vectors' },
    // $0.02 a million.
    line: { model: 'text-embedding-3-small', usd: '0.000010020000' },
  },
];

const linesOf = async (tenantId: string) => {
  const { rows } = await stack.admin.query<Record<string, unknown>>(
    `SELECT kind, model, amount_usd::text AS usd, user_id, labels, settlement
       FROM copilot_internal.cost_records WHERE tenant_id = $1 ORDER BY cost_record_id`,
    [tenantId],
  );
  return rows;
};

describe.each(others)('$what', ({ workflow, asked, asks, usage, end, line: { model, usd } }) => {
  const line = {
    ...{ kind: 'llm.call', model, usd, settlement: 'actual' },
    ...{ user_id: 'ada', labels: { team: 'search' } },
  };
  let tenantId: string;
  beforeEach(async () => {
    tenantId = await stack.tenant('10');
    Object.assign(stack[asks].knobs, modelKnobs(), { usage, replies: [{ text: 'Word by word.' }] });
  });

  test('costs what its provider reports, and is denied for want of money', async () => {
    const agent = await workers.start(pluginOf(tenantId));
    expect(await agent.ask(workflow, asked)).toEqual(end);
    await settledBooks(stack, tenantId);
    expect(await linesOf(tenantId)).toEqual([line]);
    await agent.stop();
    const poor = await stack.tenant('0.0000001');
    const denied = await workers.start(pluginOf(poor));
    const before = stack[asks].calls().billable;
    expect(await denied.ask(workflow, asked)).toMatchObject({
      failed: 'quota_exceeded',
      deniedBy: 'tenant $0.0000001',
    });
    expect(stack[asks].calls().billable).toBe(before);
    expect(await stack.books(poor)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
    await denied.stop();
  });

  test('that a worker bought which died before it could say so is used by the next attempt', async () => {
    const database = new URL(stack.database.appUrl);
    const relay = await startTcpRelay(database.host);
    database.host = relay.address;
    const dying = await workers.start({ ...pluginOf(tenantId), databaseUrl: database.href });
    const before = stack[asks].calls().billable;
    // It is written, and never hears so: it goes on telling, and hands nothing over meanwhile.
    relay.loseAnswers('record_outcome', Infinity);
    const handle = await dying.begin(workflow, { ...asked, callSeconds: 8 });
    await until('its cost is on record', async () => (await outcomesOf(tenantId)).includes('billed'));
    await dying.kill();
    await relay.close();
    const heir = await workers.start(pluginOf(tenantId), { taskQueue: dying.taskQueue });
    expect(await handle.result()).toEqual(end);
    expect(stack[asks].calls().billable).toBe(before + 1);
    await settledBooks(stack, tenantId);
    expect(await linesOf(tenantId)).toEqual([line]);
    await heir.stop();
  });
});

test('what a worker bought that died before Temporal heard of it is used by the next attempt', async () => {
  const tenantId = await stack.tenant('10');
  const relay = await startTcpRelay(process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '');
  const dying = await workers.start(pluginOf(tenantId), { address: relay.address });
  Object.assign(stack.anthropic.knobs, { latencyMs: 1_000, replies: [{ text: 'Bought once.' }] });
  const before = stack.anthropic.calls().billable;
  const handle = await dying.begin('weatherAgent', { modelId, prompt, callSeconds: 8 });
  await until('its model is asked', () => stack.anthropic.calls().inFlight > 0);
  relay.fallSilent();
  await until('its cost is on record', async () => (await outcomesOf(tenantId)).includes('billed'));
  await dying.kill();
  await relay.close();
  const heir = await workers.start(pluginOf(tenantId), { taskQueue: dying.taskQueue });
  expect(await handle.result()).toEqual({ text: 'Bought once.' });
  expect(stack.anthropic.calls().billable).toBe(before + 1);
  expect(await settlementsOf(stack, tenantId)).toEqual(['actual']);
  expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.002', openReservations: 0 });
  await heir.stop();
});

test('a claim whose answer is lost is given back, and the next attempt makes the call', async () => {
  const tenantId = await stack.tenant('10');
  const database = new URL(stack.database.appUrl);
  const relay = await startTcpRelay(database.host);
  database.host = relay.address;
  const agent = await workers.start({ ...pluginOf(tenantId), databaseUrl: database.href });
  stack.anthropic.knobs.replies.push({ text: 'It rains.' });
  const before = stack.anthropic.calls().billable;
  relay.loseAnswers('claim_reservation', 2);
  expect(await agent.ask('weatherAgent', { modelId, prompt })).toEqual({ text: 'It rains.' });
  expect(agent.logged()).toContain('Postgres did not say whether the reservation was claimed');
  expect(await settlementsOf(stack, tenantId)).toEqual(['released', 'actual']);
  expect(stack.anthropic.calls().billable).toBe(before + 1);
  const { rows } = await stack.admin.query<{ outcome: string; claimed: boolean }>(
    `SELECT outcome, claimed_at IS NOT NULL AS claimed FROM copilot_internal.reservations WHERE tenant_id = $1 ORDER BY decided_at`,
    [tenantId],
  );
  expect(rows).toEqual([
    { outcome: 'not_billed', claimed: true },
    { outcome: 'billed', claimed: true },
  ]);
  expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.002', openReservations: 0 });
  await agent.stop();
  await relay.close();
});
