/** The providers' own SDKs for Python through the wire proxy: the examples run as they stand. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { startTestApi, type TestApi } from '../support/api';
import { preparedPython } from '../support/python';
import { TestStack, until } from '../support/stack';

const examples = path.join(__dirname, '..', '..', 'examples', 'by-base-url');
const run = promisify(execFile);
const timeoutMs = 120_000;

describe("the providers' SDKs for Python, through the wire proxy", () => {
  let stack: TestStack;
  let api: TestApi;
  let programs: string;
  beforeAll(async () => {
    [stack, programs] = await Promise.all([TestStack.start(), preparedPython()]);
    const accounts = {
      anthropic: { apiKey: 'of-the-provider', baseURL: stack.anthropic.url },
      openai: { apiKey: 'of-the-provider', baseURL: stack.openai.url },
    };
    api = await startTestApi(stack, { proxy: { accounts } });
  }, timeoutMs);
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const example = async (
    name: string,
    key: string,
    ...questions: string[]
  ): Promise<{ status: number; stdout: string; stderr: string }> => {
    const env = { PATH: process.env.PATH, SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: key };
    return run(path.join(programs, 'python'), [path.join(examples, name), ...questions], { env, timeout: 60_000 }).then(
      (ended) => ({ status: 0, ...ended }),
      (error: unknown) => {
        const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
        return { status: code, stdout, stderr };
      },
    );
  };
  const ledger = async (tenantId: string, calls: number): Promise<Record<string, unknown>[]> =>
    until('its calls are in the ledger', async () => {
      const { body } = await api.call('GET', `/v1/cost-records?tenantId=${tenantId}`);
      const records = body.records as Record<string, unknown>[];
      return records.length === calls ? records : undefined;
    });

  test.each([
    ['anthropic_agent.py', 'anthropic'],
    ['openai_agent.py', 'openai'],
  ] as const)(
    '%s streams two answers, and each is charged what it used',
    async (name, provider) => {
      const tenantId = await stack.tenant('5');
      stack[provider].knobs.replies = [{ text: 'One.' }, { text: 'Two.' }];
      const ended = await example(name, await api.keyOf(tenantId, 'agent'), 'The first?', 'The second?');
      expect(ended).toEqual({ status: 0, stdout: 'One.\nTwo.\n', stderr: '' });
      expect(await ledger(tenantId, 2)).toMatchObject(
        Array(2).fill({ settlement: 'actual', labels: { feature: 'summary' } }),
      );
    },
    timeoutMs,
  );

  test.each(['anthropic_agent.py', 'openai_agent.py'])(
    '%s is told at once that there is no money, by the exception of its own SDK',
    async (name) => {
      const tenantId = await stack.tenant('0.000001');
      const { status, stdout, stderr } = await example(name, await api.keyOf(tenantId, 'agent'), 'Hello?');
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toMatch(new RegExp(`^There is no money for it: .*tenant ${tenantId}`));
      expect(await ledger(tenantId, 0)).toEqual([]);
    },
    timeoutMs,
  );

  test.each(['anthropic_agent.py', 'openai_agent.py'])(
    '%s that its provider fails tries again by itself: what was not billed costs nothing',
    async (name) => {
      const provider = name.startsWith('anthropic') ? 'anthropic' : 'openai';
      const tenantId = await stack.tenant('5');
      stack[provider].knobs.replies = [{ text: 'After all.' }];
      stack[provider].knobs.failNext = [{ type: 'status', status: 429, retryAfterSeconds: 1 }];
      const ended = await example(name, await api.keyOf(tenantId, 'agent'), 'Hello?');
      expect(ended).toEqual({ status: 0, stdout: 'After all.\n', stderr: '' });
      expect(await ledger(tenantId, 1)).toMatchObject([{ settlement: 'actual' }]);
      await until('nothing is held', async () => (await stack.books(tenantId)).reservedUsd === '0');
    },
    timeoutMs,
  );
});
