/** Labels of calls through the wire proxy: those of a header, over those of the run and of the key (docs/decisions/0053). */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { startTestApi, type TestApi } from '../support/api';
import { sendBytes, settledBooks } from '../support/proxy';
import { TestStack } from '../support/stack';

const messages = [{ role: 'user' as const, content: 'Hello' }];

describe('labels of calls that are passed on', () => {
  let stack: TestStack;
  let api: TestApi;
  let tenantId: string;
  beforeAll(async () => {
    stack = await TestStack.start();
    const apiKey = 'the-key-of-the-provider';
    const accounts = {
      anthropic: { apiKey, baseURL: stack.anthropic.url },
      openai: { apiKey, baseURL: stack.openai.url },
    };
    api = await startTestApi(stack, { proxy: { accounts } });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });
  beforeEach(async () => {
    tenantId = await stack.tenant('10');
  });

  /** What the ledger says each call was for. */
  const recorded = async (): Promise<unknown[]> => {
    await settledBooks(stack, tenantId);
    const { rows } = await stack.admin.query<{ labels: unknown }>(
      `SELECT labels FROM copilot_internal.cost_records WHERE tenant_id = $1 AND kind = 'llm.call' ORDER BY cost_record_id`,
      [tenantId],
    );
    return rows.map(({ labels }) => labels);
  };
  const keyWith = async (labels: Record<string, string>): Promise<string> => {
    const { body } = await api.call('POST', '/v1/keys', { body: { tenantId, role: 'agent', labels } });
    return String(body.apiKey);
  };

  test('an SDK sends them as a default header, and they are with the cost', async () => {
    const apiKey = await api.keyOf(tenantId, 'agent');
    const defaultHeaders = { 'x-spendlock-labels': 'team=search,feature=summary of Z%C3%BCrich' };
    const labels = { team: 'search', feature: 'summary of Zürich' };
    const openai = new OpenAI({ apiKey, baseURL: `${api.url}/proxy/openai/v1`, defaultHeaders });
    await openai.chat.completions.create({ model: 'gpt-4o', max_completion_tokens: 100, messages });
    expect(await recorded()).toEqual([labels]);
    const anthropic = new Anthropic({ apiKey, baseURL: `${api.url}/proxy/anthropic`, defaultHeaders });
    await anthropic.messages.create({ model: 'claude-haiku-4-5', max_tokens: 100, messages });
    expect(await recorded()).toEqual([labels, labels]);
    // Whom it is for is nobody's business at the provider.
    expect(JSON.stringify([stack.openai.lastRequest(), stack.anthropic.lastRequest()])).not.toContain('search');
  });

  const ask = (key: string, headers: Record<string, string>, provider: 'anthropic' | 'openai' = 'anthropic') =>
    sendBytes(`${api.url}/proxy/${provider}/v1/${provider === 'openai' ? 'chat/completions' : 'messages'}`, {
      headers: { authorization: `Bearer ${key}`, ...headers },
      body: JSON.stringify({
        ...(provider === 'openai' ? { model: 'gpt-4o' } : { model: 'claude-haiku-4-5' }),
        max_tokens: 100,
        messages,
      }),
    });

  test('that are in the header win over those of the run, and these over those of the key', async () => {
    const key = await keyWith({ team: 'of-key', stage: 'of-key', by: 'key' });
    const body = { tenantId, task: 'Say something.', labels: { team: 'of-run', stage: 'of-run' } };
    const { body: started } = await api.call('POST', '/v1/runs', { body });
    const runId = String(started.runId);
    const headers = { 'x-spendlock-run': runId, 'x-spendlock-labels': 'team=of-request' };
    expect((await ask(key, headers)).status).toBe(200);
    expect(await recorded()).toContainEqual({ team: 'of-request', stage: 'of-run', by: 'key' });
  });

  test('that are wrong, or too many with those of the key, are refused in the shape of the provider', async () => {
    const key = await keyWith(Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((name) => [name, 'x'])));
    const many = { 'x-spendlock-labels': 'f=1,g=1,h=1,i=1' };
    const wrong = { 'x-spendlock-labels': 'Team=search' };
    for (const headers of [wrong, many]) {
      const answer = await ask(key, headers);
      expect([answer.status, answer.json()]).toMatchObject([
        400,
        {
          type: 'error',
          error: { type: 'invalid_request_error', message: expect.stringContaining('labels') as string },
        },
      ]);
      const other = await ask(key, headers, 'openai');
      expect([other.status, other.json()]).toMatchObject([
        400,
        { error: { type: 'invalid_request_error', param: null } },
      ]);
    }
    expect(await recorded()).toEqual([]);
  });
});
