/**
 * Structured logs: one JSON object a line, with the trace that it was written in, and by OTLP where telemetry is sent. What
 * may be in a line is a list of fields (names.ts): anything else is left out by name, so that no prompt, answer, file or
 * key gets there by mistake. Texts of errors lose what they quote, since that may be what a person wrote.
 */
import { trace } from '@opentelemetry/api';
import { logs, SeverityNumber, type LogAttributes } from '@opentelemetry/api-logs';
import pino from 'pino';
import { LineWriter } from './line-writer';
import { logFields, type LogField } from './names';

export type LogFields = { [Field in LogField]?: unknown };
/** A line's text, after its fields if it has any. */
interface WriteLine {
  (fields: LogFields, text: string): void;
  (text: string): void;
}
export type Logger = Record<'debug' | 'info' | 'warn' | 'error', WriteLine>;

export interface LogOptions {
  /** Which process speaks: worker, api, start. */
  name: string;
  level: string;
  /** A file descriptor or path; standard error when absent, so that standard output stays for answers. */
  destination?: number | string;
  /** What a line says beside its own fields, asked for each line. */
  about?: () => LogFields;
}

let isExported = false;
/** Lines are sent by OTLP too from here on. */
export function turnLogExportOn(): void {
  isExported = true;
}

export const createLog = ({ name, level, destination = 2, about }: LogOptions): Logger =>
  pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { log: allowed },
      mixin: () => ({ ...currentTrace(), ...about?.() }),
    },
    pino.multistream(
      [
        { level: 'trace', stream: new LineWriter(destination) },
        { level: 'trace', stream: { write: (line) => exportLine(line) } },
      ],
      { dedupe: false },
    ),
  );

const listed = new Set<string>(logFields);

/** The fields that a line may have; of the others only their names. */
function allowed(fields: Record<string, unknown>): Record<string, unknown> {
  const line: Record<string, unknown> = {};
  const withheld: string[] = [];
  for (const [field, value] of Object.entries(fields)) {
    if (!listed.has(field)) withheld.push(field);
    else line[field] = field === 'error' ? withoutQuotes(textOf(value)) : value;
  }
  return withheld.length === 0 ? line : { ...line, withheld };
}

/** An error's text, and of what caused it: the first one often says only what did not work. */
function textOf(error: unknown): string {
  const texts: string[] = [];
  for (let one = error; one instanceof Error && texts.length < 4;) {
    texts.push(String(one));
    one = one instanceof AggregateError ? (one.errors as unknown[])[0] : one.cause;
  }
  return texts.join(', caused by ') || String(error);
}

/** An error's text without what it quotes, but for names of tables and the like. */
export function withoutQuotes(text: string): string {
  return (
    text
      .slice(0, 2_000)
      // From the first mark to the last of its kind, or to the end: what is quoted may quote in turn.
      .replace(/((?<!\w)'|["`])(?:([^]*)\1|[^]*$)/g, (whole, mark: string, inner?: string) => {
        if (inner === undefined) return `${mark}…`;
        return /^[a-z][a-z_]{0,62}$/.test(inner) ? whole : `${mark}…${mark}`;
      })
      .replace(/\b(sk|slk|key|e2b)[-_][\w-]{8,}/gi, '[key]')
  );
}

function currentTrace(): Record<string, string> {
  const context = trace.getActiveSpan()?.spanContext();
  return context ? { traceId: context.traceId, spanId: context.spanId } : {};
}

const severities: Record<number, SeverityNumber> = {
  10: SeverityNumber.TRACE,
  20: SeverityNumber.DEBUG,
  30: SeverityNumber.INFO,
  40: SeverityNumber.WARN,
  50: SeverityNumber.ERROR,
  60: SeverityNumber.FATAL,
};

function exportLine(line: string): void {
  if (!isExported) return;
  const { level, time, msg, ...fields } = JSON.parse(line) as { level: number; time: string; msg?: string };
  const attributes = fields as LogAttributes;
  const { pid: _pid, hostname: _host, traceId: _trace, spanId: _span, ...kept } = attributes;
  const severityNumber = severities[level];
  logs.getLogger('spendlock').emit({
    ...(severityNumber === undefined ? {} : { severityNumber, severityText: SeverityNumber[severityNumber] }),
    timestamp: new Date(time),
    body: msg ?? '',
    attributes: kept,
  });
}
