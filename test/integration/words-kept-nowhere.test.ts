/** What agents say through either door, and what they are answered, is in no history, no table and no log (issue 21). */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { budgetWorkflowId } from '../../contracts/messages';
import { createLog } from '../../telemetry/log';
import { AgentWorkers } from '../support/agents';
import { startTestApi, type TestApi } from '../support/api';
import { columnsWith, historyOf } from '../support/kept-words';
import { decidedDirectly, mandated, type promptAnyhow } from '../support/mandates';
import { sendBytes, settledBooks, settlementsOf } from '../support/proxy';
import { TestStack } from '../support/stack';

jest.mock('../../authority/client/promptness', () =>
  jest.requireActual<{ promptAnyhow: typeof promptAnyhow }>('../support/mandates').promptAnyhow(),
);

const said = 'A question that nobody finds';
const answered = 'An answer that nobody finds';
const messages = [{ role: 'user', content: said }];
const input = said;
const contents = [{ parts: [{ text: said }] }];
const gemini = '/google/v1beta/models/gemini-2.5-pro';
/** Calls through the proxy: whole, and as streams. */
const calls: [path: string, body: object][] = [
  ['/anthropic/v1/messages', { model: 'claude-haiku-4-5', max_tokens: 100, messages }],
  ['/anthropic/v1/messages', { model: 'claude-haiku-4-5', max_tokens: 100, messages, stream: true }],
  ['/openai/v1/responses', { model: 'gpt-4o', max_output_tokens: 100, input }],
  ['/openai/v1/responses', { model: 'gpt-4o', max_output_tokens: 100, input, stream: true }],
  ['/openai/v1/chat/completions', { model: 'gpt-4o', max_tokens: 100, messages }],
  [`${gemini}:generateContent`, { contents, generationConfig: { maxOutputTokens: 100 } }],
  [`${gemini}:streamGenerateContent?alt=sse`, { contents, generationConfig: { maxOutputTokens: 100 } }],
];

describe.each([
  ['by signal', false],
  ['under a mandate', true],
])('what is said where money is asked for %s', (_how, mandates) => {
  let stack: TestStack;
  let api: TestApi;
  let agents: AgentWorkers;
  const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-words-'));
  const logFile = path.join(folder, 'api.log');

  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_MANDATES: mandates ? 'on' : 'off' });
    const accounts = {
      anthropic: { apiKey: 'stand-in', baseURL: stack.anthropic.url },
      openai: { apiKey: 'stand-in', baseURL: stack.openai.url },
      google: { apiKey: 'stand-in', baseURL: stack.google.url },
    };
    const log = createLog({ name: 'api', level: 'debug', destination: logFile });
    api = await startTestApi(stack, { mandates, log, proxy: { accounts } });
    agents = new AgentWorkers(stack);
  });
  afterAll(async () => {
    await agents.stop();
    await api.close();
    await stack.stop();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    for (const provider of [stack.anthropic, stack.openai, stack.google])
      Object.assign(provider.knobs, modelKnobs(), { replies: Array.from({ length: 4 }, () => ({ text: answered })) });
  });

  /** Nothing is held of it. */
  const tenantOf = async (): Promise<string> => {
    if (!mandates) return stack.tenant('10');
    const tenantId = await mandated(stack, api, '10');
    const { rows } = await stack.admin.query<{ id: string }>(
      'SELECT operation_id AS id FROM copilot_internal.reservations WHERE tenant_id = $1',
      [tenantId],
    );
    await Promise.all(rows.map(({ id }) => api.admin.release(id, { tenantId })));
    return tenantId;
  };
  const isNowhere = async (tenantId: string, { logs, kept = [] }: { logs: string; kept?: string[] }): Promise<void> => {
    await settledBooks(stack, tenantId);
    expect(await decidedDirectly(stack, tenantId)).toEqual(mandates ? expect.any(Number) : 0);
    const history = await historyOf(stack, budgetWorkflowId(tenantId));
    expect(history).toContain(tenantId);
    expect(await columnsWith(stack, tenantId)).toEqual(
      expect.arrayContaining(['reservations.tenant_id', 'cost_records.tenant_id']),
    );
    expect(await columnsWith(stack, said)).toEqual([]);
    expect(await columnsWith(stack, answered)).toEqual(kept);
    const written = logs + stack.workerLog() + readFileSync(logFile, 'utf8');
    for (const text of [said, answered]) for (const place of [history, written]) expect(place).not.toContain(text);
  };

  test('is nowhere, of what went through the proxy', async () => {
    const tenantId = await tenantOf();
    const before = await decidedDirectly(stack, tenantId);
    const authorization = `Bearer ${await api.keyOf(tenantId, 'agent')}`;
    for (const [to, body] of calls) {
      const answer = await sendBytes(`${api.url}/proxy${to}`, {
        headers: { authorization },
        body: JSON.stringify(body),
      });
      expect([to, answer.status]).toEqual([to, 200]);
    }
    expect(stack.openai.calls().billable).toBe(3);
    expect((await settlementsOf(stack, tenantId)).filter((one) => one === 'actual')).toHaveLength(calls.length);
    if (mandates) expect(await decidedDirectly(stack, tenantId)).toBeGreaterThan(before);
    expect(readFileSync(logFile, 'utf8')).toContain('a model call was passed on');
    await isNowhere(tenantId, { logs: '' });
  });

  test.each([
    ['over HTTP', async (tenantId: string) => ({ baseUrl: api.url, apiKey: await api.keyOf(tenantId, 'agent') }), []],
    [
      'by Postgres, but for the answer that the next attempt would use',
      (tenantId: string) =>
        Promise.resolve({ databaseUrl: stack.database.appUrl, taskQueuePrefix: stack.prefix, scope: { tenantId } }),
      ['reservations.outcome_result'],
    ],
  ])('is nowhere, of what an agent with the plugin said %s', async (_by, pluginOf, kept) => {
    const tenantId = await tenantOf();
    const agent = await agents.start(await pluginOf(tenantId));
    const asked = { modelId: 'anthropic:claude-haiku-4-5', prompt: said };
    expect(await agent.ask('weatherAgent', asked)).toEqual({ text: answered });
    expect(await agent.ask('streamingAgent', asked)).toEqual({ text: answered });
    await agent.stop();
    expect(agent.logged()).toContain('Worker state changed');
    await isNowhere(tenantId, { logs: agent.logged(), kept });
  });
});
