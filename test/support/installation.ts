/** What most test files begin with: a stack and its API, and stand-ins that behave anew before each test. */
import type { ServeOptions } from '../../api/server';
import { modelKnobs } from '../../scripts/stand-ins/knobs';
import { startTestApi, type TestApi } from './api';
import { TestStack } from './stack';

export interface Installation {
  stack: TestStack;
  api: TestApi;
}

/**
 * Starts them before the tests of a `describe` and stops them after. With an environment the worker has that too; what is read by
 * more than its configuration, such as an option of Node, is for a worker that has its process alone.
 */
export function withInstallation(
  hand: (made: Installation) => void,
  {
    environment = {},
    worker = true,
    serve = {},
  }: { environment?: Record<string, string>; worker?: boolean | 'alone'; serve?: Partial<ServeOptions> } = {},
): void {
  let stack: TestStack;
  let api: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    if (worker === 'alone') await stack.startWorker({ environment });
    else if (worker) await stack.startHosted(environment);
    api = await startTestApi(stack, serve);
    hand({ stack, api });
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });
  beforeEach(() => {
    for (const { knobs } of [stack.anthropic, stack.openai, stack.google]) Object.assign(knobs, modelKnobs());
    Object.assign(stack.e2b.knobs, { concurrentMax: 1_000, failCreateNext: [], loseCreateReplies: 0, latencyMs: 0 });
  });
}
