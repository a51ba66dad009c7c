/** What leaves the processes for operators: metrics in Prometheus' form, and traces that lead from a request to its SQL. */
import { randomUUID } from 'node:crypto';
import type { BudgetCommand } from '../../core/budget/commands';
import { startDatabaseProxy } from '../../scripts/chaos/database-proxy';
import { createApiKey } from '../../store/api-keys';
import { freePort } from '../../scripts/embedded/ports';
import { temporalMetrics } from '../../telemetry/temporal';
import type { TestApi } from '../support/api';
import { startApiProcess } from '../support/api-process';
import { startCollector, type LogLine, type Span } from '../support/collector';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { startProxyProcess } from '../support/proxy-process';
import { until, type TestStack } from '../support/stack';

describe('telemetry', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  /** What a test started, ended however it went. */
  const afterwards: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of afterwards.splice(0).reverse()) await end();
  });

  test("Temporal's SDK tells what a worker does, at a port of its own", async () => {
    const port = await freePort();
    const worker = await stack.startWorker({ environment: { SPENDLOCK_TEMPORAL_METRICS_PORT: String(port) } });
    afterwards.push(() => worker.stop());
    await stack.run({ tenantId: await stack.tenant('5') });
    await stack.run({ tenantId: await stack.tenant('0.001') });
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(text).toMatch(/^temporal_request\{[^}]*operation="RespondWorkflowTaskCompleted"[^}]*\} \d+$/m);
    expect(text).toMatch(/^temporal_workflow_failed\{[^}]*workflow_type="agentRun"[^}]*\} 1$/m);
    expect(text).toMatch(/^temporal_worker_task_slots_available\{/m);
    expect(text).toMatch(/^temporal_activity_schedule_to_start_latency_bucket\{/m);
    // By tenant, run or conversation there would be no end of them.
    expect(text).not.toMatch(/workflow_id|run\/|budget\//);
  });

  test("Temporal's SDK tells a collector too, and nobody when nothing is configured", async () => {
    const collector = await startCollector();
    afterwards.push(() => collector.close());
    const worker = await stack.startWorker({
      environment: { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.url}/v1/metrics` },
    });
    await stack.run({ tenantId: await stack.tenant('5') });
    await worker.stop();
    await until('they arrive', () => Buffer.concat(collector.received).includes('temporal_request'));
    expect(temporalMetrics({}, undefined)).toBeUndefined();
    expect(
      temporalMetrics({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318', OTEL_METRICS_EXPORTER: 'none' }, undefined),
    ).toBeUndefined();
    expect(
      temporalMetrics(
        { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318/', OTEL_EXPORTER_OTLP_HEADERS: 'a=b%20c, d=e' },
        undefined,
      ),
    ).toMatchObject({
      otel: { url: 'http://x:4318/v1/metrics', headers: { a: 'b c', d: 'e' } },
    });
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
    // Who asks again is answered again, and counted once.
    const reserve = (operationId: string, amountUsd: string): BudgetCommand => {
      return {
        type: 'reserve',
        operationId,
        resource: 'llm',
        amountUsd,
        priceVersion: 'test',
        ttlSeconds: 60,
        kind: 'test',
      };
    };
    const askedTwice = reserve(randomUUID(), '0.01');
    await stack.signal(tenantId, [askedTwice]);
    await stack.signal(tenantId, [askedTwice, reserve(randomUUID(), '100')]);
    const denied = `spendlock_decisions_total{tenant="${tenantId}",decision="denied"`;
    await until('both were decided', async () => (await read()).includes(denied));
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
    expect(value(`spendlock_decisions_total\\{tenant="${tenantId}",decision="granted"`)).toBe(7);
    expect(value('spendlock_settlements_unverified_total')).toBe(1);
    // Spend as the metrics have it is what the ledger has.
    const spent = value(`regintel_(llm|e2b)_cost_total\\{tenant="${tenantId}"`);
    expect(Number.isInteger(spent)).toBe(true);
    expect(spent / 1e6).toBeCloseTo(Number((await talk.show()).costUsd), 5);
    // Nothing of what was said is a label.
    expect(text).not.toMatch(/First|Second|console/);
  });

  test("XE22: what the native part of Temporal's SDK says is a line of the worker's log", async () => {
    const { hostname, port } = new URL(`tcp://${process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? ''}`);
    const proxy = await startDatabaseProxy(Number(port));
    afterwards.push(() => proxy.close());
    const worker = await stack.startHosted({ TEMPORAL_ADDRESS: `${hostname}:${proxy.port}` });
    afterwards.push(() => worker.stop());
    proxy.set('refuse');
    const line = await until('it tells that Temporal is away', () =>
      worker
        .logged()
        .split('\n')
        .find((text) => text.includes('gRPC call')),
    );
    expect(JSON.parse(line)).toMatchObject({ name: 'worker', msg: expect.stringContaining('gRPC call') as string });
    proxy.set('pass');
  });

  test('XE7: calls that cost more than was granted are counted', async () => {
    const [workerPort, apiPort] = [await freePort(), await freePort()];
    const worker = await stack.startWorker({ environment: { SPENDLOCK_METRICS_PORT: String(workerPort) } });
    afterwards.push(() => worker.stop());
    const asking = await startApiProcess(stack, { SPENDLOCK_METRICS_PORT: String(apiPort) });
    afterwards.push(() => asking.stop());
    const tenantId = await stack.tenant('5');
    const headers = { authorization: `Bearer ${await api.keyOf(tenantId)}`, 'content-type': 'application/json' };
    const post = async (where: string, body: object): Promise<void> => {
      const { status } = await fetch(`${asking.url}${where}`, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(status).toBeLessThan(300);
    };
    for (const costUsd of ['1', '1.5', '2']) {
      const operationId = randomUUID();
      await post('/v1/reservations', { operationId, resource: 'llm', amountUsd: '1' });
      await post(`/v1/reservations/${operationId}/commit`, { costUsd });
    }
    // Whichever of them decided has counted: the authority's worker, or the API under a mandate.
    const counted = async (port: number): Promise<number> => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const line = `^spendlock_settlements_overrun_total\\{tenant="${tenantId}",resource="llm"[^}]*\\} (\\d+)$`;
      return Number(new RegExp(line, 'm').exec(text)?.[1] ?? 0);
    };
    await until('both are counted', async () => {
      return (await counted(workerPort)) + (await counted(apiPort)) === 2;
    });
  });

  test('one trace leads from the request through workflow and authority to the SQL statement (T3)', async () => {
    const collector = await startCollector();
    afterwards.push(() => collector.close());
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: '100',
      OTEL_BLRP_SCHEDULE_DELAY: '100',
      LOG_LEVEL: 'trace',
    };
    const worker = await stack.startWorker({ environment });
    afterwards.push(() => worker.stop());
    const server = await startApiProcess(stack, environment);
    const written: string[] = [];
    server.process.stderr?.on('data', (data: Buffer) => written.push(data.toString()));
    afterwards.push(() => server.stop());
    const canary = `canary-${randomUUID()}`;
    const { key } = await createApiKey(stack.pool, { tenantId: await stack.tenant('5') });
    const { url } = server;
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const post = async (where: string, body: object, more = {}): Promise<Record<string, unknown>> => {
      const init = { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) };
      const answer = await fetch(`${url}${where}`, init);
      return (await answer.json()) as Record<string, unknown>;
    };
    stack.anthropic.knobs.replies = [{ text: '', code: `console.log("${canary}")` }, { text: canary }];
    stack.anthropic.knobs.failNext = [{ type: 'status', status: 529 }];
    // A backend that traces its own requests sends where it is.
    const [ofCaller, callersSpan] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    const traceparent = `00-${ofCaller}-${callersSpan}-01`;
    const { conversationId } = await post('/v1/conversations', {}, { traceparent });
    await post(`/v1/conversations/${String(conversationId)}/messages`, { message: `Hello. ${canary}` });
    await fetch(`${url}/v1/cost-records`, { headers });
    const named = (name: string): Span[] => collector.spans.filter((span) => span.name === name);
    await until('the sandbox’s span arrived', () => named('e2b.context.create').length > 0);
    await post(`/v1/conversations/${String(conversationId)}/close`, {});
    await until('the last window’s span arrived', () => named('e2b.record_operation').length > 0);

    const parentOf = (span: Span | undefined): Span | undefined =>
      collector.spans.find(({ spanId, traceId }) => spanId === span?.parentSpanId && traceId === span.traceId);
    const nested: [string, string][] = [
      ['StartWorkflow:conversation', 'POST /v1/conversations'],
      ['api.chat', 'POST /v1/conversations/:id/messages'],
      ['quota.check', 'POST /v1/conversations/:id/messages'],
      ['quota.get', 'quota.check'],
      ['cost.query_records', 'GET /v1/cost-records'],
      ['quota.db.atomic_function', 'quota.check_and_record_atomic'],
      ['cost.db.insert', 'cost.store_record'],
      ['cost.db.query', 'cost.query_records'],
      ['chat claude-haiku-4-5', 'RunActivity:callModel'],
      ['e2b.quota_check', 'execution_context.get_or_create'],
      ['e2b.sandbox.create', 'execution_context.get_or_create'],
      ['e2b.context.create', 'execution_context.get_or_create'],
    ];
    for (const [inner, outer] of nested) expect([inner, parentOf(named(inner)[0])?.name]).toEqual([inner, outer]);
    // One of each call, by OpenTelemetry's conventions for generative AI: the first was refused.
    expect(named('chat claude-haiku-4-5').map(({ attributes }) => attributes['error.type'])).toEqual([
      'not_billed',
      undefined,
      undefined,
    ]);
    expect(named('chat claude-haiku-4-5').at(-1)?.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': 'claude-haiku-4-5',
      'gen_ai.usage.input_tokens': expect.stringMatching(/^[1-9]\d*$/) as string,
      'gen_ai.usage.output_tokens': expect.stringMatching(/^[1-9]\d*$/) as string,
      tenantId: expect.any(String) as string,
      operationId: expect.any(String) as string,
    });
    // The conversation was begun by a request, and all that it does is in that request's trace.
    const ofRun = named('e2b.sandbox.create')[0]?.traceId;
    expect(ofRun).toBe(ofCaller);
    expect(named('POST /v1/conversations')[0]?.parentSpanId).toBe(callersSpan);
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
    // The dashboard finds the trace by what the ledger keeps of it.
    const shown = (await (await fetch(`${url}/v1/runs/${String(conversationId)}`, { headers })).json()) as {
      steps: { traceId: string | null }[];
    };
    expect(new Set(shown.steps.map((step) => step.traceId))).toEqual(new Set([ofRun]));
    // Its log lines say in which trace they were written, and of what.
    const line = (text: string): LogLine | undefined => collector.lines.find((candidate) => candidate.text === text);
    await until('the last log line arrived', () => line('a conversation ended'));
    expect(line('a model call was paid')).toMatchObject({
      traceId: ofRun,
      fields: {
        runId: conversationId,
        operationId: expect.any(String) as string,
        tenantId: expect.any(String) as string,
      },
    });
    for (const text of [
      'a run began',
      'a turn began',
      'sandbox created',
      'a turn ended',
      'a window of a sandbox ended',
    ])
      expect([text, line(text)?.fields]).toMatchObject([text, { runId: conversationId, conversationId }]);
    expect(line('a model call failed')).toMatchObject({
      fields: { runId: conversationId, code: 'provider_unavailable' },
    });
    expect(collector.lines.filter(({ fields }) => 'withheld' in fields)).toEqual([]);
    // A line on standard error is the same, with the trace in it.
    const [begun] = written
      .join('')
      .split('\n')
      .filter((text) => text.includes('a run began'))
      .map((text) => JSON.parse(text) as Record<string, unknown>);
    expect(begun).toMatchObject({ runId: conversationId, traceId: ofRun, spanId: expect.any(String) as string });
    expect(begun).not.toHaveProperty('withheld');
    // Nothing of what was said, run, printed or authenticated with left the processes.
    const sent = Buffer.concat(collector.received).toString('latin1');
    for (const secret of [canary, key]) expect(sent).not.toContain(secret);
  });
});

describe('telemetry of the wire proxy', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('counts each call by its outcome, and embeddings as such', async () => {
    const port = await freePort();
    const proxy = await startProxyProcess(stack, { SPENDLOCK_METRICS_PORT: String(port) });
    const key = await api.keyOf(await stack.tenant('5'), 'agent');
    const ask = (path: string, body: object) =>
      fetch(`${proxy.url}/proxy/${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }).then((answer) => answer.text());
    const chat = { model: 'claude-haiku-4-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] };
    await ask('anthropic/v1/messages', chat);
    for (const status of [529, 500]) {
      stack.anthropic.knobs.failNext.push({ type: 'status', status });
      await ask('anthropic/v1/messages', chat);
    }
    await ask('openai/v1/embeddings', { model: 'text-embedding-3-small', input: 'Hello' });
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    await proxy.stop();
    const value = (pattern: string): number =>
      text
        .split('\n')
        .filter((line) => new RegExp(`^${pattern}`).test(line))
        .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    const ended = (status: string) => value(`regintel_llm_call_total\\{.*status="${status}"`);
    expect({ ok: ended('ok'), free: ended('not_billed'), unknown: ended('unknown') }).toEqual({
      ok: 2,
      free: 1,
      unknown: 1,
    });
    const read = (operation: string) =>
      value(`gen_ai_client_token_usage_count\\{.*gen_ai_operation_name="${operation}".*gen_ai_token_type="input"`);
    expect({ chat: read('chat'), embeddings: read('embeddings') }).toEqual({ chat: 1, embeddings: 1 });
    expect(text).not.toContain('Hello');
  });

  test('has a span of each call in the trace of its caller, and nothing that was said', async () => {
    const collector = await startCollector();
    const proxy = await startProxyProcess(stack, {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
    const [ofCaller, callersSpan] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    const canary = `canary-${randomUUID()}`;
    for (const { knobs } of [stack.anthropic, stack.openai, stack.google])
      knobs.replies = [{ text: canary }, { text: canary }];
    const key = await api.keyOf(await stack.tenant('5'), 'agent');
    const messages = [{ role: 'user', content: canary }];
    const contents = [{ parts: [{ text: canary }] }];
    const calls: [path: string, body: object, span: string, provider: string][] = [
      [
        ...(['anthropic/v1/messages', { model: 'claude-haiku-4-5', max_tokens: 100, messages }] as const),
        ...(['chat claude-haiku-4-5', 'anthropic'] as const),
      ],
      [
        ...(['openai/v1/responses', { model: 'gpt-4o', max_output_tokens: 100, input: canary }] as const),
        ...(['chat gpt-4o', 'openai'] as const),
      ],
      [
        ...(['openai/v1/chat/completions', { model: 'gpt-5-mini', max_completion_tokens: 100, messages }] as const),
        ...(['chat gpt-5-mini', 'openai'] as const),
      ],
      [
        ...(['openai/v1/embeddings', { model: 'text-embedding-3-small', input: canary }] as const),
        ...(['embeddings text-embedding-3-small', 'openai'] as const),
      ],
      [
        ...(['google/v1beta/models/gemini-2.5-pro:generateContent', { contents }] as const),
        ...(['chat gemini-2.5-pro', 'gcp.gemini'] as const),
      ],
    ];
    const operations: (string | null)[] = [];
    for (const [path, body] of calls) {
      const answer = await fetch(`${proxy.url}/proxy/${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${key}`,
          'content-type': 'application/json',
          traceparent: `00-${ofCaller}-${callersSpan}-01`,
        },
        body: JSON.stringify(body),
      });
      expect([path, answer.status]).toEqual([path, 200]);
      await answer.arrayBuffer();
      operations.push(answer.headers.get('x-spendlock-operation-id'));
    }
    // What it has to send it sends before it ends.
    await proxy.stop();
    await collector.close();
    expect(proxy.logged().match(/"a model call was passed on"/g)).toHaveLength(calls.length);
    expect(collector.spans.filter(({ name }) => /^(chat|embeddings) /.test(name))).toMatchObject(
      calls.map(([, , name, provider], at) => ({
        ...{ name, traceId: ofCaller, parentSpanId: callersSpan },
        attributes: {
          'gen_ai.provider.name': provider,
          'gen_ai.usage.input_tokens': expect.stringMatching(/^[1-9]\d*$/) as string,
          operationId: operations[at],
        },
      })),
    );
    const sent = Buffer.concat(collector.received).toString('latin1') + proxy.logged();
    for (const secret of [canary, key]) expect(sent).not.toContain(secret);
  });
});

describe('telemetry of a worker that replays every workflow for every task', () => {
  let stack: TestStack;
  withInstallation((made) => ({ stack } = made), { worker: false });

  test('counts and traces nothing twice', async () => {
    const [collector, port] = [await startCollector(), await freePort()];
    const worker = await stack.startWorker({
      environment: {
        SPENDLOCK_TEST_FORGETFUL: 'true',
        SPENDLOCK_METRICS_PORT: String(port),
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_BSP_SCHEDULE_DELAY: '100',
        OTEL_BLRP_SCHEDULE_DELAY: '100',
      },
    });
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [
      { text: '', code: 'console.log(1)' },
      { text: '', code: 'console.log(2)' },
      { text: 'two' },
    ];
    const run = await stack.run({ tenantId });
    expect(run.status).toBe('completed');
    const paid = (): LogLine[] => collector.lines.filter(({ text }) => text === 'a model call was paid');
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    // What it has to send it sends before it ends.
    await worker.stop();
    const count = (name: string): number => collector.spans.filter((span) => span.name === name).length;
    // Each task but the first is a replay of all before it.
    for (const activity of ['callModel', 'prepareQuickly', 'executeCode', 'createSandbox', 'endRun']) {
      const times = { callModel: 3, prepareQuickly: 3, executeCode: 2 }[activity] ?? 1;
      expect([activity, count(`StartActivity:${activity}`), count(`RunActivity:${activity}`)]).toEqual([
        activity,
        times,
        times,
      ]);
    }
    expect(paid()).toHaveLength(3);
    expect(/^regintel_llm_call_total\{[^}]*status="ok"[^}]*\} (\d+)/m.exec(text)?.[1]).toBe('3');
    await collector.close();
  });
});
