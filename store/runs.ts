/** Runs: what was asked, the file that came with it, what happened, and the answer. None of it is in a workflow history. */
import type { BindingQuota, Resource } from '../core/budget/commands';
import { labelsFrom, type Labels } from '../core/labels';
import { databaseLimits } from './connections';
import { readPage } from './pages';
import { asTenant, asTenantTaking, onCommit, type Pool, type PoolClient } from './pool';
import {
  awaitedSql,
  beginningSql,
  idleSinceSql,
  stateSql,
  type AwaitedPeople,
  type RunState,
  type RunStatus,
  type RunWaiting,
} from './run-states';
import { tellWatchers } from './run-tells';

export type { RunStatus, RunWaiting } from './run-states';

/** A task ends with its answer; a conversation stays open for more messages. */
export type RunType = 'task' | 'conversation';

export interface NewRun {
  runId: string;
  type?: RunType;
  tenantId: string;
  userId?: string | undefined;
  workflowId: string;
  /** Of Temporal, in which its workflow is started. */
  namespace?: string | undefined;
  model: string;
  task: string;
  title?: string | undefined;
  /** Of all that it spends. */
  labels?: Labels | undefined;
  options?: Record<string, unknown>;
  file?: { name: string; content: Buffer } | undefined;
}

/** Why a run did not complete: a code of the error catalogue, words, and for a denial the quota that bound. */
export interface RunFailure {
  code: string;
  message: string;
  resource?: Resource;
  quota?: BindingQuota;
  retryAfterSeconds?: number;
}

export interface Run {
  runId: string;
  type: RunType;
  tenantId: string;
  userId?: string | undefined;
  workflowId: string;
  model: string;
  /** Empty for a conversation. */
  task: string;
  /** What was asked for at its start, as the API took it. */
  options: Record<string, unknown>;
  /** Of all that it spends, those of its key among them. */
  labels?: Labels | undefined;
  waiting?: RunWaiting | undefined;
  awaited?: AwaitedPeople | undefined;
  /** Since when a conversation waits for a message. */
  idleSince?: Date | undefined;
  fileName?: string | undefined;
  fileBytes?: number | undefined;
  status: RunStatus;
  state: RunState;
  /** What people call a conversation, and how its first message begins. */
  title?: string | undefined;
  beginning?: string | undefined;
  answer?: string | undefined;
  failure?: RunFailure | undefined;
  createdAt: Date;
  endedAt?: Date | undefined;
  /** When what was asked, said and printed was forgotten. */
  forgottenAt?: Date | undefined;
}

/**
 * Records a run, its file and its first event. A repeat with the same id is answered with how the run stands, and only says
 * that its workflow was asked for again.
 */
export async function createRun(pool: Pool, run: NewRun): Promise<RunStatus> {
  return asTenantTaking(databaseLimits.patientMs)(pool, run.tenantId, async (client) => {
    // A schema of the version before has no place for any.
    const hasLabels = run.labels !== undefined;
    const { rows } = await client.query<{ created: boolean; status: RunStatus }>(
      `INSERT INTO copilot_internal.runs AS r (run_id, tenant_id, user_id, workflow_id, model, task, options, type, namespace, title${hasLabels ? ', labels' : ''})
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10${hasLabels ? ', $11' : ''})
       ON CONFLICT (run_id) DO UPDATE SET seen_at = clock_timestamp(), namespace = coalesce(excluded.namespace, r.namespace)
       RETURNING r.xmax = 0 AS created, r.status`,
      [
        run.runId,
        run.tenantId,
        run.userId ?? null,
        run.workflowId,
        run.model,
        run.task,
        JSON.stringify(run.options ?? {}),
        run.type ?? 'task',
        run.namespace ?? null,
        run.title ?? null,
        ...(hasLabels ? [JSON.stringify(run.labels)] : []),
      ],
    );
    const { created = false, status = 'running' } = rows[0] ?? {};
    if (!created) return status;
    if (run.file) {
      await client.query(
        'INSERT INTO copilot_internal.run_files (run_id, tenant_id, name, content) VALUES ($1, $2, $3, $4)',
        [run.runId, run.tenantId, run.file.name, run.file.content],
      );
    }
    await appendRunEvent(client, run.runId, { key: 'started', type: 'run.started', data: { model: run.model } });
    return status;
  });
}

/** A run of a tenant; undefined when the tenant has none of that id. */
export async function findRun(pool: Pool, { tenantId, runId }: RunKey): Promise<Run | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<RunRow>(
      `SELECT r.*, f.name AS file_name, octet_length(f.content) AS file_bytes, ${stateSql} AS state, ${awaitedSql} AS awaited, ${idleSinceSql} AS idle_since,
              ${beginningSql} AS beginning
       FROM copilot_internal.runs r LEFT JOIN copilot_internal.run_files f USING (run_id) WHERE r.run_id = $1`,
      [runId],
    );
    return rows[0] && runFrom(rows[0]);
  });
}

export interface RunKey {
  tenantId: string;
  runId: string;
}

/** A row as the queries of runs read it. */
export interface RunRow {
  run_id: string;
  type: RunType;
  options: Record<string, unknown>;
  labels: unknown;
  waiting: RunWaiting | null;
  tenant_id: string;
  user_id: string | null;
  workflow_id: string;
  model: string;
  task: string;
  file_name: string | null;
  file_bytes: number | null;
  title: string | null;
  beginning: string | null;
  awaited: AwaitedPeople | null;
  idle_since: Date | null;
  state: RunState;
  transcript_forgotten_at: Date | null;
  status: RunStatus;
  answer: string | null;
  failure: RunFailure | null;
  created_at: Date;
  ended_at: Date | null;
}

export const runFrom = (row: RunRow): Run => ({
  runId: row.run_id,
  type: row.type,
  options: row.options,
  labels: labelsFrom(row.labels),
  waiting: row.waiting ?? undefined,
  tenantId: row.tenant_id,
  userId: row.user_id ?? undefined,
  workflowId: row.workflow_id,
  model: row.model,
  task: row.task,
  fileName: row.file_name ?? undefined,
  fileBytes: row.file_bytes ?? undefined,
  title: row.title ?? undefined,
  beginning: row.beginning ?? undefined,
  awaited: row.awaited ?? undefined,
  idleSince: row.idle_since ?? undefined,
  state: row.state,
  forgottenAt: row.transcript_forgotten_at ?? undefined,
  status: row.status,
  answer: row.answer ?? undefined,
  failure: row.failure ?? undefined,
  createdAt: row.created_at,
  endedAt: row.ended_at ?? undefined,
});

/** A run that is recorded as running, of whose workflow nothing was heard for a while. */
export interface UnseenRun extends RunKey {
  workflowId: string;
  /** When it was taken to be looked up, in Postgres' precision. */
  seenAt: string;
}

/** Takes runs of all tenants, started in this namespace, whose workflow was neither asked for nor seen for so long, to be looked up. */
export async function takeUnseenRuns(
  pool: Pool,
  { namespace, unseenForMs, max }: { namespace: string; unseenForMs: number; max: number },
): Promise<UnseenRun[]> {
  const { rows } = await pool.query<UnseenRun>(
    `SELECT tenant_id AS "tenantId", run_id AS "runId", workflow_id AS "workflowId", seen_at AS "seenAt"
     FROM copilot_internal.take_unseen_runs($1 * interval '1 millisecond', $2, $3)`,
    [unseenForMs, max, namespace],
  );
  return rows;
}

/** One thing that happened in a run. Its number follows the order of commits, from 1 without a gap. */
export interface RunEvent {
  sequence: number;
  type: string;
  data: Record<string, unknown>;
  createdAt: Date;
}

export interface NewRunEvent {
  /** Names the event within its run: writing it again changes nothing. */
  key: string;
  type: string;
  data: Record<string, unknown>;
}

/**
 * Locks a run, inside the caller's transaction. Whoever changes what belongs to a run (its turns, questions, waiters) locks the
 * run first: see "The order of locks" in docs/architecture.md.
 */
export async function lockRun(client: PoolClient, runId: string): Promise<RunStatus | undefined> {
  const { rows } = await client.query<{ status: RunStatus }>(
    'SELECT status FROM copilot_internal.runs WHERE run_id = $1 FOR NO KEY UPDATE',
    [runId],
  );
  return rows[0]?.status;
}

/** Appends an event, inside the caller's transaction; who watches the run is told once that has committed. */
export async function appendRunEvent(client: PoolClient, runId: string, event: NewRunEvent): Promise<void> {
  onCommit(client, (pool) => tellWatchers(pool, runId));
  await client.query('SELECT copilot_internal.append_run_event($1, $2, $3, $4)', [
    runId,
    event.key,
    event.type,
    JSON.stringify(event.data),
  ]);
}

/** An event of a run by the name under which it was written. */
export async function findRunEvent(
  pool: Pool,
  { tenantId, runId, key }: RunKey & { key: string },
): Promise<Pick<RunEvent, 'sequence' | 'data'> | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Pick<RunEvent, 'sequence' | 'data'>>(
      'SELECT sequence, data FROM copilot_internal.run_events WHERE run_id = $1 AND event_key = $2',
      [runId, key],
    );
    return rows[0];
  });
}

/** Many streams may read at the same time. */
const eventsBytesMax = 1024 * 1024;

/** A run's events after a number, in order, as many as are to be in memory at once. */
export async function readRunEvents(
  pool: Pool,
  { tenantId, runId, afterSequence = 0, limit = 500 }: RunKey & { afterSequence?: number; limit?: number },
): Promise<{ events: RunEvent[]; hasMore: boolean }> {
  return asTenant(pool, tenantId, async (client) => {
    const text = `SELECT sequence, type, data, created_at AS "createdAt", octet_length(data::text) AS bytes
       FROM copilot_internal.run_events WHERE run_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`;
    const values = [runId, afterSequence, limit];
    const page = await readPage<RunEvent>(client, { text, values }, { limit, bytesMax: eventsBytesMax });
    return { events: page.rows, hasMore: page.isCut || page.rows.length === limit };
  });
}

/** The number of the last event of each of these runs; a run without one is left out. */
export async function lastSequences(
  pool: Pool,
  { tenantId, runIds }: { tenantId: string; runIds: readonly string[] },
): Promise<Map<string, number>> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<{ runId: string; sequence: number }>(
        `SELECT asked.run_id AS "runId", last.sequence
         FROM unnest($1::uuid[]) AS asked (run_id), LATERAL (
           SELECT e.sequence FROM copilot_internal.run_events e
           WHERE e.run_id = asked.run_id ORDER BY e.sequence DESC LIMIT 1) AS last`,
        [runIds],
      ),
    );
    return new Map(rows.map(({ runId, sequence }) => [runId, sequence]));
  });
}
