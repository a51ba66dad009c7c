/** What a caller with a key, or an operator, does to an installation. Each says what has to hold of it. */
import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { temporal as protocol } from '@temporalio/proto';
import { conversationWorkflowId, runWorkflowId } from '../../contracts/messages';
import type { Installation } from './installation';
import type { Chance } from './random';
import type { Scene } from './scene';
import { standingOf } from './standing';

type HistoryEvent = protocol.api.history.v1.IHistoryEvent;

/** A revocation is in force by then in every process that runs: sooner than what a process remembers would run out. */
const revokedMs = 3_000;
/** Whoever is not attacked is answered by then, also while something else is wrong. */
const answeredMs = 5_000;
/** Everybody is served again by then once Postgres can be reached, on a machine that is busy too. */
const servedAgainMs = 60_000;
/** A decision whose connection went silent has lost its locks by then: Postgres ends it sooner, and the proxy the connection much later. */
const givenUpMs = 8_000;

/** A tenant that has much and asks for little: what it exports fits into no buffer. */
export const hoarder = 'chaos-hoarder';
/** Text that takes little room in Postgres. */
const hoard = `
  INSERT INTO copilot_internal.audit_entries (tenant_id, author, action, details)
  SELECT $1, 'chaos', 'hoard', jsonb_build_object('text', repeat('x', 8000)) FROM generate_series(1, 4000)
  WHERE NOT EXISTS (SELECT FROM copilot_internal.audit_entries WHERE tenant_id = $1)`;

const call = (
  { apiUrl }: Installation,
  where: string,
  { key, ...init }: RequestInit & { key: string },
): Promise<Response | undefined> =>
  fetch(`${apiUrl}${where}`, {
    ...init,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(10_000),
  }).catch(() => undefined);

/** A key with an open stream is revoked: the stream ends and the key is refused, in a moment. */
export async function keyRevoked(installation: Installation, chance: Chance, { tenants, hold }: Scene): Promise<void> {
  const { tenantId } = chance.oneOf(tenants);
  const admin = installation.apiKey;
  const post = async (where: string, body: object): Promise<Record<string, string> | undefined> => {
    const answer = await call(installation, where, { key: admin, method: 'POST', body: JSON.stringify(body) });
    return answer?.ok ? ((await answer.json()) as Record<string, string>) : undefined;
  };
  const made = await post('/v1/keys', { tenantId, label: 'to be revoked', author: 'chaos' });
  const { apiKey: key, apiKeyId } = made ?? {};
  if (key === undefined) return;
  const gone = new AbortController();
  const stream = await fetch(`${installation.apiUrl}/v1/tenants/${tenantId}/overview/events`, {
    headers: { authorization: `Bearer ${key}` },
    signal: gone.signal,
  }).catch(() => undefined);
  let isOver = stream?.body == null;
  const reading = (async () => {
    for await (const _ of stream?.body ?? []) if (isOver) return;
  })()
    .catch(() => undefined)
    .finally(() => (isOver = true));
  const revoked = await post(`/v1/keys/${apiKeyId}/revoke`, { tenantId, author: 'chaos' });
  if (revoked) {
    let after: Response | undefined;
    for (const endMs = Date.now() + revokedMs; after?.status !== 401 && Date.now() < endMs; await sleep(200))
      after = await call(installation, `/v1/tenants/${tenantId}/quotas`, { key });
    hold(
      'a revoked key is refused',
      after === undefined || after.status === 401 || after.status >= 500,
      () => `${apiKeyId} was answered ${after?.status} after its revocation`,
    );
    await Promise.race([reading, sleep(answeredMs)]);
    hold('a revoked key\u2019s streams end', isOver, () => `a stream of ${apiKeyId} goes on`);
  }
  gone.abort();
  await reading;
}

/** One tenant\u2019s key asks for everything and reads nothing; somebody else has to be answered meanwhile. */
export async function longAnswersUnread(
  installation: Installation,
  chance: Chance,
  { tenants, hold }: Scene,
): Promise<void> {
  const other = chance.oneOf(tenants).tenantId;
  await installation.admin.query(hoard, [hoarder]);
  const headers = { authorization: `Bearer ${installation.apiKey}` };
  const open = (method: string, where: string) => {
    const sent = request(`${installation.apiUrl}${where}`, { method, headers });
    sent.on('response', (response) => response.pause()).on('error', () => undefined);
    sent.end();
    return sent;
  };
  const paths = ['export', 'overview/events'].map((what) => `/v1/tenants/${hoarder}/${what}`);
  const requests = paths.flatMap((where) =>
    Array.from({ length: 16 }, (_, index) => open(index % 2 === 0 ? 'HEAD' : 'GET', where)),
  );
  await sleep(1_000);
  // A process that is down answers nobody: asked again until it is there.
  let answer: Response | undefined;
  const askedMs = performance.now();
  for (let tries = 0; tries < 3 && !answer; tries += 1)
    answer = await call(installation, `/v1/tenants/${other}/quotas`, { key: installation.apiKey });
  const tookMs = performance.now() - askedMs;
  hold(
    'nobody stands still for another',
    answer === undefined || (answer.status === 200 && tookMs < answeredMs),
    () => `${other} was answered ${answer?.status} after ${Math.round(tookMs)} ms`,
  );
  for (const one of requests) one.destroy();
}

/** Whatever was silent, everybody is answered soon after Postgres can be reached again. */
export async function servedAgain(installation: Installation, { tenants, hold }: Scene): Promise<void> {
  const came = new Map<string, Set<string>>();
  const isAnswered = async ({ tenantId }: { tenantId: string }): Promise<boolean> => {
    const order = { tenantId, resource: 'e2b', amountUsd: '0.01', ttlSeconds: 2 };
    for (const endMs = Date.now() + servedAgainMs; Date.now() < endMs; await sleep(200)) {
      const body = JSON.stringify({ ...order, operationId: randomUUID() });
      const answer = await call(installation, '/v1/reservations', { key: installation.apiKey, method: 'POST', body });
      if (answer && answer.status < 500) return true;
      const text = answer ? `${answer.status} ${await answer.text().catch(String)}` : 'no answer';
      came.set(tenantId, (came.get(tenantId) ?? new Set()).add(text.slice(0, 200)));
    }
    return false;
  };
  const answered = await Promise.all(tenants.map(isAnswered));
  const without = tenants.filter((_, index) => !answered[index]).map(({ tenantId }) => tenantId);
  const told = await Promise.all(
    without.map(async (tenantId) => {
      const standing = await standingOf(installation, tenantId).catch(String);
      return `${tenantId}: no answer for ${servedAgainMs} ms. ${[...(came.get(tenantId) ?? [])].join(' | ')}. ${standing}`;
    }),
  );
  hold('everybody is served again', without.length === 0, () => told.join('; '));
}

/** Who holds a tenant's lock and has said nothing for nearly as long as that. */
const silentHolders = `
  SELECT DISTINCT a.application_name || ' for ' || round(extract(epoch FROM clock_timestamp() - a.state_change)) || ' s' AS who
  FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.relation = 'copilot_internal.tenants'::regclass AND l.mode = 'RowShareLock'
  WHERE a.state = 'idle in transaction' AND a.state_change < clock_timestamp() - $1 * interval '0.9 milliseconds'`;

/** Postgres ends a decision that goes silent in the middle, which its tenant's others wait for. */
export async function locksGivenUp({ proxy, admin }: Installation, { hold }: Scene): Promise<void> {
  const isSilent = await Promise.race([proxy.silenceAt('record_budget_batch').then(() => true), sleep(5_000, false)]);
  if (!isSilent) return;
  await sleep(givenUpMs);
  const { rows } = await admin.query<{ who: string }>(silentHolders, [givenUpMs]);
  hold('a silent decision gives its locks up', rows.length === 0, () => rows.map(({ who }) => who).join(', '));
}

/** An operator resets a run or a conversation to one of its workflow tasks. */
export async function workflowReset(installation: Installation, chance: Chance, { load }: Scene): Promise<void> {
  const { temporal, resetInCall, resets } = installation;
  const workflowIds = [
    ...load.runs.slice(-10).map(({ runId }) => runWorkflowId(runId)),
    ...load.conversations.slice(-10).map(({ conversationId }) => conversationWorkflowId(conversationId)),
  ];
  while (workflowIds.length > 0) {
    const [workflowId = ''] = workflowIds.splice(chance.between(0, workflowIds.length - 1), 1);
    const handle = temporal.workflow.getHandle(workflowId);
    const { status, runId } = await handle.describe();
    if (status.name !== 'RUNNING') continue;
    const { events } = await temporal.workflow.getHandle(workflowId, runId).fetchHistory();
    const tasks = (events ?? []).filter(({ workflowTaskCompletedEventAttributes: done }) => done != null);
    if (tasks.length === 0) continue;
    resets.add(workflowId);
    await temporal.workflowService.resetWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId, runId },
      workflowTaskFinishEventId: chance.oneOf(tasks).eventId ?? null,
      requestId: randomUUID(),
      reason: 'by an operator, in a chaos run',
    });
    const before = await temporal.workflow.getHandle(workflowId, runId).fetchHistory();
    if (isInCall(before)) resetInCall.set(workflowId, (resetInCall.get(workflowId) ?? 0) + 1);
    return;
  }
}

/** Whether a model was being asked when a history ended. */
function isInCall({ events }: { events?: readonly HistoryEvent[] | null }): boolean {
  const open = new Set<string>();
  for (const event of events ?? []) {
    const { activityTaskScheduledEventAttributes: scheduled } = event;
    if (scheduled?.activityType?.name === 'callModel') open.add(String(event.eventId));
    const ended =
      event.activityTaskCompletedEventAttributes ??
      event.activityTaskFailedEventAttributes ??
      event.activityTaskTimedOutEventAttributes ??
      event.activityTaskCanceledEventAttributes;
    if (ended) open.delete(String(ended.scheduledEventId));
  }
  return open.size > 0;
}
