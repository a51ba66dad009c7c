/** The examples of agents by a base URL run as they stand: each call is in the ledger at what it cost, and none is made without money. */
import path from 'node:path';
import { examples, exampleScene, typeScript } from '../support/example-scene';

const fixtures = path.join(__dirname, '..', 'support', 'fixtures');

describe('agents by a base URL', () => {
  const scene = exampleScene();
  const example = (name: string, key: string, ...args: string[]) =>
    scene.end([process.execPath, typeScript, name, ...args], key);

  test.each([
    ['anthropic.ts', 'anthropic', { feature: 'summary' }],
    ['langchain.ts', 'openai', { feature: 'translation' }],
  ] as const)('%s says what the model says, and is charged what it used', async (name, provider, labels) => {
    const tenantId = await scene.stack.tenant('5');
    scene.stack[provider].knobs.replies = [{ text: 'God morgen.' }];
    const key = await scene.api.keyOf(tenantId, 'agent');
    expect(await example(name, key, 'Good morning.')).toEqual({ status: 0, stdout: 'God morgen.\n', stderr: '' });
    expect(await scene.ledger(tenantId, 1)).toMatchObject([{ settlement: 'actual', labels }]);
  });

  test('openai.ts calls its tool and answers: two calls, each charged', async () => {
    const tenantId = await scene.stack.tenant('5');
    scene.stack.openai.knobs.replies = [
      { text: '', tools: [{ name: 'weather', input: { place: 'Bergen' } }] },
      { text: 'It is sunny.' },
    ];
    const ended = await example('openai.ts', await scene.api.keyOf(tenantId, 'agent'));
    expect(ended).toEqual({ status: 0, stdout: 'It is sunny.\n', stderr: '' });
    expect(await scene.ledger(tenantId, 2)).toMatchObject(
      Array(2).fill({ settlement: 'actual', labels: { feature: 'weather' } }),
    );
  });

  test.each(['anthropic.ts', 'openai.ts', 'langchain.ts'])(
    '%s is told at once that there is no money',
    async (name) => {
      const tenantId = await scene.stack.tenant('0.000001');
      const { status, stdout, stderr } = await example(name, await scene.api.keyOf(tenantId, 'agent'), 'Good morning.');
      expect({ status, stdout: stdout.trim() }).toEqual({ status: 3, stdout: '' });
      expect(stderr).toContain(`tenant ${tenantId}`);
      expect(await scene.ledger(tenantId, 0)).toEqual([]);
    },
  );

  test('a program that is configured by its environment alone needs nothing else', async () => {
    const tenantId = await scene.stack.tenant('5');
    scene.stack.anthropic.knobs.replies = [{ text: 'Hello.' }];
    scene.stack.openai.knobs.replies = [{ text: 'Hello too.' }];
    scene.stack.google.knobs.replies = [{ text: 'And hello.' }];
    const key = await scene.api.keyOf(tenantId, 'agent');
    const { status, stdout, stderr } = await examples.end(
      process.execPath,
      [typeScript, path.join(fixtures, 'own-environment.ts')],
      {
        ANTHROPIC_BASE_URL: `${scene.api.url}/proxy/anthropic`,
        ANTHROPIC_AUTH_TOKEN: key,
        ANTHROPIC_CUSTOM_HEADERS: 'x-spendlock-labels: feature=review',
        OPENAI_BASE_URL: `${scene.api.url}/proxy/openai/v1`,
        OPENAI_API_KEY: key,
        OPENAI_CUSTOM_HEADERS: 'x-spendlock-labels: feature=review',
        GOOGLE_GEMINI_BASE_URL: `${scene.api.url}/proxy/google`,
        GEMINI_API_KEY: key,
      },
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'Hello. Hello too. And hello.\n', stderr: '' });
    const records = await scene.ledger(tenantId, 3);
    expect(records.map(({ settlement }) => settlement)).toEqual(['actual', 'actual', 'actual']);
    // Google's SDK reads no headers from there.
    expect(records.filter(({ labels }) => labels !== null)).toMatchObject(
      Array(2).fill({ labels: { feature: 'review' } }),
    );
  });
});
