/** Spans and metrics of the plugin, by OpenTelemetry as a user sets it up: of each call of a model, and nothing that was said in it. */
import { metrics, trace } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type Histogram,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { SpendlockPlugin, type CallMoney } from '../../../workers/plugin';
import { labelValuesMax } from '../../../telemetry/names';
import { priceOfTest } from '../../support/proxy-prices';

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
afterAll(() => trace.disable());
beforeEach(() => exporter.reset());

const models = Array.from({ length: labelValuesMax + 2 }, (_, index) => `claude-${index}`);
const prices = [
  ...['claude-test', ...models].map((model) => priceOfTest('anthropic', model)),
  priceOfTest('openai', 'embedding-test'),
];
const calls: CallMoney = {
  prices: () => Promise.resolve(prices),
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
const invoke = (answer: () => Promise<unknown>, modelId = 'claude-test'): Promise<unknown> =>
  attemptOf('invokeModel').run(answer as never, { modelId, options: { prompt } } as never);
const raw = { input_tokens: 1_000, output_tokens: 100, cache_read_input_tokens: 400 };
const answered = () => Promise.resolve({ usage: { raw }, content: [{ type: 'text', text: secret }] });
const refused = Object.assign(new Error(secret), { name: 'AI_APICallError', statusCode: 529 });

test('a call is a span by the conventions for generative AI', async () => {
  await invoke(answered);
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

describe('metrics', () => {
  let metricExporter: InMemoryMetricExporter;
  let reader: PeriodicExportingMetricReader;
  let provider: MeterProvider;
  beforeEach(() => {
    metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 });
    provider = new MeterProvider({ readers: [reader] });
  });
  afterEach(async () => {
    metrics.disable();
    await provider.shutdown();
  });

  /** All that is measured, by name: each with its unit, its boundaries, and what was recorded under which labels. */
  const read = async () => {
    await reader.forceFlush();
    const [all] = metricExporter.getMetrics().slice(-1);
    return Object.fromEntries(
      (all?.scopeMetrics ?? []).flatMap(({ metrics: measured }) =>
        measured.map(({ descriptor: { name, unit }, dataPoints }) => {
          const points = dataPoints.map(({ attributes, value }) => ({ attributes, value: value as Histogram }));
          return [name, { unit, boundaries: points[0]?.value.buckets.boundaries, points }];
        }),
      ),
    );
  };

  test('a call is measured by the conventions for generative AI, and by nothing else', async () => {
    metrics.setGlobalMeterProvider(provider);
    await invoke(answered);
    await invoke(answered);
    await attemptOf('research').run(() => Promise.resolve('found'));
    const { 'gen_ai.client.token.usage': tokens, 'gen_ai.client.operation.duration': duration, ...more } = await read();
    expect(more).toEqual({});
    const labels = {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': 'claude-test',
    };
    expect(tokens).toMatchObject({
      unit: '{token}',
      boundaries: [1, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576],
    });
    expect(tokens?.points).toEqual([
      {
        attributes: { ...labels, 'gen_ai.token.type': 'input' },
        value: expect.objectContaining({ sum: 2_800, count: 2 }) as Histogram,
      },
      {
        attributes: { ...labels, 'gen_ai.token.type': 'output' },
        value: expect.objectContaining({ sum: 200, count: 2 }) as Histogram,
      },
    ]);
    expect(duration).toMatchObject({ unit: 's' });
    expect(duration?.boundaries).toEqual(expect.arrayContaining([0.005, 1, 600]));
    expect(duration?.points).toEqual([
      { attributes: labels, value: expect.objectContaining({ count: 2 }) as Histogram },
    ]);
  });

  test('so is one of embeddings, and one that fails, without tokens', async () => {
    metrics.setGlobalMeterProvider(provider);
    const body = { usage: { prompt_tokens: 500, total_tokens: 500 } };
    const embedded = () => Promise.resolve({ embeddings: [[0]], usage: { tokens: 500 }, response: { body } });
    const asked = { modelId: 'embedding-test', values: ['a'] };
    await attemptOf('invokeEmbeddingModel').run(embedded as never, asked as never);
    await expect(invoke(() => Promise.reject(refused))).rejects.toThrow(secret);
    const { 'gen_ai.client.token.usage': tokens, 'gen_ai.client.operation.duration': duration } = await read();
    const embedding = {
      'gen_ai.operation.name': 'embeddings',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'embedding-test',
    };
    expect(tokens?.points.map(({ attributes, value: { sum } }) => ({ ...attributes, sum }))).toEqual([
      { ...embedding, 'gen_ai.token.type': 'input', sum: 500 },
      { ...embedding, 'gen_ai.token.type': 'output', sum: 0 },
    ]);
    expect(duration?.points.map(({ attributes }) => attributes)).toEqual([
      embedding,
      expect.objectContaining({ 'gen_ai.request.model': 'claude-test', 'error.type': 'not_billed' }),
    ]);
  });

  test('meters that are set up after a call measure those from then on', async () => {
    await invoke(answered);
    metrics.setGlobalMeterProvider(provider);
    await invoke(answered);
    const { 'gen_ai.client.operation.duration': duration } = await read();
    expect(duration?.points.map(({ value }) => value.count)).toEqual([1]);
  });

  test('models beyond a bound are one', async () => {
    metrics.setGlobalMeterProvider(provider);
    const fresh = new SpendlockPlugin({ budget: { calls }, scope }).configureWorker({ taskQueue: 'q' });
    for (const modelId of models)
      await new MockActivityEnvironment(
        { activityType: 'invokeModel' },
        { interceptors: fresh.interceptors?.activity as ActivityInterceptorsFactory[] },
      ).run(answered as never, { modelId, options: { prompt } } as never);
    const { 'gen_ai.client.operation.duration': duration } = await read();
    expect(duration?.points).toHaveLength(labelValuesMax + 1);
    const others = duration?.points.filter(({ attributes }) => attributes['gen_ai.request.model'] === 'other');
    expect(others?.map(({ value }) => value.count)).toEqual([2]);
  });

  test('a meter that throws holds up no call', async () => {
    metrics.setGlobalMeterProvider({
      getMeter: () => {
        throw new Error('out of order');
      },
    });
    expect(await invoke(answered)).toHaveProperty('content');
  });
});
