/** How a run or a conversation stands: one word for both, and what it waits for. */
import type { BindingQuota, Resource } from '../core/budget/commands';

/** As it is stored. */
export const runStatuses = ['running', 'completed', 'quota_exceeded', 'failed', 'cancelled'] as const;
export type RunStatus = (typeof runStatuses)[number];

/** The same as people see it: what is stored as running may wait. */
export const runStates = [...runStatuses, 'waiting_for_money', 'waiting_for_approval'] as const;
export type RunState = (typeof runStates)[number];

/** What a run waits for before its next step: money, of which quota, since and until when. */
export interface RunWaiting {
  resource: Resource;
  quota: BindingQuota;
  since: string;
  retryAfterSeconds?: number;
  /** What people are asked for. */
  asks?: { requestId: string; askedUsd: string; waitsUntil: string };
}

/** What people are asked before it goes on, and since when. */
export interface AwaitedPeople {
  since: string;
  approvals: { approvalId: string; tool: string; kind: 'approval' | 'question' }[];
}

const pending = `FROM copilot_internal.approvals a WHERE a.run_id = r.run_id AND a.status = 'pending'`;

/** The state of a row `r` of runs. */
export const stateSql = `CASE WHEN r.status <> 'running' THEN r.status WHEN r.waiting IS NOT NULL THEN 'waiting_for_money'
  WHEN EXISTS (SELECT ${pending}) THEN 'waiting_for_approval' ELSE 'running' END`;

/** Whom it waits for, as jsonb; null where it waits for nobody. */
export const awaitedSql = `CASE WHEN r.status = 'running' THEN (
  SELECT jsonb_build_object('since', min(a.created_at), 'approvals', jsonb_agg(
    jsonb_build_object('approvalId', a.approval_id, 'tool', a.tool, 'kind', a.kind) ORDER BY a.created_at, a.approval_id))
  ${pending} HAVING count(*) > 0) END`;

/** Since when an open conversation has nothing to do: the end of its last turn, or its beginning; null where a turn is under way or comes. */
export const idleSinceSql = `CASE WHEN r.status = 'running' AND r.type = 'conversation' AND NOT EXISTS (
  SELECT FROM copilot_internal.turns t WHERE t.run_id = r.run_id AND t.status IN ('queued', 'running')) THEN coalesce(
    (SELECT t.ended_at FROM copilot_internal.turns t WHERE t.run_id = r.run_id ORDER BY t.number DESC LIMIT 1), r.created_at) END`;

/** How the first message of a conversation begins. */
export const beginningSql = `(SELECT left(t.message, 200) FROM copilot_internal.turns t WHERE t.run_id = r.run_id AND t.number = 1)`;
