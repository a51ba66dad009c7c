/** The wire proxy for Google's Gemini API: its own SDK with another base URL and a key of Spendlock (requirement O3). */
import { ApiError, GoogleGenAI, type GenerateContentResponse } from '@google/genai';
import { inline, pngOf } from '../support/images';
import { settledBooks, settlementsOf } from '../support/proxy';
import { proxyScene } from '../support/proxy-scene';
import { until } from '../support/stack';

const model = 'gemini-2.5-pro';
const asked = { model, contents: 'Hello', config: { maxOutputTokens: 1_000 } };

describe('Google’s SDK through the proxy', () => {
  const scene = proxyScene('google');
  let client: GoogleGenAI;
  // The dispatcher that it looks for by itself is not there within Jest.
  const clientOf = (apiKey: string): GoogleGenAI =>
    new GoogleGenAI({ apiKey, httpOptions: { baseUrl: `${scene.api.url}/proxy/google`, fetch: globalThis.fetch } });
  const drained = async (more: object = {}): Promise<GenerateContentResponse[]> => {
    const pieces: GenerateContentResponse[] = [];
    for await (const piece of await client.models.generateContentStream({ ...asked, ...more })) pieces.push(piece);
    return pieces;
  };
  beforeEach(() => void (client = clientOf(scene.key)));

  test('a call is answered, and costs what its answer says, thoughts and what came from a cache among it', async () => {
    scene.stack.google.knobs.usage = {
      ...{ promptTokenCount: 1_000, cachedContentTokenCount: 400 },
      ...{ candidatesTokenCount: 100, thoughtsTokenCount: 100 },
    };
    const answer = await client.models.generateContent(asked);
    expect(answer.candidates?.[0]?.finishReason).toBe('STOP');
    // 600 at $1.25, 400 from a cache at $0.125, and 200 at $10 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.0028', reservedUsd: '0' });
    const { rows } = await scene.stack.admin.query(
      `SELECT kind, model, price_version LIKE 'google/%' AS priced, settlement FROM copilot_internal.cost_records WHERE tenant_id = $1`,
      [scene.tenantId],
    );
    expect(rows).toEqual([{ kind: 'llm.call', model, priced: true, settlement: 'actual' }]);
  });

  test('a prompt of more than 200,000 tokens costs what long ones do', async () => {
    scene.stack.google.knobs.usage = { promptTokenCount: 300_000, candidatesTokenCount: 100 };
    await client.models.generateContent(asked);
    // At $2.50 and $15 a million.
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.7515' });
  });

  test('a stream is answered piece by piece, with tools, and costs what its last piece says', async () => {
    scene.stack.google.knobs.usage = { promptTokenCount: 1_000, candidatesTokenCount: 200 };
    scene.stack.google.knobs.replies.push({ text: 'I look.', tools: [{ name: 'look', input: { where: 'here' } }] });
    const functionDeclarations = [{ name: 'look', parametersJsonSchema: { type: 'object' } }];
    const pieces = await drained({ config: { maxOutputTokens: 1_000, tools: [{ functionDeclarations }] } });
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.map(({ text }) => text ?? '').join('')).toBe('I look.');
    expect(pieces.flatMap(({ functionCalls = [] }) => functionCalls)).toMatchObject([{ args: { where: 'here' } }]);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0.00325', reservedUsd: '0' });
  });

  test('several answers to one prompt are reserved as so many, and cost what they say together', async () => {
    const config = { maxOutputTokens: 1_000, candidateCount: 3 };
    const { candidates } = await client.models.generateContent({ ...asked, config });
    expect(candidates).toHaveLength(3);
    const pieces = await drained({ config });
    expect(new Set(pieces.flatMap(({ candidates: some = [] }) => some.map(({ index }) => index))).size).toBe(3);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['actual', 'actual']);
    const { rows } = await scene.stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1',
      [scene.tenantId],
    );
    for (const { usd } of rows) expect(usd).toBeGreaterThan((3 * 1_000 * 10) / 1e6);
  });

  test('tokens are counted for nothing', async () => {
    const { totalTokens } = await client.models.countTokens({ model, contents: 'Hello' });
    expect(totalTokens).toBeGreaterThan(0);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test('an image that comes with it is counted by its provider, and bounded by the most that it may take', async () => {
    const counts = scene.stack.google.calls().countTokens;
    // 152 by 2 tiles, and the whole; its provider may count 258.
    const image = inline(pngOf(10_000, 100));
    await client.models.generateContent({ ...asked, contents: [{ role: 'user', parts: [image, { text: 'Look' }] }] });
    expect(scene.stack.google.calls().countTokens).toBe(counts + 1);
    await settledBooks(scene.stack, scene.tenantId);
    const { rows } = await scene.stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1',
      [scene.tenantId],
    );
    expect(rows[0]?.usd).toBeGreaterThan((305 * 258 * 1.25 + 1_000 * 10) / 1e6);
  });

  test('a denial is a 429 of its own status, with how long to wait as its clients read it', async () => {
    const poor = clientOf(await scene.api.keyOf(await scene.stack.tenant('0.000001'), 'agent'));
    const before = scene.stack.google.calls().billable;
    const error: unknown = await poor.models.generateContent(asked).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApiError);
    const { status, message } = error as ApiError;
    const said = JSON.parse(message) as { error: { details: Record<string, string>[] } };
    expect(status).toBe(429);
    expect(said).toMatchObject({
      error: { code: 429, status: 'RESOURCE_EXHAUSTED', spendlock: { error: 'quota_exceeded' } },
    });
    const wait = said.error.details.find((one) => one['@type']?.endsWith('google.rpc.RetryInfo'));
    expect(Number.parseInt(wait?.retryDelay ?? '')).toBeGreaterThan(60);
    expect(scene.stack.google.calls().billable).toBe(before);
  });

  test('a stream whose connection breaks before anything came is an error that says so, charged at its estimate', async () => {
    scene.stack.google.knobs.failNext.push({ type: 'cut-before-usage' });
    await expect(drained()).rejects.toThrow(/The connection to the provider broke/);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('a stream that is refused before it says anything costs nothing, and one that fails in the middle its estimate', async () => {
    scene.stack.google.knobs.failNext.push({ type: 'error-event', name: 'RESOURCE_EXHAUSTED' });
    await expect(drained()).rejects.toThrow(/RESOURCE_EXHAUSTED/);
    scene.stack.google.knobs.failNext.push({ type: 'error-event', name: 'INTERNAL', after: 'output' });
    await expect(drained()).rejects.toThrow(/INTERNAL/);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['released', 'unverified']);
  });

  test('a stream that says nothing of what it used is charged at its estimate', async () => {
    Object.assign(scene.stack.google.knobs, { usage: null, usageAtStart: null });
    await drained();
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  test('a client that stops its stream ends the provider’s call, which is charged at its estimate', async () => {
    Object.assign(scene.stack.google.knobs, { deltaSpacingMs: 200, replies: [{ text: 'word '.repeat(2_000) }] });
    const aborted = scene.stack.google.calls().aborted;
    const stop = new AbortController();
    const config = { maxOutputTokens: 5_000, abortSignal: stop.signal };
    const stream = await client.models.generateContentStream({ ...asked, config });
    await stream.next();
    stop.abort();
    await until('the provider’s call ends', () => scene.stack.google.calls().aborted === aborted + 1);
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['unverified']);
  });

  const content = (part: object): object => ({ contents: [{ role: 'user', parts: [part] }] });
  const config = (more: object): object => ({ generationConfig: { maxOutputTokens: 100, ...more } });
  test.each<[string, object, string]>([
    ['a limit that is none', config({ maxOutputTokens: 0.5 }), 'maxOutputTokens'],
    ['a search', { tools: [{ googleSearch: {} }] }, 'googleSearch'],
    ['a search of before, as its examples spell it', { tools: [{ google_search_retrieval: {} }] }, 'googleSearchRetr'],
    ['code that runs at the provider', { tools: [{ codeExecution: {} }] }, 'codeExecution'],
    ['a file', content({ fileData: { fileUri: 'https://a.example/b' } }), 'fileData'],
    ['a file, spelled otherwise', content({ file_data: { file_uri: 'files/1' } }), 'fileData'],
    ['sound', content({ inline_data: { mime_type: 'audio/mp3', data: 'AAAA' } }), 'audio/mp3'],
    ['a cache', { cachedContent: 'cachedContents/1' }, 'cachedContent'],
    ['pictures for an answer', config({ responseModalities: ['TEXT', 'IMAGE'] }), 'responseModalities'],
    ['speech', config({ speechConfig: {} }), 'speechConfig'],
    ['a name in two spellings', config({ max_output_tokens: 9 }), 'two spellings'],
    ['more answers than its provider makes', config({ candidateCount: 9 }), 'candidateCount'],
    ['another model than its path’s', { model: 'models/gemini-2.5-flash' }, 'gemini-2.5-flash'],
  ])('%s is refused by its name', async (_what, more, names) => {
    const before = scene.stack.google.calls();
    const body = { contents: [{ parts: [{ text: 'Hello' }] }], ...config({}), ...more };
    const answer = await scene.send(`/v1beta/models/${model}:generateContent`, body);
    expect([answer.status, answer.json().error]).toMatchObject([
      400,
      { code: 400, status: 'INVALID_ARGUMENT', message: expect.stringContaining(names) as string },
    ]);
    expect(scene.stack.google.calls()).toEqual(before);
    expect(await scene.stack.books(scene.tenantId)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
  });

  test.each([
    ['gemini-of-tomorrow:generateContent', 422, 'gemini-of-tomorrow'],
    [`${model}:streamGenerateContent`, 400, 'alt=sse'],
    [`${model}:generateContent?fields=candidates`, 400, 'fields'],
    [`${model}:generateContent?alt=json&alt=sse`, 400, 'alt'],
    [`${model}:batchGenerateContent`, 404, 'batch'],
    [`${model}:embedContent`, 404, 'price'],
  ])('%s is refused with %i', async (path, status, names) => {
    const body = { contents: [{ parts: [{ text: 'Hello' }] }], ...config({}) };
    const answer = await scene.send(`/v1beta/models/${path}`, body);
    expect([answer.status, answer.json().error.message]).toEqual([status, expect.stringContaining(names)]);
  });

  test('both versions of the API are passed on, and charged', async () => {
    for (const version of ['v1', 'v1beta']) {
      const body = { contents: [{ parts: [{ text: 'Hello' }] }], ...config({}) };
      expect(await scene.send(`/${version}/models/${model}:generateContent`, body)).toMatchObject({ status: 200 });
    }
    expect(await settlementsOf(scene.stack, scene.tenantId)).toEqual(['actual', 'actual']);
  });

  test('without a limit an answer is reserved at the longest that its model makes, where that is known', async () => {
    await client.models.generateContent({ model, contents: 'Hello' });
    await settledBooks(scene.stack, scene.tenantId);
    const { rows } = await scene.stack.admin.query<{ usd: number }>(
      'SELECT requested_usd::float8 AS usd FROM copilot_internal.reservations WHERE tenant_id = $1',
      [scene.tenantId],
    );
    expect(rows[0]?.usd).toBeGreaterThan((65_536 * 10) / 1e6);
    const refused = client.models.generateContent({ model: 'gemini-3.7-flash', contents: 'Hello' });
    await expect(refused).rejects.toThrow(/maxOutputTokens: .*is not known here/);
  });

  test('what its provider keeps is not counted either', async () => {
    const answer = await scene.send(`/v1beta/models/${model}:countTokens`, content({ file_data: { fileUri: 'f' } }));
    expect([answer.status, answer.json().error.message]).toEqual([400, expect.stringContaining('fileData')]);
  });
});
