/**
 * What spans and metrics say of a model call that is over, by OpenTelemetry's conventions for generative AI. Nothing that was said is in
 * it. It needs OpenTelemetry's types alone: who calls it says where things are measured.
 */
import type { Attributes, Histogram } from '@opentelemetry/api';
import { tokensOf, type ModelUsage } from '../core/prices/usage';
import { genAiProvider, metricNames } from './names';

/** A model call that is over. Without usage it failed, or nobody knows what it used. */
export interface EndedModelCall {
  provider: string;
  model: string;
  kind: 'llm.call' | 'compaction';
  outcome: 'ok' | 'unpriced' | 'failed' | 'not_billed' | 'unknown';
  seconds: number;
  usage?: ModelUsage | undefined;
  operation?: 'chat' | 'embeddings' | undefined;
}

/** Whose call it was. */
export interface CallIds {
  tenantId?: string | undefined;
  operationId: string;
}

export interface EndedSpan {
  name: string;
  seconds: number;
  attributes: Attributes;
  error?: string;
}

const callOf = ({ provider, model, operation = 'chat' }: EndedModelCall): Attributes => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': genAiProvider(provider),
  'gen_ai.request.model': model,
});

const errorOf = ({ outcome }: EndedModelCall): Attributes => (outcome === 'ok' ? {} : { 'error.type': outcome });

export function spanOf(call: EndedModelCall, { tenantId, operationId }: CallIds): EndedSpan {
  const { model, outcome, seconds, usage, operation = 'chat' } = call;
  const tokens = usage && tokensOf(usage);
  return {
    name: `${operation} ${model}`,
    seconds,
    attributes: {
      ...(tenantId === undefined ? {} : { tenantId }),
      operationId,
      ...callOf(call),
      ...(tokens && {
        'gen_ai.usage.input_tokens': tokens.inputTokens,
        'gen_ai.usage.output_tokens': tokens.outputTokens,
      }),
      ...errorOf(call),
    },
    ...(outcome === 'ok' ? {} : { error: outcome }),
  };
}

export const secondsBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
const tokenBoundaries = [1, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];

/** A histogram by its name, made when first used. */
export type HistogramOf = (name: string, description: string, unit: string, boundaries: number[]) => Histogram;

/** Its duration and its tokens. Names in the call are labels: who calls bounds how many there can be. */
export function measureCall(call: EndedModelCall, histogram: HistogramOf): void {
  const { seconds, usage } = call;
  const labels = callOf(call);
  histogram(metricNames.genAiDuration, 'Duration of a GenAI operation', 's', secondsBoundaries).record(seconds, {
    ...labels,
    ...errorOf(call),
  });
  if (!usage) return;
  const tokens = histogram(metricNames.genAiTokens, 'Tokens of a GenAI operation', '{token}', tokenBoundaries);
  const { inputTokens, outputTokens } = tokensOf(usage);
  tokens.record(inputTokens, { ...labels, 'gen_ai.token.type': 'input' });
  tokens.record(outputTokens, { ...labels, 'gen_ai.token.type': 'output' });
}
