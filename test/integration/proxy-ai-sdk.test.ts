/** The AI SDK through the wire proxy: another base URL and a key of Spendlock, in agents that use tools, in streams and where it fails. */
import path from 'node:path';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { exampleScene, typeScript } from '../support/example-scene';

const program = path.join(__dirname, '..', 'support', 'fixtures', 'ai-sdk-calls.ts');

interface Failure {
  kind?: string;
  message: string;
  statusCode?: number;
  responseBody?: string;
  tries?: Failure[];
}
interface Outcome {
  text?: string;
  steps?: number;
  length?: number;
  error?: Failure;
}

describe('the AI SDK by a base URL', () => {
  const scene = exampleScene();
  let tenantId: string;
  beforeEach(async () => {
    for (const provider of ['anthropic', 'openai', 'google'] as const)
      Object.assign(scene.stack[provider].knobs, modelKnobs());
    tenantId = await scene.stack.tenant('5');
  });
  const call = async (name: string, { retries = 0, of = tenantId } = {}): Promise<Outcome> => {
    const key = await scene.api.keyOf(of, 'agent');
    const { stdout, stderr } = await scene.end([process.execPath, typeScript, program, name, String(retries)], key);
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as Outcome;
  };
  const toolThenText = [
    { text: '', tools: [{ name: 'weather', input: { place: 'Bergen' } }] },
    { text: 'Take an umbrella.' },
  ];
  const charged = { settlement: 'actual', labels: { feature: 'ai-sdk' } };

  test.each([
    ['anthropic', 'anthropic'],
    ['responses', 'openai'],
    ['google', 'google'],
  ] as const)('an agent of %s calls its tool and answers: two calls, each at its cost', async (name, provider) => {
    scene.stack[provider].knobs.replies = [...toolThenText];
    expect(await call(name)).toMatchObject({ text: 'Take an umbrella.', steps: 2 });
    expect(await scene.ledger(tenantId, 2)).toMatchObject([charged, charged]);
  });

  test.each([
    ['anthropic-stream', 'anthropic'],
    ['responses-stream', 'openai'],
    ['chat-stream', 'openai'],
    ['google-stream', 'google'],
  ] as const)('a stream (%s) is read to its end, and costs what it says', async (name, provider) => {
    scene.stack[provider].knobs.replies = [{ text: 'Take an umbrella.' }];
    expect(await call(name)).toMatchObject({ text: 'Take an umbrella.' });
    expect(await scene.ledger(tenantId, 1)).toMatchObject([charged]);
  });

  test('a text is embedded', async () => {
    const { length, error } = await call('embed');
    expect(error).toBeUndefined();
    expect(length).toBeGreaterThan(0);
    expect(await scene.ledger(tenantId, 1)).toMatchObject([charged]);
  });

  test('an agent that leaves its items with OpenAI is told to send them, and pays for the first step alone', async () => {
    const [usesTool, answers] = toolThenText;
    scene.stack.openai.knobs.replies = [{ ...usesTool, text: 'I look.' }, { ...answers }];
    const { error } = await call('responses-stored');
    expect(error).toMatchObject({ kind: 'AI_APICallError', statusCode: 400 });
    expect(error?.message).toContain('store: false');
    expect(await scene.ledger(tenantId, 1)).toMatchObject([charged]);
  });

  test('a denial is asked for again, however long it says to wait, and costs nothing; with maxRetries: 0 it is told at once', async () => {
    const poor = await scene.stack.tenant('0.000001');
    const before = scene.stack.anthropic.calls().billable;
    const { error } = await call('anthropic', { retries: 2, of: poor });
    expect(error?.tries?.map(({ statusCode }) => statusCode)).toEqual([429, 429, 429]);
    const told = (await call('anthropic', { of: poor })).error;
    expect(told).toMatchObject({ kind: 'AI_APICallError', statusCode: 429 });
    expect(JSON.parse(told?.responseBody ?? '{}')).toMatchObject({
      spendlock: { error: 'quota_exceeded', quotaDetails: { scope: 'tenant' } },
    });
    expect(scene.stack.anthropic.calls().billable).toBe(before);
    expect(await scene.ledger(poor, 0)).toEqual([]);
  });

  test('after a provider’s 500 each try is charged, since it does not obey x-should-retry; with maxRetries: 0 one is', async () => {
    const broken = { type: 'status' as const, status: 500 };
    scene.stack.anthropic.knobs.failNext = [broken];
    scene.stack.anthropic.knobs.replies = [{ text: 'Take an umbrella.' }];
    expect(await call('anthropic', { retries: 2 })).toMatchObject({ text: 'Take an umbrella.' });
    const settlements = (await scene.ledger(tenantId, 2)).map(({ settlement }) => settlement);
    expect(settlements.sort()).toEqual(['actual', 'unverified']);
    const once = await scene.stack.tenant('5');
    scene.stack.anthropic.knobs.failNext = [broken];
    expect((await call('anthropic', { of: once })).error).toMatchObject({ statusCode: 500 });
    expect(await scene.ledger(once, 1)).toMatchObject([{ settlement: 'unverified' }]);
  });
});
