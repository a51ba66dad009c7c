/** What the wire proxy does not pass on: each a clear error in the caller's own format, with nothing sent, held or lost. */
import { startTestApi, type TestApi } from '../support/api';
import { proxyModel as model, sendBytes, settledBooks, type BytesAnswer } from '../support/proxy';
import { rawProvider, type RawProvider } from '../support/raw-provider';
import { TestStack } from '../support/stack';

const asked = { model, max_tokens: 1_000, messages: [{ role: 'user', content: 'Hello' }] };
const withBlock = (block: object): object => ({ ...asked, messages: [{ role: 'user', content: [block] }] });

describe('what is not passed on', () => {
  let stack: TestStack;
  let api: TestApi;
  let provider: RawProvider;
  let tenantId: string;
  let key: string;
  const send = (
    body: object | string,
    headers: Record<string, string> = {},
    path = '/v1/messages',
  ): Promise<BytesAnswer> =>
    sendBytes(`${api.url}/proxy/anthropic${path}`, {
      headers: { 'x-api-key': key, ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  beforeAll(async () => {
    [stack, provider] = await Promise.all([TestStack.start(), rawProvider()]);
    const accounts = { anthropic: { apiKey: 'sk-key-of-the-provider', baseURL: provider.url } };
    api = await startTestApi(stack, { proxy: { accounts } });
    tenantId = await stack.tenant('10');
    key = await api.keyOf(tenantId, 'agent');
  });
  afterEach(async () => {
    expect(provider.asked).toEqual([]);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });
  afterAll(async () => {
    await api.close();
    await provider.close();
    await stack.stop();
  });

  test.each<[string, object | string, number, string]>([
    ['an alias that the prices do not have', { ...asked, model: 'claude-haiku-4-5-latest' }, 422, 'another name'],
    ['a model of another provider', { ...asked, model: 'gpt-4o' }, 422, 'openai'],
    ['no model', { max_tokens: 1, messages: asked.messages }, 400, 'model'],
    ['no max_tokens', { model, messages: asked.messages }, 400, 'max_tokens'],
    ['a max_tokens that is none', { ...asked, max_tokens: 1e300 }, 400, 'max_tokens'],
    [
      'web searches',
      { ...asked, tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
      400,
      'web_search_20250305',
    ],
    [
      'code that runs at the provider',
      { ...asked, tools: [{ type: 'code_execution_20250825', name: 'c' }] },
      400,
      'code_execution',
    ],
    ['MCP servers', { ...asked, mcp_servers: [{ type: 'url', url: 'https://example.com' }] }, 400, 'mcp_servers'],
    ['a container', { ...asked, container: 'c' }, 400, 'container'],
    [
      'a compaction inside the call',
      { ...asked, context_management: { edits: [{ type: 'compact_20260112' }] } },
      400,
      'compact_20260112',
    ],
    ['a speed without a price', { ...asked, speed: 'fast' }, 422, 'fast'],
    ['a region without a price', { ...asked, inference_geo: 'mars' }, 422, 'mars'],
    ['a tier that is not known', { ...asked, service_tier: 'batch' }, 400, 'batch'],
    ['a file for a container', withBlock({ type: 'container_upload', file_id: 'f' }), 400, 'container_upload'],
    [
      'a file that the provider keeps',
      withBlock({ type: 'image', source: { type: 'file', file_id: 'f' } }),
      400,
      '"file"',
    ],
    [
      'an image by its address',
      withBlock({ type: 'image', source: { type: 'url', url: 'https://a.example' } }),
      400,
      'url',
    ],
    ['a field that is not known', { ...asked, of_tomorrow: 1 }, 400, 'of_tomorrow'],
    ['a name that stands twice', `{"model":"${model}","max_tokens":100000,"messages":[],"max_tokens":1}`, 400, 'twice'],
    [
      'a name that stands twice, written otherwise',
      `{"model":"${model}","max_tokens":9,"messages":[{"role":"user","content":"a"}],"max\\u005ftokens":1}`,
      400,
      'twice',
    ],
    ['no JSON', '{"model":', 400, 'no JSON'],
    ['a list', '[]', 400, 'object'],
    ['what is very deep', `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`, 400, 'deeper'],
    ['messages that are none', { ...asked, messages: 'Hello' }, 400, 'messages'],
  ])('%s: by its name, in the shape of the protocol', async (_what, body, status, names) => {
    const answer = await send(body);
    expect(answer.status).toBe(status);
    const { type, error, spendlock } = answer.json();
    expect({ type, error: error.type }).toEqual({ type: 'error', error: 'invalid_request_error' });
    expect(error.message).toContain(names);
    expect(spendlock.requestId).toBe(answer.headers['request-id']);
    expect(answer.headers['x-should-retry']).toBe('false');
  });

  test('a file that the provider keeps is not counted either', async () => {
    const block = { type: 'document', source: { type: 'file', file_id: 'of_another' } };
    const answer = await send(
      { model, messages: [{ role: 'user', content: [block] }] },
      {},
      '/v1/messages/count_tokens',
    );
    expect([answer.status, answer.json().error.message]).toEqual([400, expect.stringContaining('"file"')]);
  });

  test('a body that is compressed', async () => {
    const answer = await send(asked, { 'content-encoding': 'gzip' });
    expect([answer.status, answer.json().error.type]).toEqual([415, 'invalid_request_error']);
  });

  test.each<[string, () => Promise<Record<string, string>>, number, string]>([
    ['no key', () => Promise.resolve({ 'x-api-key': '' }), 401, 'authentication_error'],
    [
      'a key that nobody has',
      () => Promise.resolve({ 'x-api-key': `slk_${'a'.repeat(43)}` }),
      401,
      'authentication_error',
    ],
    [
      'a key that only reads',
      async () => ({ 'x-api-key': await api.keyOf(tenantId, 'reader') }),
      403,
      'permission_error',
    ],
    [
      'a key that only decides',
      async () => ({ 'x-api-key': await api.keyOf(tenantId, 'operator') }),
      403,
      'permission_error',
    ],
    [
      'a key of the administration that names no tenant',
      () => Promise.resolve({ 'x-api-key': api.adminKey }),
      400,
      'invalid_request_error',
    ],
    [
      'a tenant that there is not',
      () => Promise.resolve({ 'x-api-key': api.adminKey, 'x-spendlock-tenant': 'nobody' }),
      404,
      'not_found_error',
    ],
    [
      'a run that there is not',
      () => Promise.resolve({ 'x-spendlock-run': '00000000-0000-4000-8000-000000000000' }),
      404,
      'not_found_error',
    ],
    ['a run that is no id', () => Promise.resolve({ 'x-spendlock-run': 'mine' }), 400, 'invalid_request_error'],
    ['a user that is no name', () => Promise.resolve({ 'x-spendlock-user': 'a\tb' }), 400, 'invalid_request_error'],
  ])('%s', async (_what, headers, status, type) => {
    const given = await headers();
    const answer = await send(asked, given);
    expect([answer.status, answer.json().error.type]).toEqual([status, type]);
    expect(answer.body.toString()).not.toMatch(/sk-ant|slk_|sk-key/);
  });

  test('a run of another tenant is none', async () => {
    const other = await stack.tenant('10');
    const { runId } = await stack.start({ tenantId: other });
    expect((await send(asked, { 'x-spendlock-run': runId })).status).toBe(404);
  });

  test('a key that was revoked', async () => {
    const { apiKeyId, apiKey } = await api.admin.keys.create({ tenantId, label: 'short', role: 'agent' });
    await api.admin.keys.revoke(apiKeyId, { tenantId });
    expect((await send(asked, { 'x-api-key': apiKey })).status).toBe(401);
  });

  test.each([
    ['batches', '/v1/messages/batches', 'batch'],
    ['files', '/v1/files', 'Files'],
    ['text completions', '/v1/complete', 'completions'],
    ['what the provider does not have', '/v1/nothing', 'not passed on'],
    ['a path that leads out', '/v1/models/..%2f..%2fadmin', 'not passed on'],
  ])('%s', async (_what, path, names) => {
    const answer = await send(asked, {}, path);
    expect(answer.status).toBe(404);
    expect(answer.json().error).toMatchObject({
      type: 'not_found_error',
      message: expect.stringContaining(names) as string,
    });
  });

  test('a provider that this process has no key of, and one that there is not', async () => {
    for (const path of ['/proxy/nobody/v1/messages', '/proxy/', '/proxy/anthropic']) {
      const answer = await sendBytes(`${api.url}${path}`, { headers: { 'x-api-key': key }, body: '{}' });
      expect([path, answer.status]).toEqual([path, 404]);
    }
    const without = await startTestApi(stack, { proxy: { accounts: {} } });
    const answer = await sendBytes(`${without.url}/proxy/anthropic/v1/messages`, {
      headers: { 'x-api-key': key },
      body: JSON.stringify(asked),
    });
    await without.close();
    expect([answer.status, answer.json().spendlock.error]).toEqual([502, 'provider_credentials']);
  });
});
