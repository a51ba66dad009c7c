/**
 * Traces. The interceptors are always there, because they take part in replay; spans leave the process only when
 * OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) says where to.
 */
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor, NoopSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry-v2';

export interface Tracing {
  /** For clients, workers and replay. */
  plugin: OpenTelemetryPlugin;
  /** Sends what is left. */
  shutdown(): Promise<void>;
}

/** Starts tracing for one process. `serviceName` is what a trace shows the process as. */
export function startTracing(serviceName: string, environment: NodeJS.ProcessEnv = process.env): Tracing {
  const resource = resourceFromAttributes({ 'service.name': serviceName });
  const wanted = environment.OTEL_EXPORTER_OTLP_ENDPOINT ?? environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  if (!wanted) {
    return {
      plugin: new OpenTelemetryPlugin({ resource, spanProcessor: new NoopSpanProcessor() }),
      shutdown: async () => undefined,
    };
  }
  const spanProcessor = new BatchSpanProcessor(new OTLPTraceExporter());
  const sdk = new NodeSDK({ resource, spanProcessors: [spanProcessor] });
  sdk.start();
  return { plugin: new OpenTelemetryPlugin({ resource, spanProcessor }), shutdown: () => sdk.shutdown() };
}
