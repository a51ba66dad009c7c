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

test('what a worker bought that died before Temporal heard of it is used by the next attempt', async () => {
  const tenantId = await stack.tenant('10');
  const relay = await startTcpRelay(process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '');
  const dying = await workers.start(pluginOf(tenantId), { address: relay.address });
  Object.assign(stack.anthropic.knobs, { latencyMs: 1_000, replies: [{ text: 'Bought once.' }] });
  const before = stack.anthropic.calls().billable;
  const handle = await dying.begin('weatherAgent', { modelId, prompt, callSeconds: 8 });
  await until('its model is asked', () => stack.anthropic.calls().inFlight > 0);
  relay.fallSilent();
  await until('its cost is on record', async () => {
    const { rows } = await stack.admin.query<{ outcome: string | null }>(
      'SELECT outcome FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    return rows[0]?.outcome === 'billed';
  });
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
