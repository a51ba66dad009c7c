/** The wire proxy in a process of its own (`npm run proxy`): it drains, and what dies with it is settled. */
import { startProxyProcess, type ProxyProcess } from '../support/proxy-process';
import { proxyModel as model, sendBytes, settledBooks, settlementsOf } from '../support/proxy';
import { createApiKey } from '../../store/api-keys';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { TestStack, until } from '../support/stack';

const words = 'A sentence that nobody finds in a log. ';

describe('the proxy as a process', () => {
  let stack: TestStack;
  const processes: ProxyProcess[] = [];
  const start = async (environment: Record<string, string> = {}): Promise<ProxyProcess> => {
    const proxy = await startProxyProcess(stack, environment);
    processes.push(proxy);
    return proxy;
  };
  /** A stream of ten seconds or so, once its first event has come. */
  const begin = async ({ url }: ProxyProcess, tenantId: string) => {
    const { key } = await createApiKey(stack.pool, { tenantId, role: 'agent' });
    Object.assign(stack.anthropic.knobs, {
      ...{ deltaSpacingMs: 100, replies: [{ text: words.repeat(100) }] },
      usage: { input_tokens: 1_000, output_tokens: 200 },
    });
    const body = { model, max_tokens: 2_000, stream: true, messages: [{ role: 'user', content: words }] };
    let began = false;
    const ended = sendBytes(`${url}/proxy/anthropic/v1/messages`, {
      ...{ headers: { 'x-api-key': key }, body: JSON.stringify(body), onPart: () => void (began = true) },
    });
    await until('the stream has begun', () => began);
    return { ended, key };
  };
  beforeAll(async () => {
    stack = await TestStack.start();
  });
  afterEach(() => Object.assign(stack.anthropic.knobs, modelKnobs()));
  afterAll(async () => {
    await Promise.all(processes.map((proxy) => proxy.kill()));
    await stack.stop();
  });

  test('says whether it lives and is ready, serves nothing else, and names what its environment lacks', async () => {
    const { url } = await start();
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'alive' });
    expect(await (await fetch(`${url}/readyz`)).json()).toEqual({ status: 'ready', postgres: 'ok', temporal: 'ok' });
    expect((await fetch(`${url}/v1/tenants`)).status).toBe(404);
    await expect(start({ ANTHROPIC_API_KEY: '', OPENAI_API_KEY: '', GEMINI_API_KEY: '' })).rejects.toThrow(
      /ANTHROPIC_API_KEY or OPENAI_API_KEY or GEMINI_API_KEY is needed/,
    );
  });

  test('ends once the calls that are under way have ended, and what they cost is written; nothing that was said is in its log', async () => {
    const tenantId = await stack.tenant('10');
    const proxy = await start();
    const { ended, key } = await begin(proxy, tenantId);
    await proxy.stop();
    const answer = await ended;
    expect(answer.body.toString()).toContain('message_stop');
    expect(answer.isCut).toBe(false);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.002' });
    expect(proxy.logged()).toContain('a model call was passed on');
    expect(proxy.logged()).not.toContain(words.trim());
    expect(proxy.logged()).not.toContain(key);
    expect(proxy.logged()).not.toContain(stack.workerEnvironment.ANTHROPIC_API_KEY);
  });

  test('nothing that was said is in its log where calls fail, are refused or are denied', async () => {
    const [tenantId, poor] = [await stack.tenant('10'), await stack.tenant('0.000001')];
    const { key } = await createApiKey(stack.pool, { tenantId, role: 'agent' });
    const { key: keyOfPoor } = await createApiKey(stack.pool, { tenantId: poor, role: 'agent' });
    const proxy = await start({ SPENDLOCK_PROXY_HOLD_SECONDS: '5' });
    const body = { model, max_tokens: 100, messages: [{ role: 'user', content: words }] };
    const send = (more: object | string = {}, own = key) =>
      sendBytes(`${proxy.url}/proxy/anthropic/v1/messages`, {
        headers: { 'x-api-key': own },
        body: typeof more === 'string' ? more : JSON.stringify({ ...body, ...more }),
      });
    const faults = [
      { type: 'status', status: 500 },
      { type: 'status', status: 429, retryAfterSeconds: 1 },
      ...[{ type: 'refuse' }, { type: 'nonsense' }],
    ] as const;
    const statuses: number[] = [];
    for (const fault of faults) {
      Object.assign(stack.anthropic.knobs, { failNext: [fault], replies: [{ text: words }] });
      statuses.push((await send()).status);
    }
    Object.assign(stack.anthropic.knobs, { failNext: [{ type: 'cut-before-usage' }], replies: [{ text: words }] });
    await send({ stream: true });
    statuses.push(
      (await send({}, keyOfPoor)).status,
      (await send({ [words]: words })).status,
      (await send(`{"${words}`)).status,
    );
    // The stand-in's 500 has its key in it, so that it is told in our words; nonsense is a stream that passes.
    expect(statuses).toEqual([502, 429, 502, 200, 429, 400, 400]);
    await settledBooks(stack, tenantId);
    await proxy.stop();
    expect(proxy.logged()).toContain('a model call was passed on');
    for (const secret of [words.trim(), key, keyOfPoor]) expect(proxy.logged()).not.toContain(secret);
  });

  test('a call whose answer is not waited for any longer is settled before the process ends', async () => {
    const tenantId = await stack.tenant('10');
    const proxy = await start({ SPENDLOCK_SHUTDOWN_SECONDS: '1' });
    const { ended } = await begin(proxy, tenantId);
    await proxy.stop();
    expect((await ended).isCut).toBe(true);
    // Its hold, which nobody holds any longer, would last three minutes.
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
  });

  test('killed in the middle of a stream, its hold runs out and is charged at its grant, unverified', async () => {
    const tenantId = await stack.tenant('10');
    const proxy = await start({ SPENDLOCK_PROXY_HOLD_SECONDS: '5' });
    const { ended } = await begin(proxy, tenantId);
    const { reservedUsd } = await stack.books(tenantId);
    expect(Number(reservedUsd)).toBeGreaterThan(0.01);
    await proxy.kill();
    expect((await ended).isCut).toBe(true);
    expect(await settlementsOf(stack, tenantId)).toEqual(['unverified']);
    expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: reservedUsd });
  });

  test('a hold lasts as long as its call, however short it is without word', async () => {
    const tenantId = await stack.tenant('10');
    const proxy = await start({ SPENDLOCK_PROXY_HOLD_SECONDS: '5' });
    const { ended } = await begin(proxy, tenantId);
    Object.assign(stack.anthropic.knobs, modelKnobs());
    const answer = await ended;
    expect(answer.body.toString()).toContain('message_stop');
    expect(await settlementsOf(stack, tenantId)).toEqual(['actual']);
  });
});
