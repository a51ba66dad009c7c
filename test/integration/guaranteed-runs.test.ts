/** Runs that have money of their own from the start (`limits.guaranteedUsd`): no step that fits it is denied for want of money. */
import { randomUUID } from 'node:crypto';
import { lookAtBooks } from '../../store/books';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('a guaranteed run', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const start = (tenantId: string, limits: object, more: object = {}) =>
    api.call('POST', '/v1/runs', { body: { tenantId, task: 'Say something.', limits, ...more } });
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
    const started = await start(tenantId, { guaranteedUsd: '3' });
    await until('it takes a part', async () => (await rowsOf(tenantId)).length > 1);
    await api.call('POST', `/v1/runs/${String(started.body.runId)}/cancel`, { body: { tenantId } });
    expect(await ended(tenantId, started.body.runId)).toMatchObject({ status: 'cancelled' });
    expect((await rowsOf(tenantId))[0]).toMatchObject({ kind: 'envelope', status: 'released' });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });
});
