/** Runs that have money of their own from the start (`limits.guaranteedUsd`): no step that fits it is denied for want of money. */
import { randomUUID } from 'node:crypto';
import { lookAtBooks } from '../../store/books';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { withInstallation } from '../support/installation';
import { resetToBegin } from '../support/reset';
import { type TestStack, until } from '../support/stack';

describe('a guaranteed run', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  beforeEach(() => Object.assign(stack.anthropic.knobs, { latencyMs: 0, replies: [] }));

  const start = (tenantId: string, limits: object, more: object = {}) =>
    api.call('POST', '/v1/runs', { body: { tenantId, task: 'Say something.', limits, ...more } });
  /** The same, of which a call is under way. */
  const startsCalling = async (tenantId: string, limits: object) => {
    const { anthropic } = stack;
    await until('nobody calls a model', () => anthropic.calls().inFlight === 0);
    const started = await start(tenantId, limits);
    await until('a model is called', () => anthropic.calls().inFlight > 0);
    return started;
  };
  const ended = (tenantId: string, runId: unknown) =>
    until('it ended', async () => {
      const { body } = await api.call('GET', `/v1/runs/${String(runId)}?tenantId=${tenantId}`);
      return body.endedAt === null ? undefined : body;
    });
  const rowsOf = async (tenantId: string): Promise<Record<string, string>[]> => {
    const { rows } = await stack.admin.query<Record<string, string>>(
      `SELECT kind, status, trim_scale(envelope_usd)::text AS "envelopeUsd", parent_id AS "parentId", operation_id AS id
       FROM copilot_internal.reservations WHERE tenant_id = $1 AND kind <> 'external.call' ORDER BY decided_at, operation_id`,
      [tenantId],
    );
    return rows;
  };
  const limit = (tenantId: string, limits: Record<string, string>) =>
    api.admin.tenants.setQuotas(
      tenantId,
      Object.entries(limits).map(([resourceType, limitUsd]) => ({ resourceType, limitUsd })),
    );
  const waits = (tenantId: string, runId: unknown, resource: string) =>
    until(`it waits for ${resource}`, async () => {
      const { body } = await api.call('GET', `/v1/runs/${String(runId)}?tenantId=${tenantId}`);
      return (body.waitingFor as { resource?: string } | null)?.resource === resource;
    });
  const envelopesOf = async (tenantId: string) =>
    (await rowsOf(tenantId)).filter(({ kind }) => kind === 'envelope').map(({ status }) => status);
  const takeTheRest = (tenantId: string, amountUsd: string) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd, minimumUsd: '0.01' },
    });

  test('takes its steps from what is held for it, while others have all else, and gives the rest back', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 1_500;
    const started = await start(tenantId, { guaranteedUsd: '3', maxCostUsd: '4' });
    expect(started.status).toBe(202);
    await until('it holds what is guaranteed', async () => (await rowsOf(tenantId)).length > 0);
    expect(await takeTheRest(tenantId, '5')).toMatchObject({ status: 201, body: { grantedUsd: '2' } });
    expect(await ended(tenantId, started.body.runId)).toMatchObject({ status: 'completed' });
    const [envelope, ...parts] = await rowsOf(tenantId);
    expect(envelope).toMatchObject({ kind: 'envelope', status: 'released', envelopeUsd: '3' });
    const run = await api.admin.runs.get(String(started.body.runId), tenantId);
    expect(run.guaranteedUsd).toBe('3');
    const stands = { amountUsd: '3', restUsd: run.steps[0]?.reservedUsd, partsSpentUsd: run.costUsd };
    expect(run.steps[0]).toMatchObject({ parentOperationId: null, envelope: stands });
    expect(run.steps[1]).toMatchObject({ parentOperationId: envelope?.id, envelope: null });
    const said = (await spendlock(api, 'runs', 'show', tenantId, run.runId)).out;
    expect(said).toMatch(
      /\$3\.00 was guaranteed to it: \$0\.\d+ spent, \$0\.00 held by its steps, \$2\.9\d* given back\./,
    );
    expect(parts.length).toBeGreaterThan(0);
    for (const part of parts) expect(part).toMatchObject({ status: 'committed', parentId: envelope?.id });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('does not start where it cannot be had, and goes beyond it where the limits have more', async () => {
    const tenantId = await stack.tenant('5');
    const denied = await start(tenantId, { guaranteedUsd: '6' });
    expect(await ended(tenantId, denied.body.runId)).toMatchObject({ status: 'quota_exceeded' });
    expect(await rowsOf(tenantId)).toMatchObject([{ kind: 'envelope', status: 'denied' }]);
    expect(await start(tenantId, { guaranteedUsd: '2', maxCostUsd: '1' })).toMatchObject({ status: 400 });
    const small = await start(tenantId, { guaranteedUsd: '0.000001' });
    expect(await ended(tenantId, small.body.runId)).toMatchObject({ status: 'completed' });
    const [, , ...steps] = await rowsOf(tenantId);
    expect(steps.map(({ parentId }) => parentId)).toContain(null);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('that is cancelled holds nothing any more', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 20_000;
    const started = await startsCalling(tenantId, { guaranteedUsd: '3' });
    await api.call('POST', `/v1/runs/${String(started.body.runId)}/cancel`, { body: { tenantId } });
    expect(await ended(tenantId, started.body.runId)).toMatchObject({ status: 'cancelled' });
    expect((await rowsOf(tenantId))[0]).toMatchObject({ kind: 'envelope', status: 'released' });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('that waits for it asks once for each limit that stands in the way, and keeps nothing from others meanwhile', async () => {
    const tenantId = await stack.tenant('5');
    await limit(tenantId, { llm: '40', e2b: '50', all: '150' });
    const { body } = await start(tenantId, { guaranteedUsd: '60' }, { onDenied: 'wait' });
    await waits(tenantId, body.runId, 'llm');
    await limit(tenantId, { llm: '100' });
    await waits(tenantId, body.runId, 'e2b');
    const other = await takeTheRest(tenantId, '100');
    expect(other).toMatchObject({ status: 201, body: { grantedUsd: '100' } });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(await envelopesOf(tenantId)).toEqual(['denied', 'denied']);
    await api.call('POST', `/v1/reservations/${String(other.body.operationId)}/release`, { body: { tenantId } });
    await limit(tenantId, { e2b: '60' });
    expect(await ended(tenantId, body.runId)).toMatchObject({ status: 'completed' });
    expect(await envelopesOf(tenantId)).toEqual(['denied', 'denied', 'released']);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('that asks people for it asks once, for all limits that stand in the way', async () => {
    const tenantId = await stack.tenant('5');
    await limit(tenantId, { llm: '40', e2b: '30', all: '500' });
    const { body } = await start(tenantId, { guaranteedUsd: '60' }, { onDenied: 'ask' });
    const request = await until(
      'people are asked',
      async () => (await api.admin.moneyRequests.list({ tenantId })).requests[0],
    );
    expect(request).toMatchObject({ kind: 'envelope', resource: 'e2b', lacksUsd: '30' });
    const { lifted } = await api.admin.moneyRequests.grant(request.requestId, {
      tenantId,
      amountUsd: request.lacksUsd,
      author: 'Jo',
    });
    expect(lifted).toMatchObject([
      { resourceType: 'e2b', amountUsd: '30' },
      { resourceType: 'llm', amountUsd: '20' },
    ]);
    expect(await ended(tenantId, body.runId)).toMatchObject({ status: 'completed' });
    const { requests } = await api.admin.moneyRequests.list({ tenantId, runId: body.runId as string });
    expect(requests).toMatchObject([{ status: 'granted' }]);
    expect(await envelopesOf(tenantId)).toEqual(['denied', 'released']);
  });

  test('that is reset goes on with what is left of what it holds, beside which the same could not be had again', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 15_000;
    const { body } = await startsCalling(tenantId, { guaranteedUsd: '3' });
    // A caller's own that names the run is none of it.
    const own = {
      tenantId,
      operationId: randomUUID(),
      runId: body.runId,
      resource: 'llm',
      amountUsd: '0.1',
      envelope: true,
    };
    expect(await api.call('POST', '/v1/reservations', { body: own })).toMatchObject({ status: 201 });
    stack.anthropic.knobs.latencyMs = 0;
    await resetToBegin(stack, String(body.workflowId));
    expect(await ended(tenantId, body.runId)).toMatchObject({ status: 'completed' });
    const envelopes = (await rowsOf(tenantId)).filter(({ kind, id }) => kind === 'envelope' && id !== own.operationId);
    expect(envelopes).toMatchObject([{ status: 'released', envelopeUsd: '3' }]);
    const parts = (await rowsOf(tenantId)).filter(({ kind }) => kind === 'llm.call');
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) expect(part.parentId).toBe(envelopes[0]?.id);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('is held on what its tenant limits alone: a step of anything else is refused as ever', async () => {
    const tenantId = await stack.tenant('5');
    await stack.admin.query(
      `DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND resource_type <> 'llm'`,
      [tenantId],
    );
    const { body } = await start(tenantId, { guaranteedUsd: '3' });
    expect(await ended(tenantId, body.runId)).toMatchObject({ status: 'completed' });
    expect(await rowsOf(tenantId)).toMatchObject([{ kind: 'envelope', status: 'released' }, { status: 'committed' }]);
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }];
    const unlimited = await start(tenantId, { guaranteedUsd: '3' });
    expect(await ended(tenantId, unlimited.body.runId)).toMatchObject({ failure: { code: 'quota_missing' } });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('is planned by what is left of it where it holds all there is: nothing is counted, and its prompts are cached', async () => {
    const tenantId = await stack.tenant('5');
    const before = stack.anthropic.calls().countTokens;
    const { body } = await start(tenantId, { guaranteedUsd: '5' });
    const run = await ended(tenantId, body.runId);
    expect(run).toMatchObject({ status: 'completed', steps: [{ kind: 'envelope' }, { kind: 'llm.call' }] });
    expect(stack.anthropic.calls().countTokens).toBe(before);
    expect(JSON.stringify(stack.anthropic.lastRequest())).toContain('cache_control');
  });
});
