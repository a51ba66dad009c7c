/** A model call that is over, as metrics and traces have it: by OpenTelemetry's conventions for generative AI, beside our own names. */
import type { Context } from '@opentelemetry/api';
import { tokensOf } from '../core/prices/usage';
import { countModelCall, type EndedModelCall } from './metrics';
import { spanEnded } from './spans';

/** Counts a call, and makes a span of it: under what is active, or under the trace that its caller named. Nothing that was said is in it. */
export function noteModelCall(
  call: EndedModelCall,
  { tenantId, operationId, under }: { tenantId: string; operationId: string; under?: Context | undefined },
): void {
  countModelCall(call);
  const { provider, model, outcome, seconds, usage, operation = 'chat' } = call;
  const tokens = usage && tokensOf(usage);
  spanEnded(`${operation} ${model}`, {
    seconds,
    attributes: {
      tenantId,
      operationId,
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': provider,
      'gen_ai.request.model': model,
      ...(tokens && {
        'gen_ai.usage.input_tokens': tokens.inputTokens,
        'gen_ai.usage.output_tokens': tokens.outputTokens,
      }),
      ...(outcome === 'ok' ? {} : { 'error.type': outcome }),
    },
    ...(outcome === 'ok' ? {} : { error: outcome }),
    under,
  });
}
