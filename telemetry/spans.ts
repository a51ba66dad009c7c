/** Spans around what operators look for. Without somewhere to send them nothing is done. */
import { SpanStatusCode, trace, type Attributes } from '@opentelemetry/api';
import type { SpanName } from './names';

let isOn = false;
/** Spans are sent from here on. */
export function turnSpansOn(): void {
  isOn = true;
}

/** Runs `work` in a span, which ends with it. No prompt, answer or key belongs into its attributes. */
export async function inSpan<T>(name: SpanName, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  if (!isOn) return work();
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
