/** One worker with the plugin for several tenants, which its workflows name (O1): each pays for its own calls, and nobody else for them. */
import { tenantIdAttribute } from '../../contracts/messages';
import { AgentWorkers, type AgentWorker } from '../support/agents';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { settledBooks } from '../support/proxy';
import type { TestStack } from '../support/stack';
import { SpendlockPlugin } from '../../workers/plugin';

const asked = { modelId: 'anthropic:claude-haiku-4-5', prompt: 'Say something.' };

let stack: TestStack;
let api: TestApi;
let workers: AgentWorkers;
let ada: string;
let grace: string;
let stranger: string;
withInstallation((made) => ({ stack, api } = made));
beforeAll(async () => {
  workers = new AgentWorkers(stack);
  [ada, grace, stranger] = [await stack.tenant('10'), await stack.tenant('10'), await stack.tenant('10')];
});
afterAll(() => workers.stop());
beforeEach(() => {
  stack.anthropic.knobs.usage = { input_tokens: 1_000, output_tokens: 200 };
});

const reached = () => ({ baseUrl: api.url, apiKey: api.adminKey, tenants: [ada, grace] });
const ledgersUsd = async () =>
  Promise.all([ada, grace, stranger].map(async (tenant) => (await settledBooks(stack, tenant)).ledgerUsd));

describe('by its memo', () => {
  let worker: AgentWorker;
  const billable = () => stack.anthropic.calls().billable;
  beforeAll(async () => {
    worker = await workers.start({ ...reached(), tenantFrom: { memo: 'payer' } });
  });
  afterAll(() => worker.stop());

  test('each workflow is charged to the tenant that it names', async () => {
    expect(await worker.ask('weatherAgent', asked, { memo: { payer: ada } })).toHaveProperty('text');
    expect(await worker.ask('lookUpAgent', { ...asked, prompt: 'Oslo' }, { memo: { payer: grace } })).toHaveProperty(
      'text',
    );
    expect(await ledgersUsd()).toEqual(['0.002', '0.004', '0']);
  });

  test.each([
    ['that the worker does not serve', () => ({ payer: stranger }), () => stranger],
    ['that there is not', () => ({ payer: `${ada}x` }), () => 'makes no calls'],
    ['by another key', () => ({ tenant: ada }), () => "No tenant is named in the workflow's memo (payer)"],
    ['that is no text', () => ({ payer: [ada] }), () => 'no text'],
    ['at all', () => ({}), () => 'No tenant is named'],
  ])('one that names none %s makes no call', async (_what, memo, says) => {
    const before = [billable(), await ledgersUsd()];
    const end = await worker.ask('weatherAgent', asked, { memo: memo() });
    expect(end).toMatchObject({ failed: 'invalid_request' });
    expect(end.message).toContain(says());
    expect(end.message).toContain('No call was made.');
    expect([billable(), await ledgersUsd()]).toEqual(before);
  });
});

test('by a search attribute; one that names none is of the tenant that the worker has for them', async () => {
  const worker = await workers.start({
    ...reached(),
    scope: { tenantId: grace, userId: 'ada' },
    tenantFrom: { searchAttribute: tenantIdAttribute.name },
  });
  const before = (await ledgersUsd()).map(Number);
  const typedSearchAttributes = [{ key: tenantIdAttribute, value: ada }];
  await worker.ask('weatherAgent', asked, { typedSearchAttributes });
  await worker.ask('weatherAgent', asked);
  const after = (await ledgersUsd()).map(Number);
  expect(after.map((usd, at) => (usd - (before[at] ?? 0)).toFixed(4))).toEqual(['0.0020', '0.0020', '0.0000']);
  await worker.stop();
});

test('a child that names none makes no call where others are of the tenant that the worker has for them', async () => {
  const worker = await workers.start({ ...reached(), scope: { tenantId: grace }, tenantFrom: { memo: 'payer' } });
  const before = [stack.anthropic.calls().billable, await ledgersUsd()];
  const end = await worker.ask('parentAgent', asked, { memo: { payer: ada } });
  expect(end).toMatchObject({ failed: 'invalid_request', message: expect.stringContaining('memo (payer)') as string });
  expect([stack.anthropic.calls().billable, await ledgersUsd()]).toEqual(before);
  const named = { ...asked, childMemo: { payer: ada } };
  expect(await worker.ask('parentAgent', named, { memo: { payer: ada } })).toHaveProperty('text');
  const [paid] = await ledgersUsd();
  expect(Number(paid) - Number((before[1] as string[])[0])).toBeCloseTo(0.002, 9);
  await worker.stop();
});

test('a worker whose workflows could name anybody does not start', () => {
  const tenantFrom = { memo: 'payer' };
  expect(() => new SpendlockPlugin({ baseUrl: api.url, apiKey: 'slk', tenantFrom })).toThrow('tenants must say');
  expect(() => new SpendlockPlugin({ baseUrl: api.url, apiKey: 'slk', tenantFrom, tenants: [] })).toThrow(TypeError);
});
