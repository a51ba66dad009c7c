/**
 * `spendlock/temporal` (O1, O2): an agent of Temporal's AI SDK integration on a worker that knows nothing of Spendlock but the API's
 * address and a key. Its models are asked by the AI SDK's own providers, in their real wire format.
 */
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { AgentWorkers, type AgentWorker } from '../support/agents';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { settledBooks, settlementsOf } from '../support/proxy';
import { startRelay } from '../support/relay';
import { until, type TestStack } from '../support/stack';

const modelId = 'anthropic:claude-haiku-4-5';
const prompt = 'What is the weather in Oslo?';
const usesTool = { text: 'I look.', tools: [{ name: 'weather', input: { city: 'Oslo' } }] };

let stack: TestStack;
let api: TestApi;
let workers: AgentWorkers;
let tenantId: string;
let agent: AgentWorker;
withInstallation((made) => ({ stack, api } = made));

const pluginOf = async (tenant: string) => ({
  baseUrl: api.url,
  apiKey: await api.keyOf(tenant, 'agent'),
  scope: { userId: 'ada', labels: { team: 'search' } },
});

beforeAll(async () => {
  workers = new AgentWorkers(stack);
  tenantId = await stack.tenant('10');
  agent = await workers.start(await pluginOf(tenantId));
});
afterAll(() => workers.stop());
beforeEach(() => {
  Object.assign(stack.anthropic.knobs, modelKnobs(), { usage: { input_tokens: 1_000, output_tokens: 200 } });
});

/** Where the ledger ends, once nothing is under way. */
const ledgerEnd = async (): Promise<unknown> => {
  await settledBooks(stack, tenantId);
  const { rows } = await stack.admin.query<{ end: unknown }>(
    'SELECT coalesce(max(cost_record_id), 0) AS end FROM copilot_internal.cost_records WHERE tenant_id = $1',
    [tenantId],
  );
  return rows[0]?.end;
};

/** The ledger's lines after that, in their order. */
const linesAfter = async (end: unknown) => {
  await settledBooks(stack, tenantId);
  const { rows } = await stack.admin.query<Record<string, unknown>>(
    `SELECT kind, model, amount_usd::text AS usd, user_id, labels, settlement, price_version
       FROM copilot_internal.cost_records WHERE tenant_id = $1 AND cost_record_id > $2 ORDER BY cost_record_id`,
    [tenantId, end],
  );
  return rows;
};

describe('a call', () => {
  test('of a model, and of each paid activity, is a line of the ledger at what it cost', async () => {
    const end = await ledgerEnd();
    stack.anthropic.knobs.replies.push(usesTool, { text: 'It rains.' });
    expect(await agent.ask('weatherAgent', { modelId, prompt })).toEqual({ text: 'It rains.' });
    const model = {
      ...{ kind: 'llm.call', model: 'claude-haiku-4-5', usd: '0.002000000000', settlement: 'actual' },
      ...{ user_id: 'ada', labels: { team: 'search' } },
      price_version: expect.stringContaining('anthropic/claude-haiku-4-5@') as string,
    };
    expect(await linesAfter(end)).toEqual([
      model,
      { ...model, kind: 'weather.lookup', model: null, usd: '0.004000000000', price_version: 'caller' },
      model,
    ]);
  });

  test('that names no limit of its answer is given one; one that does keeps it', async () => {
    await agent.ask('weatherAgent', { modelId, prompt });
    expect(stack.anthropic.lastRequest().max_tokens).toBe(8_192);
    await agent.ask('weatherAgent', { modelId, prompt, maxOutputTokens: 77 });
    expect(stack.anthropic.lastRequest().max_tokens).toBe(77);
  });

  test('of OpenAI’s is priced by its own report', async () => {
    const end = await ledgerEnd();
    Object.assign(stack.openai.knobs, modelKnobs(), {
      usage: {
        input_tokens: 1_000,
        output_tokens: 100,
        total_tokens: 1_100,
        input_tokens_details: { cached_tokens: 400 },
      },
    });
    expect(await agent.ask('weatherAgent', { modelId: 'openai:gpt-4o', prompt })).toHaveProperty('text');
    expect(stack.openai.lastRequest()).toMatchObject({ service_tier: 'default' });
    // $2.50, $1.25 from a cache, and $10 a million.
    expect(await linesAfter(end)).toMatchObject([{ model: 'gpt-4o', usd: '0.003000000000', settlement: 'actual' }]);
  });

  test('of Gemini’s is priced by its own report, thoughts and all', async () => {
    const end = await ledgerEnd();
    const counts = { promptTokenCount: 1_000, cachedContentTokenCount: 400, candidatesTokenCount: 60 };
    const usage = { ...counts, thoughtsTokenCount: 40, totalTokenCount: 1_100 };
    Object.assign(stack.google.knobs, modelKnobs(), { usage });
    const asked = { modelId: 'google:gemini-2.5-pro', prompt };
    expect(await agent.ask('weatherAgent', asked)).toHaveProperty('text');
    // 600 at $1.25, 400 at $0.125 from a cache, and 100 at $10 a million.
    const line = { model: 'gemini-2.5-pro', usd: '0.001800000000', settlement: 'actual' };
    expect(await linesAfter(end)).toMatchObject([line]);
    Object.assign(stack.google.knobs, modelKnobs(), { usage, replies: [{ text: 'Word by word.' }] });
    const inStream = await ledgerEnd();
    expect(await agent.ask('streamingAgent', asked)).toEqual({ text: 'Word by word.' });
    expect(await linesAfter(inStream)).toMatchObject([line]);
  });

  test('that is a stream is priced by its last report, and denied as any other', async () => {
    const end = await ledgerEnd();
    stack.anthropic.knobs.replies.push({ text: 'Word by word.' });
    expect(await agent.ask('streamingAgent', { modelId, prompt })).toEqual({ text: 'Word by word.' });
    expect(await linesAfter(end)).toMatchObject([{ usd: '0.002000000000', settlement: 'actual' }]);
    const denied = await agent.ask('streamingAgent', {
      modelId: 'anthropic:claude-opus-4-20250514',
      prompt: 'x'.repeat(900_000),
    });
    expect(denied).toMatchObject({ failed: 'quota_exceeded', deniedBy: 'tenant $10' });
  });

  test('of embeddings is priced by the tokens that were read', async () => {
    const end = await ledgerEnd();
    Object.assign(stack.openai.knobs, modelKnobs(), { usage: { prompt_tokens: 500, total_tokens: 500 } });
    const asked = { modelId: 'openai:text-embedding-3-small', prompt };
    expect(await agent.ask('embeddingAgent', asked)).toEqual({ text: '2 vectors' });
    expect(await linesAfter(end)).toMatchObject([{ model: 'text-embedding-3-small', usd: '0.000010000000' }]);
  });

  test('of a tool of an MCP server costs what it is named with', async () => {
    const end = await ledgerEnd();
    stack.anthropic.knobs.replies.push({ text: '', tools: [{ name: 'money_left', input: {} }] }, { text: 'Enough.' });
    expect(await agent.ask('toolsAgent', { modelId, prompt })).toEqual({ text: 'Enough.' });
    expect(await linesAfter(end)).toMatchObject([
      { kind: 'llm.call' },
      { kind: 'money-callTool', usd: '0.001000000000' },
      { kind: 'llm.call' },
    ]);
  });

  test('is budgeted once where the connection of its worker has the plugin too', async () => {
    const own = await stack.tenant('10');
    const twice = await workers.start({ ...(await pluginOf(own)), comesTwice: true });
    expect(await twice.ask('weatherAgent', { modelId, prompt })).toHaveProperty('text');
    expect(await settlementsOf(stack, own)).toEqual(['actual']);
    await twice.stop();
  });

  test('and what was said in it is in no log of its worker, whatever becomes of it', async () => {
    const [canary, apiKey] = ['A sentence that nobody finds in a log', await api.keyOf(tenantId, 'agent')];
    const worker = await workers.start({ ...(await pluginOf(tenantId)), apiKey, holdSeconds: 5 });
    stack.anthropic.knobs.replies.push({ text: canary });
    expect(await worker.ask('weatherAgent', { modelId, prompt: canary })).toEqual({ text: canary });
    Object.assign(stack.anthropic.knobs, { usage: { input_tokens: -1 }, replies: [{ text: canary }] });
    await worker.ask('weatherAgent', { modelId, prompt: canary });
    const unknown = { modelId: 'anthropic:claude-of-tomorrow', prompt: canary };
    expect(await worker.ask('weatherAgent', unknown)).toHaveProperty('failed', 'unpriced_model');
    await settledBooks(stack, tenantId);
    await worker.stop();
    expect(worker.logged()).toContain('what a call cost is not known');
    for (const secret of [canary, apiKey]) expect(worker.logged()).not.toContain(secret);
  });

  test('whose usage cannot be billed is charged at its grant, unverified, and answers', async () => {
    const end = await ledgerEnd();
    const poor = await workers.start({ ...(await pluginOf(tenantId)), holdSeconds: 5 });
    Object.assign(stack.anthropic.knobs, { usage: { input_tokens: -1 }, replies: [{ text: 'Said.' }] });
    expect(await poor.ask('weatherAgent', { modelId, prompt })).toEqual({ text: 'Said.' });
    expect(await linesAfter(end)).toMatchObject([{ settlement: 'unverified' }]);
    await poor.stop();
  });
});

describe('a retry', () => {
  const settlements = async (tenant: string) => settlementsOf(stack, tenant);
  let own: string;
  let retrying: AgentWorker;
  beforeEach(async () => {
    own = await stack.tenant('10');
    retrying = await workers.start({ ...(await pluginOf(own)), holdSeconds: 5 });
  });
  afterEach(() => retrying.stop());

  test('is an attempt of its own; what was refused before any output costs nothing', async () => {
    stack.anthropic.knobs.failNext.push({ type: 'status', status: 529 }, { type: 'refuse' });
    expect(await retrying.ask('weatherAgent', { modelId, prompt })).toHaveProperty('text');
    expect(await settlements(own)).toEqual(['released', 'unverified', 'actual']);
  });

  test('of an activity of a user’s own is released where it says so, and charged where nobody knows', async () => {
    expect(await retrying.ask('lookUpAgent', { modelId, prompt: 'Nowhere' })).toMatchObject({
      failed: 'NotBilledError',
    });
    expect(await settlements(own)).toEqual(['released', 'released', 'released']);
    expect(await retrying.ask('lookUpAgent', { modelId, prompt: 'Atlantis' })).toMatchObject({ failed: 'Error' });
    expect((await settlements(own)).slice(3)).toEqual(['unverified', 'unverified', 'unverified']);
    expect(await stack.books(own)).toMatchObject({ ledgerUsd: '0.03' });
  });
});

describe('a call that is not made', () => {
  const billable = () => stack.anthropic.calls().billable;

  test('for want of money is a typed failure that its workflow catches, at once', async () => {
    const poor = await stack.tenant('0.000001');
    const denied = await workers.start(await pluginOf(poor));
    const before = billable();
    expect(await denied.ask('weatherAgent', { modelId, prompt })).toMatchObject({
      failed: 'quota_exceeded',
      deniedBy: 'tenant $0.000001',
      message: expect.stringContaining('No call was made.') as string,
    });
    expect(await denied.ask('lookUpAgent', { modelId, prompt: 'Oslo' })).toMatchObject({ failed: 'quota_exceeded' });
    expect(billable()).toBe(before);
    expect(await stack.books(poor)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
    await denied.stop();
  });

  test.each([
    ['has no price', { modelId: 'anthropic:claude-haiku-4' }, 'unpriced_model', 'claude-haiku-4'],
    ['is another provider’s', { modelId: 'openai:claude-haiku-4-5' }, 'unpriced_model', 'openai'],
  ])('since its model %s says so', async (_why, more, failed, names) => {
    const before = billable();
    expect(await agent.ask('weatherAgent', { prompt, ...more })).toMatchObject({
      failed,
      message: expect.stringContaining(names) as string,
    });
    expect(billable()).toBe(before);
  });

  test('since the key is of nobody says so, and is not tried for ever', async () => {
    const nobody = await workers.start({ baseUrl: api.url, apiKey: 'slk_of_nobody' });
    expect(await nobody.ask('weatherAgent', { modelId, prompt })).toMatchObject({ failed: 'unauthorized' });
    await nobody.stop();
  });
});

describe('between a call and its commit', () => {
  test('a worker that dies leaves what it bought charged at its grant, and the next attempt its own line', async () => {
    const own = await stack.tenant('10');
    const relay = await startRelay(api.url);
    const plugin = { ...(await pluginOf(own)), baseUrl: relay.url, holdSeconds: 5 };
    const dying = await workers.start(plugin);
    relay.stop = { path: /\/commit$/, how: 'hang' };
    const handle = await dying.begin('weatherAgent', { modelId, prompt, maxOutputTokens: 1_000, callSeconds: 5 });
    await until('the commit is on its way', () => relay.stopped() > 0);
    await dying.kill();
    relay.stop = undefined;
    const heir = await workers.start(plugin, { taskQueue: dying.taskQueue });
    expect(await handle.result()).toHaveProperty('text');
    expect(await settlementsOf(stack, own)).toEqual(['unverified', 'actual']);
    const { ledgerUsd } = await stack.books(own);
    expect(Number(ledgerUsd)).toBeGreaterThan(0.002 + 0.005);
    await heir.stop();
    await relay.close();
  });

  test('an API that is away holds no answer back, and hears of its cost once it is there', async () => {
    const own = await stack.tenant('10');
    const relay = await startRelay(api.url);
    const patient = await workers.start({ ...(await pluginOf(own)), baseUrl: relay.url });
    relay.stop = { path: /\/commit$/, how: 'cut' };
    stack.anthropic.knobs.replies.push({ text: 'Paid for.' });
    expect(await patient.ask('weatherAgent', { modelId, prompt })).toEqual({ text: 'Paid for.' });
    expect(await stack.books(own)).toMatchObject({ openReservations: 1, ledgerUsd: '0' });
    relay.stop = undefined;
    // It is told before the worker ends.
    await patient.stop();
    expect(await settlementsOf(stack, own)).toEqual(['actual']);
    expect(await stack.books(own)).toMatchObject({ ledgerUsd: '0.002' });
    await relay.close();
  });
});

test('histories from before the plugin replay with it, and those with it without', async () => {
  const plain = await workers.start(undefined);
  const histories = [];
  for (const worker of [plain, agent]) {
    stack.anthropic.knobs.replies.push(usesTool, { text: 'It rains.' });
    const handle = await worker.begin('weatherAgent', { modelId, prompt });
    expect(await handle.result()).toEqual({ text: 'It rains.' });
    histories.push(JSON.parse(historyToJSON(await handle.fetchHistory())) as unknown);
  }
  for (const plugin of [undefined, await pluginOf(tenantId)])
    expect(await workers.replay(histories, plugin)).toEqual({ replayed: 2 });
  await plain.stop();
});
