/** The providers' own SDKs for Python, and curl, through the wire proxy: the examples run as they stand. */
import path from 'node:path';
import { exampleScene } from '../support/example-scene';
import { preparedPython } from '../support/python';
import { until } from '../support/stack';

const timeoutMs = 120_000;

describe("the providers' SDKs for Python, through the wire proxy", () => {
  const scene = exampleScene();
  let python: string;
  beforeAll(async () => {
    python = path.join(await preparedPython(), 'python');
  }, timeoutMs);
  const example = (name: string, key: string, ...questions: string[]) => scene.end([python, name, ...questions], key);

  test.each([
    ['anthropic_agent.py', 'anthropic'],
    ['openai_agent.py', 'openai'],
    ['google_agent.py', 'google'],
  ] as const)(
    '%s streams two answers, and each is charged what it used',
    async (name, provider) => {
      const tenantId = await scene.stack.tenant('5');
      scene.stack[provider].knobs.replies = [{ text: 'One.' }, { text: 'Two.' }];
      const ended = await example(name, await scene.api.keyOf(tenantId, 'agent'), 'The first?', 'The second?');
      expect(ended).toEqual({ status: 0, stdout: 'One.\nTwo.\n', stderr: '' });
      expect(await scene.ledger(tenantId, 2)).toMatchObject(
        Array(2).fill({ settlement: 'actual', labels: { feature: 'summary' } }),
      );
    },
    timeoutMs,
  );

  test.each(['anthropic_agent.py', 'openai_agent.py', 'google_agent.py'])(
    '%s is told at once that there is no money, by the exception of its own SDK',
    async (name) => {
      const tenantId = await scene.stack.tenant('0.000001');
      const { status, stdout, stderr } = await example(name, await scene.api.keyOf(tenantId, 'agent'), 'Hello?');
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toMatch(new RegExp(`^There is no money for it: .*tenant ${tenantId}`));
      expect(await scene.ledger(tenantId, 0)).toEqual([]);
    },
    timeoutMs,
  );

  test.each(['anthropic_agent.py', 'openai_agent.py'])(
    '%s that its provider fails tries again by itself: what was not billed costs nothing',
    async (name) => {
      const provider = name.startsWith('anthropic') ? 'anthropic' : 'openai';
      const tenantId = await scene.stack.tenant('5');
      scene.stack[provider].knobs.replies = [{ text: 'After all.' }];
      scene.stack[provider].knobs.failNext = [{ type: 'status', status: 429, retryAfterSeconds: 1 }];
      const ended = await example(name, await scene.api.keyOf(tenantId, 'agent'), 'Hello?');
      expect(ended).toEqual({ status: 0, stdout: 'After all.\n', stderr: '' });
      expect(await scene.ledger(tenantId, 1)).toMatchObject([{ settlement: 'actual' }]);
      await until('nothing is held', async () => (await scene.stack.books(tenantId)).reservedUsd === '0');
    },
    timeoutMs,
  );

  test(
    'Responses, whole and as a stream, and Embeddings are charged what they used; counts cost nothing',
    async () => {
      const tenantId = await scene.stack.tenant('5');
      scene.stack.openai.knobs.replies = [{ text: 'One.' }, { text: 'Two.' }];
      const { status, stdout, stderr } = await scene.end(
        [python, path.join(__dirname, 'calls.py')],
        await scene.api.keyOf(tenantId, 'agent'),
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(JSON.parse(stdout)).toEqual({
        ...{ text: 'One.', last: 'response.completed', vectors: [1_536, 1_536], counted: [true, true, true] },
      });
      const records = await scene.ledger(tenantId, 3);
      expect(records.map(({ settlement }) => settlement)).toEqual(['actual', 'actual', 'actual']);
    },
    timeoutMs,
  );

  test('curl.sh streams what is charged, and says why there is no money', async () => {
    const curl = (key: string) => scene.end(['sh', 'curl.sh'], key);
    const tenantId = await scene.stack.tenant('5');
    scene.stack.anthropic.knobs.replies = [{ text: 'Good morning.' }];
    const { status, stdout, stderr } = await curl(await scene.api.keyOf(tenantId, 'agent'));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Good morning.');
    expect(stdout).toContain('event: message_stop');
    expect(await scene.ledger(tenantId, 1)).toMatchObject([
      { settlement: 'actual', labels: { feature: 'summary' }, model: 'claude-haiku-4-5' },
    ]);
    const poor = await scene.stack.tenant('0.000001');
    const denied = await curl(await scene.api.keyOf(poor, 'agent'));
    expect(denied.status).toBe(22);
    expect(JSON.parse(denied.stdout)).toMatchObject({
      error: { message: expect.stringContaining(`tenant ${poor}`) as string },
    });
    expect(await scene.ledger(poor, 0)).toEqual([]);
  });
});
