/** Spans of the plugin, by OpenTelemetry as a user sets it up: one a call of a model, and nothing that was said in it. */
import { trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { SpendlockPlugin, type CallMoney } from '../../../workers/plugin';
import { priceOfTest } from '../../support/proxy-prices';

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
afterAll(() => trace.disable());
beforeEach(() => exporter.reset());

const calls: CallMoney = {
  prices: () => Promise.resolve([priceOfTest('anthropic', 'claude-test')]),
  hold: (asked) => Promise.resolve({ ...asked, grantedUsd: asked.amountUsd }),
  extend: () => Promise.resolve(),
  settle: () => Promise.resolve(),
  mayPass: () => false,
};
const scope = { tenantId: 'acme' };
const plugin = new SpendlockPlugin({ budget: { calls }, scope, activities: { research: { estimateUsd: '1' } } });
const { interceptors } = plugin.configureWorker({ taskQueue: 'q' });
const attemptOf = (activityType: string) =>
  new MockActivityEnvironment(
    { activityType },
    { interceptors: interceptors?.activity as ActivityInterceptorsFactory[] },
  );

const secret = 'What nobody finds in a span.';
const prompt = [{ role: 'user', content: [{ type: 'text', text: secret }] }];
const invoke = (answer: () => Promise<unknown>): Promise<unknown> =>
  attemptOf('invokeModel').run(answer as never, { modelId: 'claude-test', options: { prompt } } as never);

test('a call is a span by the conventions for generative AI', async () => {
  const raw = { input_tokens: 1_000, output_tokens: 100, cache_read_input_tokens: 400 };
  await invoke(() => Promise.resolve({ usage: { raw }, content: [{ type: 'text', text: secret }] }));
  const [span, ...more] = exporter.getFinishedSpans();
  expect(more).toEqual([]);
  expect(span?.name).toBe('chat claude-test');
  expect(span?.attributes).toEqual({
    tenantId: 'acme',
    operationId: expect.any(String) as string,
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'anthropic',
    'gen_ai.request.model': 'claude-test',
    'gen_ai.usage.input_tokens': 1_400,
    'gen_ai.usage.output_tokens': 100,
  });
  expect(JSON.stringify(span?.attributes)).not.toContain(secret);
});

test.each([
  ['is refused', { name: 'AI_APICallError', statusCode: 529 }, 'not_billed'],
  ['fails', { name: 'AI_APICallError', statusCode: 500 }, 'unknown'],
])('one that %s is a span that says so', async (_what, fields, type) => {
  const error = Object.assign(new Error(secret), fields);
  await expect(invoke(() => Promise.reject(error))).rejects.toThrow(secret);
  const [span] = exporter.getFinishedSpans();
  expect(span?.attributes).toMatchObject({ 'error.type': type });
  expect(span?.status).toMatchObject({ code: 2, message: type });
  expect(JSON.stringify([span?.attributes, span?.events])).not.toContain(secret);
});

test('an activity of a user’s own is none', async () => {
  await attemptOf('research').run(() => Promise.resolve('found'));
  expect(exporter.getFinishedSpans()).toEqual([]);
});
