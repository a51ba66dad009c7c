/** Limits that bind a call through the wire proxy beside those of its tenant: of its run, of its conversation's turn, and of its labels. */
import { randomUUID } from 'node:crypto';
import { settledBooks } from '../support/proxy';
import { proxyScene } from '../support/proxy-scene';

const model = 'claude-haiku-4-5';
// 40,000 tokens at $5 a million are $0.20.
const small = { model, max_tokens: 40_000, messages: [{ role: 'user', content: 'Hello' }] };
// And $0.10 for 100,000 bytes, of which the provider counts a quarter as tokens.
const large = { ...small, messages: [{ role: 'user', content: 'a'.repeat(100_000) }] };

describe('a call through the proxy', () => {
  const scene = proxyScene('anthropic');
  beforeEach(() => {
    Object.assign(scene.stack.anthropic.knobs, { usage: { input_tokens: 25_000, output_tokens: 1_000 } });
  });

  /** A run, or a conversation, that may cost so much, and has asked for nothing yet. */
  const runWith = async (maxCostUsd: string, type: 'task' | 'conversation' = 'task'): Promise<string> => {
    const runId = randomUUID();
    await scene.stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, type, options)
       VALUES ($1, $2, 'w', 'm', $3, $4, jsonb_build_object('limits', jsonb_build_object('maxCostUsd', $5::text)))`,
      [runId, scene.tenantId, type === 'task' ? 't' : '', type, maxCostUsd],
    );
    return runId;
  };
  /** Begins a turn, and ends the one before it. */
  const turnOf = async (conversationId: string, number: number): Promise<void> => {
    await scene.stack.admin.query(
      `UPDATE copilot_internal.turns SET status = 'completed', ended_at = now() WHERE run_id = $1`,
      [conversationId],
    );
    await scene.stack.admin.query(
      `INSERT INTO copilot_internal.turns (turn_id, run_id, tenant_id, number, message, status)
       VALUES ($1, $2, $3, $4, 'm', 'running')`,
      [randomUUID(), conversationId, scene.tenantId, number],
    );
  };
  const ask = (headers: Record<string, string>, body: object = small) => scene.send('/v1/messages', body, headers);
  // It has no period: it is no 429.
  const refusedByRun = [409, { error: 'run_limit_exceeded' }];
  const ofRun = (runId: string) => ({ 'x-spendlock-run': runId });
  const limitLabel = (limitUsd: string) =>
    scene.api.admin.tenants.setQuotas(scene.tenantId, [
      { scope: 'label', scopeId: 'team:search', resourceType: 'all', period: 'day', limitUsd },
    ]);
  const ofTeam = { 'x-spendlock-labels': 'team=search' };

  test('is denied by its run, which says so, and no call is made', async () => {
    const runId = await runWith('0.1');
    const before = scene.stack.anthropic.calls().billable;
    const answer = await ask(ofRun(runId));
    expect([answer.status, answer.json().spendlock]).toMatchObject(refusedByRun);
    expect(answer.json().error.message).toContain("the run's own limit of $0.1");
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(scene.stack.anthropic.calls().billable).toBe(before);
    expect(await settledBooks(scene.stack, scene.tenantId)).toMatchObject({ ledgerUsd: '0' });
  });

  test('counts for its run: what it cost is gone from what the run may cost', async () => {
    const runId = await runWith('0.21');
    expect((await ask(ofRun(runId))).status).toBe(200);
    await settledBooks(scene.stack, scene.tenantId);
    const answer = await ask(ofRun(runId));
    expect([answer.status, answer.json().spendlock]).toMatchObject(refusedByRun);
  });

  test('counts for the turn that its conversation is in, and for the next one anew', async () => {
    const conversationId = await runWith('0.21', 'conversation');
    await turnOf(conversationId, 1);
    expect((await ask(ofRun(conversationId))).status).toBe(200);
    await settledBooks(scene.stack, scene.tenantId);
    const answer = await ask(ofRun(conversationId));
    expect([answer.status, answer.json().spendlock]).toMatchObject(refusedByRun);
    await turnOf(conversationId, 2);
    expect((await ask(ofRun(conversationId))).status).toBe(200);
  });

  test('is counted by its provider where only its count fits its run, from the first call on', async () => {
    const runId = await runWith('0.28');
    expect((await ask(ofRun(runId), large)).status).toBe(200);
    await settledBooks(scene.stack, scene.tenantId);
    // $0.03 are gone, and the rest holds the count.
    expect((await ask(ofRun(runId), large)).status).toBe(200);
  });

  test('is counted by its provider where only its count fits the limit of its label', async () => {
    await limitLabel('0.25');
    expect((await ask(ofTeam, large)).status).toBe(200);
    await limitLabel('0.15');
    const answer = await ask(ofTeam, large);
    expect([answer.status, answer.json().spendlock]).toMatchObject([429, { quotaDetails: { scope: 'label' } }]);
  });
});
