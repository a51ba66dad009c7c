/** Bodies that are small to send and large to read: nobody else waits while one is taken apart. */
import { startApiProcess, type ApiProcess } from '../support/api-process';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

const MiB = 2 ** 20;

describe('a body of very many values', () => {
  let stack: TestStack;
  let api: TestApi;
  let own: ApiProcess;
  let key: string;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  beforeAll(async () => {
    own = await startApiProcess(stack);
    key = await api.keyOf(await stack.tenant('10'));
  });
  afterAll(() => own.stop());

  /** The answer to a body, and how long somebody else waited at most meanwhile. */
  const send = async (path: string, body: string): Promise<{ status: number; error: string; othersMaxMs: number }> => {
    let isOver = false;
    let othersMaxMs = 0;
    const others = (async () => {
      while (!isOver) {
        const askedMs = performance.now();
        await (await fetch(`${own.url}/healthz`)).text();
        othersMaxMs = Math.max(othersMaxMs, performance.now() - askedMs);
      }
    })();
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const response = await fetch(own.url + path, { method: 'POST', headers, body });
    const { error } = (await response.json()) as { error: string };
    isOver = true;
    await others;
    return { status: response.status, error, othersMaxMs };
  };
  const many = (bytes: number): string => `{"task":"x","a":[${'{},'.repeat(bytes / 3)}{}]}`;

  test.each([
    ['beside the place of a file', '/v1/runs', 25 * MiB],
    ['of a conversation', '/v1/conversations', 25 * MiB],
    ['that is no large body', '/v1/quota-checks', 1.9 * MiB],
    ['where a file may come, that is no large body', '/v1/runs', 0.2 * MiB],
  ])('%s is refused, and others are answered meanwhile', async (_what, path, bytes) => {
    // A machine that has other things to do holds others up too, but not each time.
    const waitedMs: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      const { status, error, othersMaxMs } = await send(path, many(bytes));
      expect({ status, error }).toEqual({ status: 413, error: 'payload_too_large' });
      waitedMs.push(othersMaxMs);
    }
    expect(Math.min(...waitedMs)).toBeLessThan(1_500);
  });

  test('is not what a long text with commas and brackets is', async () => {
    const task = 'a,[{"'.repeat(19_000);
    expect(await send('/v1/runs', JSON.stringify({ task, a: 1 }))).toMatchObject({
      status: 400,
      error: 'invalid_request',
    });
  });

  test('is not what a thousand prices are, each with all that a price can say', async () => {
    const rates = { inputUsd: '1', outputUsd: '2', cacheReadUsd: '1', cacheWrite5mUsd: '1', cacheWrite1hUsd: '1' };
    const price = {
      provider: 'anthropic',
      model: 'claude-of-tomorrow',
      ...rates,
      longContext: { thresholdTokens: 200_000, ...rates },
      webSearchPerThousandUsd: '10',
      multipliers: { serviceTier: { batch: '0.5' }, speed: { fast: '6' }, inferenceGeo: { us: '1.1' } },
      notes: 'n',
      source: 'their page',
      sourceDate: '2026-11-01',
      effectiveFrom: '2027-01-01T00:00:00Z',
    };
    // Read whole, and then refused to whoever is no administrator.
    const body = JSON.stringify({ prices: Array(1_000).fill(price), author: 'me' });
    expect(await send('/v1/prices', body)).toMatchObject({ status: 403, error: 'forbidden' });
  });

  test('is not what a large file is, whatever is wrong with it', async () => {
    const lines = 'YWJj\\r\\n'.repeat(200_000);
    const answer = await send('/v1/runs', `{"task":"x","file":{"name":"a.txt","contentBase64":"${lines}"}}`);
    expect(answer).toMatchObject({ status: 400, error: 'invalid_request' });
  });
});
