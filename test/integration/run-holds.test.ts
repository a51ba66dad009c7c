/** A run's limit that only others hold: its refusal passes, says so, and is waited for where the product itself asks. */
import { randomUUID } from 'node:crypto';
import { lookAtBooks } from '../../store/books';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe("a run's limit that others hold", () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** One that goes on and has asked for nothing yet. */
  const runWith = async (tenantId: string, maxCostUsd: string): Promise<string> => {
    const runId = randomUUID();
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options)
       VALUES ($1, $2, 'w', 'm', 't', jsonb_build_object('limits', jsonb_build_object('maxCostUsd', $3::text)))`,
      [runId, tenantId, maxCostUsd],
    );
    return runId;
  };

  test('is told to callers over HTTP as held: of five at once those that are refused have it once the others have ended', async () => {
    const tenantId = await stack.tenant('100');
    const runId = await runWith(tenantId, '1');
    const reserve = async (amountUsd: string) => {
      const body = { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd, runId };
      const response = await api.request('/v1/reservations', { method: 'POST', body });
      const answer = (await response.json()) as Record<string, unknown>;
      return { status: response.status, retryAfter: response.headers.get('retry-after'), answer };
    };
    const five = await Promise.all(Array.from({ length: 5 }, () => reserve('0.4')));
    const granted = five.filter(({ status }) => status === 201);
    const refused = five.filter(({ status }) => status !== 201);
    expect(granted).toHaveLength(2);
    for (const one of refused)
      expect(one).toMatchObject({
        ...{ status: 409, retryAfter: '10' },
        answer: {
          ...{ error: 'run_limit_exceeded', retryAfter: 10 },
          message: expect.stringContaining('$0.8 of it is held by calls under way and may come back') as string,
          action: expect.stringMatching(/only held.* ask again after 10 seconds/) as string,
        },
      });
    // What can never fit is told as before, and nobody waits for it.
    const beyond = await reserve('1.1');
    expect(beyond).toMatchObject({ status: 409, retryAfter: null, answer: { error: 'run_limit_exceeded' } });
    expect(beyond.answer).not.toHaveProperty('retryAfter');
    const client = await api.clientOf(tenantId);
    const asked = client.reserve({ resource: 'llm', amountUsd: '0.4', runId });
    await expect(asked).rejects.toMatchObject({ code: 'run_limit_exceeded', retryAfterSeconds: 10 });
    for (const { answer } of granted) {
      const path = `/v1/reservations/${String(answer.operationId)}/commit`;
      expect(await api.call('POST', path, { body: { tenantId, costUsd: '0.01' } })).toMatchObject({ status: 200 });
    }
    expect(await Promise.all([reserve('0.4'), reserve('0.4')])).toMatchObject([{ status: 201 }, { status: 201 }]);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('is waited for by runs that belong to it: four at once of which it holds one all complete, within it', async () => {
    // $40 a million: a call may cost $0.04, and costs $0.0004.
    const model = 'claude-for-siblings';
    await stack.priceModel(model, '40');
    Object.assign(stack.anthropic.knobs, { latencyMs: 300, usage: { output_tokens: 10 } });
    const tenantId = await stack.tenant('100');
    const parentRunId = await runWith(tenantId, '0.05');
    const four = await Promise.all(
      Array.from({ length: 4 }, () =>
        stack.run({ tenantId, model, parentRunId, limits: { maxOutputTokens: 1_000 }, task: 'Say one word.' }),
      ),
    );
    expect(four.map(({ status, failure }) => [status, failure])).toEqual(Array(4).fill(['completed', null]));
    const refused = await stack.admin.query(
      `SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'rejected'`,
      [tenantId],
    );
    expect(refused.rowCount).toBeGreaterThan(0);
    const { body } = await api.call('GET', `/v1/runs/${parentRunId}?tenantId=${tenantId}`);
    const { ledgerUsd } = await stack.books(tenantId);
    expect((body.tree as object[])[0]).toMatchObject({ limitUsd: '0.05', spentUsd: ledgerUsd, reservedUsd: '0' });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });
});
