/**
 * A span of each call of a model, and its duration and tokens in metrics, by OpenTelemetry's conventions for generative AI: of whatever
 * the process that the worker runs in has set up, a span under the activity's own. Its package is not needed: without it there is none.
 */
import { createRequire } from 'node:module';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { ModelUsage } from '../../core/prices/usage';
import { measureCall, spanOf, type EndedModelCall, type HistogramOf } from '../../telemetry/gen-ai';
import { LabelValues } from '../../telemetry/label-values';
import type { CallOutcome, HeldMoney } from './money';
import type { PlannedActivity } from './planned-call';

/** A call that is over. */
interface EndedCall {
  planned: PlannedActivity;
  held: HeldMoney;
  outcome: CallOutcome;
  startedMs: number;
  hasFailed: boolean;
}

export class ModelTelemetry {
  private readonly api = installed();
  private readonly labels = new LabelValues();
  /** Of the meter provider that is set up now: what was made before one was does nothing, also afterwards. */
  private histograms: { of?: OpenTelemetry.MeterProvider; made: Map<string, OpenTelemetry.Histogram> } = {
    made: new Map(),
  };

  /** It throws nothing: a call is paid for, whatever becomes of what is told of it. */
  note({ planned: { call, model = '' }, held, outcome, startedMs, hasFailed }: EndedCall): void {
    const { api } = this;
    if (!call || !api) return;
    const usage = outcome.billed === 'known' ? (outcome.usage as ModelUsage) : undefined;
    const seconds = (performance.now() - startedMs) / 1_000;
    const ended = { ...call, model, kind: 'llm.call' as const, outcome: wordOf(outcome, hasFailed), seconds, usage };
    quietly(() => makeSpan(api, ended, held));
    quietly(() => this.measure(api, ended));
  }

  private measure({ metrics }: typeof OpenTelemetry, call: EndedModelCall): void {
    const provider = metrics.getMeterProvider();
    if (this.histograms.of !== provider) this.histograms = { of: provider, made: new Map() };
    const { made } = this.histograms;
    const histogram: HistogramOf = (name, description, unit, explicitBucketBoundaries) => {
      const known = made.get(name);
      if (known) return known;
      const advice = { explicitBucketBoundaries };
      const histogram = provider.getMeter('spendlock').createHistogram(name, { description, unit, advice });
      made.set(name, histogram);
      return histogram;
    };
    measureCall({ ...call, model: this.labels.bounded('model', call.model) }, histogram);
  }
}

function makeSpan(
  { SpanKind, SpanStatusCode, trace }: typeof OpenTelemetry,
  call: EndedModelCall,
  { scope: { tenantId }, operationId }: HeldMoney,
): void {
  const { name, seconds, attributes, error } = spanOf(call, { tenantId, operationId });
  const endMs = Date.now();
  const options = { kind: SpanKind.CLIENT, startTime: endMs - seconds * 1_000, attributes };
  const span = trace.getTracer('spendlock').startSpan(name, options);
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
  span.end(endMs);
}

function quietly(tell: () => void): void {
  try {
    tell();
  } catch {
    // Whoever set it up hears of it there.
  }
}

function installed(): typeof OpenTelemetry | undefined {
  try {
    return createRequire(__filename)('@opentelemetry/api') as typeof OpenTelemetry;
  } catch {
    return undefined;
  }
}

function wordOf({ billed }: CallOutcome, hasFailed: boolean): EndedModelCall['outcome'] {
  if (billed === 'no') return 'not_billed';
  if (hasFailed) return billed === 'known' ? 'failed' : 'unknown';
  return billed === 'known' ? 'ok' : 'unpriced';
}
