/** A collector on loopback, which takes the traces and logs that a process sends by OTLP. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';

export interface Span {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
  attributes: Record<string, string>;
}

export interface LogLine {
  traceId: string;
  text: string;
  fields: Record<string, string>;
}

export interface Collector {
  url: string;
  spans: Span[];
  lines: LogLine[];
  /** All that came, as it came. */
  received: Buffer[];
  close: () => Promise<void>;
}

/** As much of OTLP as is read here: opentelemetry.proto.collector.{trace,logs}.v1. */
const types = protobuf.parse(
  `
  syntax = "proto3";
  message AnyValue { string string_value = 1; int64 int_value = 3; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message Span { bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; repeated KeyValue attributes = 9; }
  message ScopeSpans { repeated Span spans = 2; }
  message ResourceSpans { repeated ScopeSpans scope_spans = 2; }
  message Request { repeated ResourceSpans resource_spans = 1; }
  message LogRecord { AnyValue body = 5; repeated KeyValue attributes = 6; bytes trace_id = 9; }
  message ScopeLogs { repeated LogRecord log_records = 2; }
  message ResourceLogs { repeated ScopeLogs scope_logs = 2; }
  message LogRequest { repeated ResourceLogs resource_logs = 1; }
`,
).root;
const requestType = types.lookupType('Request');
const logRequestType = types.lookupType('LogRequest');

/** A text, or a whole number as one. */
interface RawValue {
  stringValue: string;
  intValue: { toString: () => string };
}
interface RawField {
  key: string;
  value?: RawValue | null;
}
interface RawSpan {
  traceId: Uint8Array;
  spanId: Uint8Array;
  parentSpanId?: Uint8Array;
  name: string;
  attributes: RawField[];
}
interface RawLine {
  traceId?: Uint8Array;
  body?: { stringValue: string };
  attributes: RawField[];
}

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
const textOf = (value: RawValue | null | undefined): string =>
  value && Object.hasOwn(value, 'intValue') ? value.intValue.toString() : (value?.stringValue ?? '');
const fieldsOf = (fields: readonly RawField[]): Record<string, string> =>
  Object.fromEntries(fields.map(({ key, value }) => [key, textOf(value)]));

function spansIn(body: Buffer): Span[] {
  const { resourceSpans } = requestType.decode(body) as unknown as {
    resourceSpans: { scopeSpans: { spans: RawSpan[] }[] }[];
  };
  const raw = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
  return raw.map(({ traceId, spanId, parentSpanId, name, attributes }) => ({
    ...{ traceId: hex(traceId), spanId: hex(spanId), parentSpanId: hex(parentSpanId) },
    ...{ name, attributes: fieldsOf(attributes) },
  }));
}

function linesIn(body: Buffer): LogLine[] {
  const { resourceLogs } = logRequestType.decode(body) as unknown as {
    resourceLogs: { scopeLogs: { logRecords: RawLine[] }[] }[];
  };
  const raw = resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords));
  return raw.map(({ traceId, body: text, attributes }) => ({
    traceId: hex(traceId),
    text: text?.stringValue ?? '',
    fields: fieldsOf(attributes),
  }));
}

export async function startCollector(): Promise<Collector> {
  const spans: Span[] = [];
  const lines: LogLine[] = [];
  const received: Buffer[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      received.push(...parts);
      if (request.url === '/v1/traces') spans.push(...spansIn(Buffer.concat(parts)));
      if (request.url === '/v1/logs') lines.push(...linesIn(Buffer.concat(parts)));
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, lines, received, close };
}
