/** What tests of examples/by-base-url begin with: an API whose wire proxy stands before the stand-ins of the providers. */
import path from 'node:path';
import { startTestApi, type TestApi } from './api';
import { Project } from './package-project';
import { TestStack, until } from './stack';

const root = path.join(__dirname, '..', '..');

export const examples = new Project(path.join(root, 'examples', 'by-base-url'));
/** What runs a TypeScript program of this repository, before its name. */
export const typeScript = path.join(root, 'scripts', 'run.cjs');

interface ExampleScene {
  stack: TestStack;
  api: TestApi;
  /** How an example ends, with an agent's key. */
  end(command: [program: string, ...args: string[]], key: string): ReturnType<Project['end']>;
  /** The tenant's lines of the ledger, once it has so many. */
  ledger(tenantId: string, lines: number): Promise<Record<string, unknown>[]>;
}

/** Of a `describe`: all of it is there once its first test begins. */
export function exampleScene(): ExampleScene {
  const scene = {
    end: ([program, ...args], key) =>
      examples.end(program, args, { SPENDLOCK_API_URL: scene.api.url, SPENDLOCK_API_KEY: key }),
    ledger: (tenantId, lines) =>
      until('its calls are in the ledger', async () => {
        const { body } = await scene.api.call('GET', `/v1/cost-records?tenantId=${tenantId}`);
        const records = body.records as Record<string, unknown>[];
        return records.length === lines ? records : undefined;
      }),
  } as ExampleScene;
  beforeAll(async () => {
    scene.stack = await TestStack.start();
    const { anthropic, openai, google } = scene.stack;
    const accounts = {
      anthropic: { apiKey: 'of-the-provider', baseURL: anthropic.url },
      openai: { apiKey: 'of-the-provider', baseURL: openai.url },
      google: { apiKey: 'of-the-provider', baseURL: google.url },
    };
    scene.api = await startTestApi(scene.stack, { proxy: { accounts } });
  });
  afterAll(async () => {
    await scene.api.close();
    await scene.stack.stop();
  });
  return scene;
}
