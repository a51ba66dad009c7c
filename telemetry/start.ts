/**
 * Telemetry of one process. The interceptors are always there, because they take part in replay; traces, metrics and logs leave
 * the process only when OTEL_EXPORTER_OTLP_ENDPOINT (or its …_TRACES_…, …_METRICS_… and …_LOGS_… variants) says where to, and
 * metrics can be read by Prometheus when SPENDLOCK_METRICS_PORT names a port (OTEL_METRICS_EXPORTER=none then keeps them from
 * being sent as well). Without any of them nothing is measured.
 */
import { metrics } from '@opentelemetry/api';
import { logs } from '@opentelemetry/api-logs';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader, type IMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor, NoopSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry-v2';
import { turnLogExportOn } from './log';
import { turnMetricsOn } from './metrics';
import { turnSpansOn } from './spans';

export interface Telemetry {
  /** For clients, workers and replay. */
  plugin: OpenTelemetryPlugin;
  /** Sends what is left. */
  shutdown(): Promise<void>;
}

/** Starts telemetry for one process. `serviceName` is what traces and metrics show the process as. */
export function startTelemetry(serviceName: string, environment: NodeJS.ProcessEnv = process.env): Telemetry {
  const resource = resourceFromAttributes({ 'service.name': serviceName });
  const meters = startMetrics(resource, environment);
  const lines = startLogExport(resource, environment);
  if (!isSent('TRACES', environment)) {
    return {
      plugin: new OpenTelemetryPlugin({ resource, spanProcessor: new NoopSpanProcessor() }),
      shutdown: async () => void (await Promise.all([meters?.shutdown(), lines?.shutdown()])),
    };
  }
  const spanProcessor = new BatchSpanProcessor(new OTLPTraceExporter());
  const sdk = new NodeSDK({ resource, spanProcessors: [spanProcessor], metricReaders: [], logRecordProcessors: [] });
  sdk.start();
  turnSpansOn();
  return {
    plugin: new OpenTelemetryPlugin({ resource, spanProcessor }),
    shutdown: async () => void (await Promise.all([sdk.shutdown(), meters?.shutdown(), lines?.shutdown()])),
  };
}

/** Whether the environment says where traces, metrics or logs are to go. */
export const isSent = (signal: 'TRACES' | 'METRICS' | 'LOGS', environment: NodeJS.ProcessEnv): boolean =>
  Boolean(environment.OTEL_EXPORTER_OTLP_ENDPOINT ?? environment[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]);

function startMetrics(resource: Resource, environment: NodeJS.ProcessEnv): MeterProvider | undefined {
  const readers: IMetricReader[] = [];
  if (isSent('METRICS', environment) && environment.OTEL_METRICS_EXPORTER !== 'none')
    readers.push(new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter() }));
  const { SPENDLOCK_METRICS_PORT: port, SPENDLOCK_METRICS_HOST: host = '127.0.0.1' } = environment;
  if (port) readers.push(new PrometheusExporter({ port: Number(port), host }));
  if (readers.length === 0) return undefined;
  const provider = new MeterProvider({ resource, readers });
  metrics.setGlobalMeterProvider(provider);
  turnMetricsOn();
  return provider;
}

function startLogExport(resource: Resource, environment: NodeJS.ProcessEnv): LoggerProvider | undefined {
  if (!isSent('LOGS', environment)) return undefined;
  const processors = [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })];
  const provider = new LoggerProvider({ resource, processors });
  logs.setGlobalLoggerProvider(provider);
  turnLogExportOn();
  return provider;
}
