/** What a span says of a model call that is over, by OpenTelemetry's conventions for generative AI. Nothing that was said is in it. */
import type { Attributes } from '@opentelemetry/api';
import { tokensOf } from '../core/prices/usage';
import type { EndedModelCall } from './metrics';
import { genAiProvider } from './names';

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

export function spanOf(call: EndedModelCall, { tenantId, operationId }: CallIds): EndedSpan {
  const { provider, model, outcome, seconds, usage, operation = 'chat' } = call;
  const tokens = usage && tokensOf(usage);
  return {
    name: `${operation} ${model}`,
    seconds,
    attributes: {
      ...(tenantId === undefined ? {} : { tenantId }),
      operationId,
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': genAiProvider(provider),
      'gen_ai.request.model': model,
      ...(tokens && {
        'gen_ai.usage.input_tokens': tokens.inputTokens,
        'gen_ai.usage.output_tokens': tokens.outputTokens,
      }),
      ...(outcome === 'ok' ? {} : { 'error.type': outcome }),
    },
    ...(outcome === 'ok' ? {} : { error: outcome }),
  };
}
