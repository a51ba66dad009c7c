/**
 * Where the metrics go that Temporal's SDK keeps of a worker (`temporal_…`): the same ways as the product's own. Prometheus reads
 * them at a port of their own, since the native part serves them; by OTLP both go to one place. Neither, and none are kept.
 */
import type { MetricsExporterConfig } from '@temporalio/worker';
import { isSent } from './start';

/** As often as OpenTelemetry's own exporter. */
const exportEvery = '60 seconds';

export function temporalMetrics(
  environment: NodeJS.ProcessEnv,
  /** For Prometheus. */
  port: number | undefined,
): MetricsExporterConfig | undefined {
  const { SPENDLOCK_METRICS_HOST: host = '127.0.0.1' } = environment;
  if (port !== undefined) return { prometheus: { bindAddress: `${host}:${port}`, useSecondsForDurations: true } };
  if (!isSent('METRICS', environment) || environment.OTEL_METRICS_EXPORTER === 'none') return undefined;
  const base = environment.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/$/, '');
  return {
    otel: {
      url: environment.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT ?? `${base}/v1/metrics`,
      http: true,
      headers: headersFrom(environment),
      metricsExportInterval: exportEvery,
      useSecondsForDurations: true,
    },
  };
}

/** `name=value` with commas between, values as in an address. */
function headersFrom({
  OTEL_EXPORTER_OTLP_HEADERS: all = '',
  OTEL_EXPORTER_OTLP_METRICS_HEADERS: text = all,
}: NodeJS.ProcessEnv): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const pair of text.split(',')) {
    const [, name, value = ''] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    if (name !== undefined) headers[name] = decodeURIComponent(value);
  }
  return headers;
}
