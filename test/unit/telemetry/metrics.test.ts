import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { usageOf } from '../../../core/prices/usage';
import { countDecision, countModelCall, turnMetricsOn } from '../../../telemetry/metrics';
import { metricNames } from '../../../telemetry/names';

describe('metrics', () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  beforeAll(() => {
    metrics.setGlobalMeterProvider(provider);
    turnMetricsOn();
  });
  afterAll(async () => {
    await provider.shutdown();
    metrics.disable();
  });

  /** What the tenant has limits of. */
  let limited: string[] = [];
  const read = async (name: string) => {
    exporter.reset();
    await reader.forceFlush();
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    return all.find(({ descriptor }) => descriptor.name === name);
  };

  it('XF11: a cost is counted in whole micro-dollars, and what is less is not lost', async () => {
    const posted = { resource: 'e2b' as const, amountUsd: 100_700_000n, isUnverified: false };
    // A thousand times 100.7 micro-dollars: as floats of dollars they do not add up to 0.1007.
    for (let i = 0; i < 1_000; i += 1) {
      countDecision(() => ({
        tenantId: 't',
        seconds: 0,
        commands: 1,
        answers: {},
        posted: [posted],
        overruns: [],
        limited,
      }));
    }
    const cost = await read(metricNames.sandboxCost);
    expect(cost?.descriptor).toMatchObject({ unit: 'uUSD' });
    expect(cost?.dataPoints.map(({ value }) => value)).toEqual([100_700]);
  });

  it('counts what is neither a model nor a sandbox by its name, and tells 32 names apart', async () => {
    const names = Array.from({ length: 40 }, (_, index) => `r-${index}`);
    const spent = (resource: string, amountUsd: bigint, isUnverified: boolean): void =>
      countDecision(() => ({
        tenantId: 't',
        seconds: 0,
        commands: 1,
        answers: {},
        posted: [{ resource, amountUsd, isUnverified }],
        overruns: [],
        limited,
      }));
    for (const resource of [...names, 'llm', 'r-0']) spent(resource, 1_000_000n, true);
    const points = (await read(metricNames.otherCost))?.dataPoints ?? [];
    const of = (name: string) => points.find(({ attributes }) => attributes.resource === name)?.value;
    expect(points).toHaveLength(33);
    expect([of('r-0'), of('r-31'), of('other'), of('llm')]).toEqual([2, 1, 8, undefined]);
    // Whoever asks uses up none of the names that are limited, nor that of tools.
    limited = ['all', 'geocoding'];
    for (const resource of ['geocoding', 'tool', 'search']) spent(resource, 3_000_000n, false);
    limited = [];
    const later = (await read(metricNames.otherCost))?.dataPoints ?? [];
    const now = (name: string) => later.find(({ attributes }) => attributes.resource === name)?.value;
    expect([now('geocoding'), now('tool'), now('search'), now('other')]).toEqual([3, 3, undefined, 11]);
    const unverified = (await read(metricNames.unverified))?.dataPoints ?? [];
    expect(unverified.map(({ attributes }) => attributes.resource)).toContain('llm');
  });

  it('XF11: the tokens of a compaction and of another model inside a call are counted', async () => {
    const compaction = usageOf({ inputTokens: 5_000, outputTokens: 300, cacheReadTokens: 40 });
    const otherModels = [{ ...usageOf({ inputTokens: 7, outputTokens: 3 }), model: 'other' }];
    const usage = usageOf({
      inputTokens: 10,
      cacheWrite1hTokens: 5,
      outputTokens: 20,
      compactions: [compaction],
      otherModels,
    });
    countModelCall({ provider: 'p', model: 'm', kind: 'llm.call', outcome: 'ok', seconds: 1, usage });
    const tokens = await read(metricNames.genAiTokens);
    const sums = tokens?.dataPoints.map(({ attributes, value }) => [
      attributes['gen_ai.token.type'],
      (value as { sum?: number }).sum,
    ]);
    expect(sums).toEqual([
      ['input', 5_062],
      ['output', 323],
    ]);
  });
});
