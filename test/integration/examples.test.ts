/** The examples of agents by a base URL run as they stand: each call is in the ledger at what it cost, and none is made without money. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { startTestApi, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

const root = path.join(__dirname, '..', '..');
const run = promisify(execFile);

interface End {
  status: number;
  stdout: string;
  stderr: string;
}

describe('agents by a base URL', () => {
  let stack: TestStack;
  let api: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start();
    const accounts = {
      anthropic: { apiKey: 'of-the-provider', baseURL: stack.anthropic.url },
      openai: { apiKey: 'of-the-provider', baseURL: stack.openai.url },
    };
    api = await startTestApi(stack, { proxy: { accounts } });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const program = async (args: string[], environment: Record<string, string>): Promise<End> => {
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
    const command = [path.join(root, 'scripts', 'run.cjs'), ...args];
    return run(process.execPath, command, { env, cwd: root, timeout: 60_000 }).then(
      (ended) => ({ status: 0, ...ended }),
      (error: unknown) => {
        const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
        return { status: code, stdout, stderr };
      },
    );
  };
  const example = async (name: string, key: string, ...args: string[]): Promise<End> =>
    program([path.join(root, 'examples', 'by-base-url', name), ...args], {
      SPENDLOCK_API_URL: api.url,
      SPENDLOCK_API_KEY: key,
    });
  const spent = async (tenantId: string, calls: number): Promise<Record<string, unknown>[]> =>
    until('its calls are in the ledger', async () => {
      const { body } = await api.call('GET', `/v1/cost-records?tenantId=${tenantId}`);
      const records = body.records as Record<string, unknown>[];
      return records.length === calls ? records : undefined;
    });

  test.each([
    ['anthropic.ts', 'anthropic', { feature: 'summary' }],
    ['langchain.ts', 'openai', { feature: 'translation' }],
  ] as const)('%s says what the model says, and is charged what it used', async (name, provider, labels) => {
    const tenantId = await stack.tenant('5');
    stack[provider].knobs.replies = [{ text: 'God morgen.' }];
    const key = await api.keyOf(tenantId, 'agent');
    expect(await example(name, key, 'Good morning.')).toEqual({ status: 0, stdout: 'God morgen.\n', stderr: '' });
    expect(await spent(tenantId, 1)).toMatchObject([{ settlement: 'actual', labels }]);
  });

  test('openai.ts calls its tool and answers: two calls, each charged', async () => {
    const tenantId = await stack.tenant('5');
    stack.openai.knobs.replies = [
      { text: '', tools: [{ name: 'weather', input: { place: 'Bergen' } }] },
      { text: 'It is sunny.' },
    ];
    const ended = await example('openai.ts', await api.keyOf(tenantId, 'agent'));
    expect(ended).toEqual({ status: 0, stdout: 'It is sunny.\n', stderr: '' });
    expect(await spent(tenantId, 2)).toMatchObject(
      Array(2).fill({ settlement: 'actual', labels: { feature: 'weather' } }),
    );
  });

  test.each(['anthropic.ts', 'openai.ts', 'langchain.ts'])(
    '%s is told at once that there is no money',
    async (name) => {
      const tenantId = await stack.tenant('0.000001');
      const { status, stdout, stderr } = await example(name, await api.keyOf(tenantId, 'agent'), 'Good morning.');
      expect({ status, stdout: stdout.trim() }).toEqual({ status: 3, stdout: '' });
      expect(stderr).toContain(`tenant ${tenantId}`);
      expect(await spent(tenantId, 0)).toEqual([]);
    },
  );

  test('a program that is configured by its environment alone needs nothing else', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: 'Hello.' }];
    stack.openai.knobs.replies = [{ text: 'Hello too.' }];
    const key = await api.keyOf(tenantId, 'agent');
    const { status, stdout, stderr } = await program(['test/support/fixtures/own-environment.ts'], {
      ANTHROPIC_BASE_URL: `${api.url}/proxy/anthropic`,
      ANTHROPIC_AUTH_TOKEN: key,
      OPENAI_BASE_URL: `${api.url}/proxy/openai/v1`,
      OPENAI_API_KEY: key,
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'Hello. Hello too.\n', stderr: '' });
    await spent(tenantId, 2);
  });
});
