/** A run whose workflow never began, or was ended from outside, is ended on record. */
import { randomUUID } from 'node:crypto';
import { Client } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time';
import { startRun } from '../../api/runs/starting';
import { createUpkeepActivities } from '../../activities/upkeep';
import type { Coalescer } from '../../authority/client/coalescer';
import { sentOfEnvelope } from '../../core/resources';
import { namespaceIdOf } from '../../temporal/namespace';
import { startRunBody } from '../../api/runs/schemas';
import { endRun } from '../../store/run-end';
import { findLeftHolding } from '../../store/run-steps';
import { createRun, readRunEvents, takeUnseenRuns, type RunKey } from '../../store/runs';
import { runWorkflowId, taskQueues } from '../../contracts/messages';
import { TestStack, until } from '../support/stack';

describe('a run that was lost', () => {
  let stack: TestStack;
  let look: () => Promise<unknown>;
  beforeAll(async () => {
    stack = await TestStack.start();
    const startNow = await stack.takeOverSchedules();
    look = () => startNow('lookAfter');
  });
  afterAll(() => stack.stop());

  /** As if nothing had been heard of any run for five minutes. */
  const timePasses = (): Promise<unknown> =>
    stack.admin.query(`UPDATE copilot_internal.runs SET seen_at = seen_at - interval '5 minutes'`);
  /** The row of a run whose API process ended before it reached Temporal. */
  const half = async (): Promise<RunKey> => {
    const tenantId = await stack.tenant('5');
    const runId = randomUUID();
    const task = 'Say something.';
    const namespace = await namespaceIdOf(stack.temporal);
    const workflowId = runWorkflowId(runId);
    await createRun(stack.pool, { runId, tenantId, workflowId, namespace, model: 'claude-haiku-4-5', task });
    return { runId, tenantId };
  };
  const repeat = ({ tenantId, runId }: RunKey): Promise<unknown> =>
    startRun(stack.api, { tenantId, runId, body: startRunBody.parse({ task: 'Say something.' }) });

  test('before it began: it fails after two minutes, and a late repeat does not begin it', async () => {
    const run = await half();
    expect(await look()).toEqual({ woken: 0, lost: 0, rung: 0, told: 0 });
    expect((await stack.show(run)).status).toBe('running');
    await timePasses();
    expect(await look()).toEqual({ woken: 0, lost: 1, rung: 0, told: 0 });
    const shown = await stack.show(run);
    expect(shown).toMatchObject({ status: 'failed', costUsd: '0', failure: { code: 'run_lost' } });
    expect(shown.endedAt).not.toBeNull();
    const { events } = await readRunEvents(stack.pool, run);
    expect(events.map(({ type }) => type)).toEqual(['run.started', 'run.ended']);
    await expect(repeat(run)).rejects.toMatchObject({ code: 'run_lost' });
    await expect(stack.temporal.workflow.getHandle(runWorkflowId(run.runId)).describe()).rejects.toThrow();
  });

  test('before it began: a repeat in time begins it', async () => {
    const run = await half();
    await timePasses();
    await repeat(run);
    await until('it ended', async () => (await stack.show(run)).status === 'completed');
    expect(await look()).toMatchObject({ lost: 0 });
  });

  test('a repeat between the look and the end of the record wins', async () => {
    const run = await half();
    await timePasses();
    const namespace = (await namespaceIdOf(stack.temporal)) ?? '';
    const taken = await takeUnseenRuns(stack.pool, { namespace, unseenForMs: 120_000, max: 10 });
    const lastSeenAt = taken.find(({ runId }) => runId === run.runId)?.seenAt ?? '';
    await repeat(run);
    const failure = { code: 'run_lost', message: '' };
    expect(await endRun(stack.pool, run, { status: 'failed', failure }, { lastSeenAt })).toBe(false);
    await until('it ended', async () => (await stack.show(run)).status === 'completed');
  });

  test('terminated by an operator: the record says so, and its money comes back', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.deltaSpacingMs = 60_000;
    const started = await stack.start({ tenantId });
    await until('it calls the model', () => stack.anthropic.calls().inFlight === 1);
    const handle = stack.temporal.workflow.getHandle(started.workflowId);
    await timePasses();
    expect(await look()).toMatchObject({ lost: 0 });
    await handle.terminate('by a test');
    await timePasses();
    expect(await look()).toMatchObject({ lost: 1 });
    stack.anthropic.knobs.deltaSpacingMs = 0;
    const shown = await stack.show({ tenantId, ...started });
    expect(shown).toMatchObject({ status: 'failed', failure: { code: 'run_lost' } });
    expect(shown.failure?.message).toContain('TERMINATED');
    await until('nothing is held', async () => (await stack.books(tenantId)).openReservations === 0);
    expect((await stack.books(tenantId)).reservedUsd).toBe('0');
  });

  test('what its steps held and had not begun comes back with its end, and what a caller of the API holds stays, envelopes too', async () => {
    const run = await half();
    const { tenantId, runId } = run;
    const [ofStep, ofCaller, envelope] = [randomUUID(), randomUUID(), randomUUID()];
    const held = {
      type: 'reserve',
      runId,
      resource: 'llm',
      kind: 'llm.call',
      amountUsd: '0.5',
      ttlSeconds: 600,
    } as const;
    await stack.signal(tenantId, [
      { ...held, operationId: ofStep, priceVersion: 'test', attempt: 1 },
      { ...held, operationId: ofCaller, priceVersion: 'test' },
      { ...held, ...sentOfEnvelope('llm'), operationId: envelope, priceVersion: 'test', envelopeOf: ['llm'] },
    ]);
    await until('all hold', async () => (await stack.books(tenantId)).reservedUsd === '1.5');
    await timePasses();
    expect(await look()).toMatchObject({ lost: 1 });
    await until("the step's is given back", async () => (await stack.books(tenantId)).reservedUsd === '1');
    const { rows } = await stack.admin.query<{ operation_id: string }>(
      `SELECT operation_id FROM copilot_internal.reservations WHERE run_id = $1 AND status = 'granted'`,
      [runId],
    );
    expect(rows.map(({ operation_id: id }) => id).sort()).toEqual([ofCaller, envelope].sort());
    // Nor does the upkeep come back for them.
    const left = await findLeftHolding(stack.pool, { endedForMs: 0, max: 1_000 });
    expect(left.map((one) => one.runId)).not.toContain(runId);
  });

  test('and whose look was cut short is found by the next one, with what it holds', async () => {
    const run = await half();
    const { tenantId, runId } = run;
    const asked = {
      resource: 'llm',
      kind: 'llm.call',
      amountUsd: '0.5',
      ttlSeconds: 600,
      priceVersion: 'test',
      attempt: 1,
    } as const;
    await stack.signal(tenantId, [{ type: 'reserve', runId, operationId: randomUUID(), ...asked }]);
    await until('it holds', async () => (await stack.books(tenantId)).reservedUsd === '0.5');
    await timePasses();
    // As if its process had ended before the authority was told.
    const send = (): Promise<void> => Promise.reject(new Error('ended'));
    const cut = createUpkeepActivities({
      pool: stack.pool,
      client: stack.temporal,
      coalescer: { send } as unknown as Coalescer,
      alerts: { wake: () => undefined },
      log: stack.api.log,
    });
    await expect(cut.endLostRuns()).rejects.toThrow('ended');
    await timePasses();
    expect(await look()).toMatchObject({ lost: 1 });
    await until('it is given back', async () => (await stack.books(tenantId)).reservedUsd === '0');
  });

  test('and that gave back what it held, of which its authority never heard, gives it back again', async () => {
    const run = await half();
    const { tenantId, runId } = run;
    const asked = {
      resource: 'llm',
      kind: 'llm.call',
      amountUsd: '0.5',
      ttlSeconds: 3_000,
      priceVersion: 'test',
      attempt: 1,
    } as const;
    await stack.signal(tenantId, [{ type: 'reserve', runId, operationId: randomUUID(), ...asked }]);
    await until('it holds', async () => (await stack.books(tenantId)).reservedUsd === '0.5');
    // Its end is on record, and what it told its authority went with that.
    await endRun(stack.pool, run, { status: 'cancelled', failure: { code: 'cancelled', message: 'a test' } });
    await look();
    expect((await stack.books(tenantId)).reservedUsd).toBe('0.5');
    await stack.admin.query(
      `UPDATE copilot_internal.runs SET ended_at = ended_at - interval '1 minute' WHERE run_id = $1`,
      [runId],
    );
    await look();
    await until('it is given back', async () => (await stack.books(tenantId)).reservedUsd === '0');
  });

  test('is none for workers of another namespace (XB10)', async () => {
    const elsewhere = `elsewhere-${randomUUID().slice(0, 8)}`;
    await stack.connection.workflowService.registerNamespace({
      namespace: elsewhere,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    });
    const there = new Client({ connection: stack.connection, namespace: elsewhere });
    const worker = await until('the namespace is known to every part of the server', () =>
      stack.startWorker({ environment: { TEMPORAL_NAMESPACE: elsewhere } }).catch(() => undefined),
    );
    const run = await half();
    // Of a version that did not write where: it is taken only where all others are.
    const old = await half();
    await stack.admin.query('UPDATE copilot_internal.runs SET namespace = NULL WHERE run_id = $1', [old.runId]);
    await timePasses();
    const lookThere = (): Promise<unknown> =>
      there.workflow.execute('lookAfter', {
        workflowId: `lookAfter/${randomUUID()}`,
        taskQueue: taskQueues(stack.prefix).budget,
        args: [{ once: true }],
      });
    expect(await lookThere()).toMatchObject({ lost: 0 });
    for (const key of [run, old]) expect((await stack.show(key)).status).toBe('running');
    await worker.stop();
    expect(await look()).toMatchObject({ lost: 2 });
  });
});
