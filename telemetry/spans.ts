/** Spans around what operators look for. Without somewhere to send them nothing is done. */
import {
  context,
  propagation,
  type Context,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
} from '@opentelemetry/api';
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

/** Under which trace a request comes, by its headers; undefined where spans go nowhere. */
export const traceOf = (headers: object): Context | undefined =>
  isOn ? propagation.extract(context.active(), headers) : undefined;

/** A span of what is over already and took so long, under what is active or was said to be. */
export function spanEnded(
  name: string,
  {
    seconds,
    attributes,
    error,
    under,
  }: { seconds: number; attributes: Attributes; error?: string | undefined; under?: Context | undefined },
): void {
  if (!isOn) return;
  const endMs = Date.now();
  const options = { kind: SpanKind.CLIENT, startTime: endMs - seconds * 1_000, attributes };
  const span = trace.getTracer('spendlock').startSpan(name, options, under);
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
  span.end(endMs);
}

/** What is known of a request once it is answered. */
export interface Answered {
  /** With its parameters' names, such as /v1/runs/:id. */
  route: string;
  path: string;
  status: number;
  tenantId: string | undefined;
}

/**
 * Answers a request in a span, under the caller's trace if its headers name one. Names and attributes are those of
 * OpenTelemetry's conventions for HTTP servers. A stream goes on after its span, which ends with the headers.
 */
export async function inServerSpan(
  { method, headers }: { method: string; headers: () => Record<string, string> },
  answer: () => Promise<Answered>,
): Promise<void> {
  if (!isOn) return void (await answer());
  const parent = propagation.extract(context.active(), headers());
  await trace.getTracer('spendlock').startActiveSpan(method, { kind: SpanKind.SERVER }, parent, async (span) => {
    try {
      const { route, path, status, tenantId } = await answer();
      span.updateName(`${method} ${route}`);
      span.setAttributes({
        'http.request.method': method,
        'http.route': route,
        'http.response.status_code': status,
        'url.path': path,
        ...(tenantId === undefined ? {} : { tenantId }),
      });
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    } finally {
      span.end();
    }
  });
}
