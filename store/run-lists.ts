/** Lists of a tenant's runs and conversations. */
import { cacheSavedSql } from './cache-saved';
import { asTenant, type Pool } from './pool';
import { awaitedSql, beginningSql, idleSinceSql, stateSql, type RunState } from './run-states';
import { runFrom, type Run, type RunRow, type RunType } from './runs';

/** Which runs are asked for. */
export interface RunFilter {
  type?: RunType | undefined;
  status?: RunState | undefined;
  userId?: string | undefined;
  before?: Date | undefined;
  /** Those after this one of the list. */
  afterRunId?: string | undefined;
}

/** One of a list: what it has cost, and how its first message begins, of a conversation. */
export type ListedRun = Run & { costUsd: string; cacheSavedUsd: string };

/** A tenant's runs, conversations among them unless asked otherwise, the newest first, without what was asked and answered. */
export async function listRuns(
  pool: Pool,
  { tenantId, type, status, userId, before, afterRunId, limit }: RunFilter & { tenantId: string; limit: number },
): Promise<ListedRun[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<RunRow & { cost_usd: string; saved_usd: string }>(
      `SELECT r.run_id, r.type, r.tenant_id, r.user_id, r.workflow_id, r.model, r.waiting, r.status, r.failure, r.created_at, r.ended_at,
              r.title, r.labels, r.transcript_forgotten_at, '' AS task, '{}'::jsonb AS options, NULL AS answer, f.name AS file_name,
              octet_length(f.content) AS file_bytes, ${stateSql} AS state, ${awaitedSql} AS awaited, ${idleSinceSql} AS idle_since, ${beginningSql} AS beginning,
              spent.cost_usd, spent.saved_usd
       FROM copilot_internal.runs r LEFT JOIN copilot_internal.run_files f USING (run_id)
       CROSS JOIN LATERAL (
         SELECT trim_scale(coalesce(sum(c.amount_usd), 0))::text AS cost_usd,
                trim_scale(coalesce(sum(${cacheSavedSql('c.usage')}), 0))::text AS saved_usd
         FROM copilot_internal.cost_records c WHERE c.run_id = r.run_id) AS spent
       WHERE r.tenant_id = $1 AND ($2::text IS NULL OR r.user_id = $2)
         AND ($3::timestamptz IS NULL OR r.created_at < $3)
         AND ($5::text IS NULL OR r.type = $5)
         AND ($6::text IS NULL OR (r.status = CASE WHEN $6 LIKE 'waiting%' THEN 'running' ELSE $6 END AND ${stateSql} = $6))
         AND ($7::uuid IS NULL OR (r.created_at, r.run_id) < (
           SELECT l.created_at, l.run_id FROM copilot_internal.runs l WHERE l.run_id = $7))
       ORDER BY r.created_at DESC, r.run_id DESC LIMIT $4`,
      [tenantId, userId ?? null, before ?? null, limit, type ?? null, status ?? null, afterRunId ?? null],
    );
    return rows.map((row) => ({ ...runFrom(row), costUsd: row.cost_usd, cacheSavedUsd: row.saved_usd }));
  });
}

/** Gives a conversation a title. */
export async function setTitle(
  pool: Pool,
  { tenantId, runId, title }: { tenantId: string; runId: string; title: string },
): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(client.query('UPDATE copilot_internal.runs SET title = $2 WHERE run_id = $1', [runId, title])),
  );
}
