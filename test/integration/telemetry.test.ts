/** What leaves the processes for operators: metrics in Prometheus' form, and traces that lead from a request to its SQL. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import protobuf from 'protobufjs';
import { createApiKey } from '../../store/api-keys';
import { freePort } from '../../scripts/embedded/ports';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
}

/** As much of OTLP as is read here: opentelemetry.proto.collector.trace.v1. */
const requestType = protobuf
  .parse(
    `
  syntax = "proto3";
  message Span { bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; }
  message ScopeSpans { repeated Span spans = 2; }
  message ResourceSpans { repeated ScopeSpans scope_spans = 2; }
  message Request { repeated ResourceSpans resource_spans = 1; }
`,
  )
  .root.lookupType('Request');

/** A collector of traces on loopback. */
async function startCollector(): Promise<{ url: string; spans: Span[]; received: Buffer[]; server: Server }> {
  const spans: Span[] = [];
  const received: Buffer[] = [];
  const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      received.push(...parts);
      if (request.url === '/v1/traces') {
        type Raw = { traceId: Uint8Array; spanId: Uint8Array; parentSpanId?: Uint8Array; name: string };
        const decoded = requestType.decode(Buffer.concat(parts)) as unknown as {
          resourceSpans: { scopeSpans: { spans: Raw[] }[] }[];
        };
        for (const { traceId, spanId, parentSpanId, name } of decoded.resourceSpans.flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap((scope) => scope.spans),
        ))
          spans.push({ traceId: hex(traceId), spanId: hex(spanId), parentSpanId: hex(parentSpanId), name });
      }
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, received, server };
}

describe('telemetry', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  /** What a test started, ended however it went. */
  const afterwards: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of afterwards.splice(0).reverse()) await end();
  });

  test('metrics say what was called, decided, spent and broken, with bounded labels (T1, T4)', async () => {
    const port = await freePort();
    const worker = await stack.startWorker({ environment: { SPENDLOCK_METRICS_PORT: String(port) } });
    afterwards.push(() => worker.stop());
    const tenantId = await stack.tenant('5');
    const talk = await TestConversation.start(api, tenantId, { sandbox: { pauseAfterSeconds: 3_600 } });
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    await talk.say('First.');
    const read = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const during = await read();
    expect(during).toMatch(/^regintel_e2b_sandbox_active(\{[^}]*\})? 1$/m);
    const [alive = ''] = stack.e2b.calls().alive;
    await fetch(`${stack.e2b.url}/sandboxes/${alive}`, { method: 'DELETE', headers: { 'x-api-key': 'outsider' } });
    stack.anthropic.knobs.replies = [{ text: 'cut off' }, { text: '', code: 'console.log(2)' }, { text: 'two' }];
    stack.anthropic.knobs.failNext = [{ type: 'cut-before-usage' }];
    await talk.say('Second.');
    await talk.close();
    const text = await read();
    const value = (pattern: string): number => {
      const lines = text.split('\n').filter((line) => new RegExp(`^${pattern}`).test(line));
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    };
    expect(value('regintel_e2b_sandbox_operation_total\\{operation="create",status="ok"')).toBe(1);
    expect(value('regintel_e2b_sandbox_operation_duration_count\\{operation="execute"')).toBe(2);
    expect(
      value('regintel_e2b_errors_total\\{operation="execute",error_type="sandbox_gone",lifecycle_stage="execution"'),
    ).toBe(1);
    expect(value(`regintel_e2b_cost_total\\{tenant="${tenantId}"`)).toBeGreaterThan(0);
    expect(value(`regintel_e2b_quota_utilization\\{tenant="${tenantId}",resource="e2b"`)).toBeGreaterThan(0);
    expect(value('regintel_llm_call_total\\{.*status="ok"')).toBe(4);
    expect(value('regintel_llm_errors_total\\{.*error_type="unknown"')).toBe(1);
    expect(value('gen_ai_client_token_usage_count\\{.*gen_ai_token_type="output"')).toBe(4);
    expect(value(`spendlock_decisions_total\\{tenant="${tenantId}",decision="granted"`)).toBe(6);
    expect(value('spendlock_settlements_unverified_total')).toBe(1);
    // Spend as the metrics have it is what the ledger has.
    const spent = value(`regintel_(llm|e2b)_cost_total\\{tenant="${tenantId}"`);
    expect(spent).toBeCloseTo(Number((await talk.show()).costUsd), 9);
    // Nothing of what was said is a label.
    expect(text).not.toMatch(/First|Second|console/);
  }, 60_000);

  test('one trace leads from the request through workflow and authority to the SQL statement (T3)', async () => {
    const collector = await startCollector();
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '100' };
    const worker = await stack.startWorker({ environment });
    afterwards.push(() => worker.stop());
    const port = await freePort();
    const server = startApiProcess(stack, { ...environment, API_PORT: String(port) });
    afterwards.push(async () => {
      server.kill('SIGTERM');
      await once(server, 'exit');
      collector.server.close();
      collector.server.closeAllConnections();
    });
    const canary = `canary-${randomUUID()}`;
    const { key } = await createApiKey(stack.pool, { tenantId: await stack.tenant('5') });
    const url = `http://127.0.0.1:${port}`;
    await until('the API answers', async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.ok);
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const post = async (where: string, body: object): Promise<Record<string, unknown>> => {
      const answer = await fetch(`${url}${where}`, { method: 'POST', headers, body: JSON.stringify(body) });
      return (await answer.json()) as Record<string, unknown>;
    };
    stack.anthropic.knobs.replies = [{ text: '', code: `console.log("${canary}")` }, { text: canary }];
    const { conversationId } = await post('/v1/conversations', {});
    await post(`/v1/conversations/${String(conversationId)}/messages`, { message: `Hello. ${canary}` });
    await fetch(`${url}/v1/cost-records`, { headers });
    const named = (name: string): Span[] => collector.spans.filter((span) => span.name === name);
    await until('the sandbox’s span arrived', () => named('e2b.context.create').length > 0, 30_000);
    await post(`/v1/conversations/${String(conversationId)}/close`, {});
    await until('the last window’s span arrived', () => named('e2b.record_operation').length > 0, 30_000);

    const parentOf = (span: Span | undefined): Span | undefined =>
      collector.spans.find(({ spanId, traceId }) => spanId === span?.parentSpanId && traceId === span.traceId);
    const nested: [string, string][] = [
      ['quota.get', 'quota.check'],
      ['quota.db.atomic_function', 'quota.check_and_record_atomic'],
      ['cost.db.insert', 'cost.store_record'],
      ['cost.db.query', 'cost.query_records'],
      ['e2b.quota_check', 'execution_context.get_or_create'],
      ['e2b.sandbox.create', 'execution_context.get_or_create'],
      ['e2b.context.create', 'execution_context.get_or_create'],
    ];
    for (const [inner, outer] of nested) expect([inner, parentOf(named(inner)[0])?.name]).toEqual([inner, outer]);
    // The conversation was begun by a request, and all that it does is in that request's trace.
    const ofRun = named('e2b.sandbox.create')[0]?.traceId;
    const inTrace = new Set(collector.spans.filter(({ traceId }) => traceId === ofRun).map(({ name }) => name));
    for (const name of [
      'StartWorkflow:conversation',
      'SignalWithStartWorkflow:tenantBudget',
      'quota.db.atomic_function',
      'RunActivity:callModel',
      'cost.db.insert',
    ])
      expect([name, inTrace.has(name)]).toEqual([name, true]);
    expect(named('api.chat')).toHaveLength(1);
    // Nothing of what was said, run, printed or authenticated with left the processes.
    const sent = Buffer.concat(collector.received).toString('latin1');
    for (const secret of [canary, key]) expect(sent).not.toContain(secret);
  }, 90_000);
});

function startApiProcess(stack: TestStack, more: Record<string, string>): ChildProcess {
  return fork(path.join(__dirname, '..', '..', 'api', 'main.ts'), [], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: stack.database.appUrl,
      TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS,
      SPENDLOCK_TASK_QUEUE_PREFIX: stack.prefix,
      LOG_LEVEL: 'silent',
      ...more,
    },
  });
}
