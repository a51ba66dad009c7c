/** What tests of the wire proxy by a provider's own SDK begin with: an API before that provider's stand-in, and a tenant of each test's own. */
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { startTestApi, type TestApi } from './api';
import { sendBytes, type BytesAnswer } from './proxy';
import { rawProvider, type RawProvider } from './raw-provider';
import { TestStack } from './stack';

/** The providers that have a scene, and what each appends to its address. */
const providers = { anthropic: '', openai: '/v1', google: '' } as const;
export type Provider = keyof typeof providers;

export const providerKey = 'the-key-of-the-provider';

interface Scene {
  stack: TestStack;
  api: TestApi;
  /** Has $10. */
  tenantId: string;
  /** An agent's, of that tenant. */
  key: string;
  /** Sends a body to a path below the provider's base URL. */
  send(
    path: string,
    body: object | string,
    headers?: Record<string, string>,
    onPart?: (all: Buffer) => void,
  ): Promise<BytesAnswer>;
}

interface RawScene extends Scene {
  provider: RawProvider;
}

/** Of a `describe`: all of it is there once its first test begins. */
export function proxyScene(provider: Provider): Scene {
  const scene = sceneOf(provider);
  beforeAll(async () => {
    scene.stack = await TestStack.start();
    const accounts = { [provider]: { apiKey: providerKey, baseURL: scene.stack[provider].url } };
    scene.api = await startTestApi(scene.stack, { proxy: { accounts } });
  });
  beforeEach(() => void Object.assign(scene.stack[provider].knobs, modelKnobs()));
  hooks(scene);
  return scene;
}

/** The same before a provider whose every byte a test writes itself. */
export function rawProxyScene(provider: Provider): RawScene {
  const scene = sceneOf(provider) as RawScene;
  beforeAll(async () => {
    [scene.stack, scene.provider] = await Promise.all([TestStack.start(), rawProvider()]);
    const accounts = { [provider]: { apiKey: providerKey, baseURL: scene.provider.url + providers[provider] } };
    scene.api = await startTestApi(scene.stack, { proxy: { accounts } });
  });
  beforeEach(() => void (scene.provider.asked.length = 0));
  hooks(scene);
  afterAll(() => scene.provider.close());
  return scene;
}

function sceneOf(provider: Provider): Scene {
  const scene = {
    send: (path: string, body: object | string, headers: Record<string, string> = {}, onPart?: (all: Buffer) => void) =>
      sendBytes(`${scene.api.url}/proxy/${provider}${path}`, {
        headers: { authorization: `Bearer ${scene.key}`, ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...(onPart ? { onPart } : {}),
      }),
  } as Scene;
  return scene;
}

function hooks(scene: Scene): void {
  beforeEach(async () => {
    scene.tenantId = await scene.stack.tenant('10');
    scene.key = await scene.api.keyOf(scene.tenantId, 'agent');
  });
  afterAll(async () => {
    await scene.api.close();
    await scene.stack.stop();
  });
}
