/** A tenant in the middle of its month: spend of weeks, runs that ended well and badly, money that is held, users that were refused. */
import { randomUUID } from 'node:crypto';
import { TestConversation } from './conversations';
import type { TestApi } from './api';
import { type TestStack, until } from './stack';

export interface Scene {
  /** Near its limit, and full of life. */
  tenantId: string;
  /** Has spent nothing. */
  calmTenantId: string;
  /** A task that is done, with a sandbox. */
  runId: string;
  workflowId: string;
  /** Whose own quota stood in the way. */
  deniedUser: string;
}

/** Authorities of one server are told apart by their tenants, so each scene of a run has a tenant of its own. */
export async function makeScene(stack: TestStack, api: TestApi, tenantId: string): Promise<Scene> {
  const post = (path: string, body: object) => api.call('POST', path, { body });
  const calmTenantId = `${tenantId}-labs`;
  await post('/v1/tenants', { tenantId, name: 'Research' });
  await post('/v1/tenants', { tenantId: calmTenantId, name: 'Laboratories' });
  // The limit is near, however much of the month is over.
  const limit = Math.ceil(Number(await weeksOfSpend(stack, tenantId)) * 1.1) + 5;
  const quotas = [
    { resourceType: 'all', limitUsd: String(limit) },
    { resourceType: 'llm', limitUsd: String(limit) },
    { resourceType: 'e2b', limitUsd: String(limit) },
    { scope: 'user', scopeId: 'grace', resourceType: 'all', period: 'day', limitUsd: '0.5' },
  ];
  await api.call('PUT', `/v1/tenants/${tenantId}/quotas`, { body: { quotas } });
  const paid = { operationId: randomUUID(), tenantId, userId: 'ada', resource: 'llm', model: 'claude-haiku-4-5' };
  await post('/v1/reservations', { ...paid, amountUsd: '4.5' });
  await post(`/v1/reservations/${paid.operationId}/commit`, { tenantId, costUsd: '4.25' });
  stack.anthropic.knobs.latencyMs = 150;
  stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
  const run = await stack.start({ tenantId, userId: 'ada', task: 'What is six times seven?' });
  await stack.finish({ tenantId, ...run });
  stack.anthropic.knobs.replies = [{ text: 'Hello.' }];
  const talk = await TestConversation.start(api, tenantId, { userId: 'linus' });
  await talk.say('Hello.');
  await post('/v1/reservations', {
    operationId: randomUUID(),
    tenantId,
    userId: 'grace',
    resource: 'llm',
    model: 'claude-haiku-4-5',
    amountUsd: '0.6',
  });
  await post('/v1/reservations', {
    operationId: randomUUID(),
    tenantId,
    userId: 'ada',
    resource: 'llm',
    amountUsd: '0.4',
    ttlSeconds: 3_600,
  });
  await until('all is folded', async () => (await stack.books(tenantId)).openReservations <= 2);
  return { tenantId, calmTenantId, runId: run.runId, workflowId: run.workflowId, deniedUser: 'grace' };
}

/** Thirty days of ledger lines, as decisions would have written them: about $2.9 a day. */
async function weeksOfSpend(stack: TestStack, tenantId: string): Promise<string> {
  await stack.admin.query(
    `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, user_id, kind, resource, model, amount_usd, settlement, posted_at)
     SELECT $1, gen_random_uuid(), 'commit', (ARRAY['ada', 'ada', 'grace', 'linus', NULL])[1 + i % 5],
       CASE WHEN i % 4 = 0 THEN 'sandbox.window' ELSE 'llm.call' END, CASE WHEN i % 4 = 0 THEN 'e2b' ELSE 'llm' END,
       CASE WHEN i % 4 = 0 THEN NULL ELSE (ARRAY['claude-haiku-4-5', 'claude-sonnet-4-5', 'gpt-5-mini'])[1 + i % 3] END,
       (0.1 + (i * 7919 % 100) / 400.0)::numeric(38,12), 'actual', date_trunc('day', now()) - interval '30 days' + i * interval '110 minutes'
     FROM generate_series(1, 390) AS i WHERE date_trunc('day', now()) - interval '30 days' + i * interval '110 minutes' < now() - interval '1 hour'`,
    [tenantId],
  );
  const { rows } = await stack.admin.query<{ spent: string }>(
    `UPDATE copilot_internal.cost_quotas q SET current_spend_usd = (SELECT coalesce(sum(amount_usd), 0) FROM copilot_internal.cost_records c
       WHERE c.tenant_id = $1 AND c.posted_at >= q.period_start AND (q.resource_type = 'all' OR c.resource = q.resource_type))
     WHERE tenant_id = $1 AND scope = 'tenant' RETURNING current_spend_usd::text AS spent`,
    [tenantId],
  );
  return rows.map(({ spent }) => spent).sort((a, b) => Number(b) - Number(a))[0] ?? '0';
}
