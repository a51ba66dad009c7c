/**
 * A span of each call of a model, by OpenTelemetry's conventions for generative AI, under the activity's own where the process that the
 * worker runs in has set OpenTelemetry up. Its package is not needed: without it there are no spans.
 */
import { createRequire } from 'node:module';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { ModelUsage } from '../../core/prices/usage';
import type { EndedModelCall } from '../../telemetry/metrics';
import { spanOf } from '../../telemetry/model-spans';
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

export class ModelSpans {
  private readonly api = installed();

  /** It throws nothing: a call is paid for, whatever becomes of its span. */
  note({ planned: { call, model = '' }, held, outcome, startedMs, hasFailed }: EndedCall): void {
    if (!call || !this.api) return;
    const { SpanKind, SpanStatusCode, trace } = this.api;
    const usage = outcome.billed === 'known' ? (outcome.usage as ModelUsage) : undefined;
    const seconds = (performance.now() - startedMs) / 1_000;
    const ended = { ...call, model, kind: 'llm.call' as const, outcome: wordOf(outcome, hasFailed), seconds, usage };
    try {
      const { tenantId } = held.scope;
      const { name, attributes, error } = spanOf(ended, { tenantId, operationId: held.operationId });
      const endMs = Date.now();
      const options = { kind: SpanKind.CLIENT, startTime: endMs - seconds * 1_000, attributes };
      const span = trace.getTracer('spendlock').startSpan(name, options);
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(endMs);
    } catch {
      // Whoever set it up hears of it there.
    }
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
