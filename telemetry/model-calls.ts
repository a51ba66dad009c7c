/** A model call that is over, as metrics and traces have it: by OpenTelemetry's conventions for generative AI, beside our own names. */
import type { Context } from '@opentelemetry/api';
import { spanOf, type CallIds, type EndedModelCall } from './gen-ai';
import { countModelCall } from './metrics';
import { spanEnded } from './spans';

/** Counts a call, and makes a span of it: under what is active, or under the trace that its caller named. Nothing that was said is in it. */
export function noteModelCall(
  call: EndedModelCall,
  { under, ...ids }: CallIds & { under?: Context | undefined },
): void {
  countModelCall(call);
  const { name, ...span } = spanOf(call, ids);
  spanEnded(name, { ...span, under });
}
