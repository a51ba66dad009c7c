/** A copy of Postgres that takes over without the last moments may know nothing of a claim. The money is spent all the same. */
import { TestStack, until } from '../support/stack';

describe('a claim that Postgres has lost', () => {
  let stack: TestStack;
  beforeEach(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterEach(() => stack.stop());

  test('is told in the log with the operation and what it cost (XA10)', async () => {
    const worker = await stack.startHosted();
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 1_500;
    const { runId } = await stack.start({ tenantId });
    await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
    const { rows } = await stack.admin.query<{ operation_id: string }>(
      `UPDATE copilot_internal.reservations SET claimed_at = NULL, claim_token = NULL
       WHERE run_id = $1 AND claimed_at IS NOT NULL RETURNING operation_id`,
      [runId],
    );
    const line = await until('it is told', () =>
      worker
        .logged()
        .split('\n')
        .find((text) => text.includes('an outcome was not recorded')),
    );
    expect(JSON.parse(line)).toMatchObject({
      level: 50,
      tenantId,
      operationId: rows[0]?.operation_id,
      costUsd: expect.stringMatching(/^0\.0\d*[1-9]$/) as string,
    });
  });
});
