/** Spans around what operators look for. They cost next to nothing when tracing is off. */
import { SpanStatusCode, trace, type Attributes } from '@opentelemetry/api';
import type { SpanName } from './names';

/** Runs `work` in a span, which ends with it. No prompt, answer or key belongs into its attributes. */
export async function inSpan<T>(name: SpanName, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  return trace.getTracer('spendlock').startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).name });
      throw error;
    } finally {
      span.end();
    }
  });
}
