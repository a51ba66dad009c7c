/** What people are asked: whether a tool may be used, and questions that the model has. What they decide first stands. */
import { inOneSpelling } from '../core/ids';
import { storableText } from '../core/storable';
import type { Role } from '../core/roles';
import type { KeyOwner } from './api-keys';
import { appendRunEvent, type RunKey } from './runs';
import { readPage } from './pages';
import { asTenant, type Pool, type PoolClient } from './pool';

export type ApprovalStatus = 'pending' | 'approved' | 'refused' | 'answered' | 'withdrawn';

export interface NewApproval {
  approvalId: string;
  toolUseId: string;
  tool: string;
  kind: 'approval' | 'question';
  /** What the tool would be given, or the question. */
  input: unknown;
}

/** A person's word. `answer` is the answer to a question, or the reason of a refusal. */
export interface ApprovalDecision {
  decision: 'approve' | 'refuse' | 'answer';
  answer?: string | undefined;
  decidedBy: string;
  /** The key it came with. Nothing where a signal from Temporal's UI decides. */
  key?: Pick<KeyOwner, 'apiKeyId' | 'role'> | undefined;
}

export interface Approval {
  approvalId: string;
  runId: string;
  turnId: string | null;
  step: number;
  toolUseId: string;
  tool: string;
  kind: 'approval' | 'question';
  input: unknown;
  status: ApprovalStatus;
  answer: string | null;
  decidedBy: string | null;
  decidedByKeyId: string | null;
  decidedByRole: Role | null;
  createdAt: Date;
  decidedAt: Date | null;
}

const columns = `approval_id AS "approvalId", run_id AS "runId", turn_id AS "turnId", step, tool_use_id AS "toolUseId", tool, kind,
  input, status, answer, decided_by AS "decidedBy", decided_by_key AS "decidedByKeyId",
  decided_by_role AS "decidedByRole", created_at AS "createdAt", decided_at AS "decidedAt"`;

/** Asks, once for each tool call of a step, and tells of it. */
export async function openApprovals(
  pool: Pool,
  { tenantId, runId, step, turnId }: RunKey & { step: number; turnId?: string | undefined },
  asked: readonly NewApproval[],
): Promise<void> {
  await asTenant(pool, tenantId, async (client) => {
    for (const { approvalId, toolUseId, tool, kind, input } of asked) {
      const { rowCount } = await client.query(
        `INSERT INTO copilot_internal.approvals (approval_id, run_id, tenant_id, turn_id, step, tool_use_id, tool, kind, input)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
        [approvalId, runId, tenantId, turnId ?? null, step, toolUseId, tool, kind, JSON.stringify(input ?? {})],
      );
      if (rowCount === 0) continue;
      const data = { approvalId, step, tool, kind, input };
      await appendRunEvent(client, runId, { key: `approval-${approvalId}`, type: 'approval.requested', data });
    }
  });
}

const statuses = { approve: 'approved', refuse: 'refused', answer: 'answered' } as const;

/**
 * Records what a person decided, unless it was decided before: then answers how it stands. Undefined when the tenant has
 * no such approval.
 */
export async function decideApproval(
  pool: Pool,
  { tenantId, approvalId: named }: { tenantId: string; approvalId: string },
  { decision, answer, decidedBy, key }: ApprovalDecision,
): Promise<ApprovalOfWorkflow | undefined> {
  // A signal from Temporal UI has the spelling of who typed it.
  const approvalId = inOneSpelling(named);
  return asTenant(pool, tenantId, async (client) => {
    // The run comes before what belongs to it.
    await client.query(
      `SELECT FROM copilot_internal.runs
       WHERE run_id = (SELECT run_id FROM copilot_internal.approvals WHERE approval_id = $1) FOR NO KEY UPDATE`,
      [approvalId],
    );
    const { rowCount } = await client.query(
      `UPDATE copilot_internal.approvals SET status = $2, answer = $3, decided_by = $4, decided_by_key = $5, decided_by_role = $6,
         decided_at = clock_timestamp()
       WHERE approval_id = $1 AND status = 'pending' AND ($2 <> 'answered' OR kind = 'question') AND ($2 <> 'approved' OR kind = 'approval')`,
      [
        approvalId,
        statuses[decision],
        answer === undefined ? null : storableText(answer),
        storableText(decidedBy),
        key?.apiKeyId ?? null,
        key?.role ?? null,
      ],
    );
    const approval = await approvalOf(client, approvalId);
    if (approval && rowCount === 1) {
      const data = { approvalId, status: approval.status, decidedBy };
      await appendRunEvent(client, approval.runId, {
        key: `approval-decided-${approvalId}`,
        type: 'approval.decided',
        data,
      });
    }
    return approval;
  });
}

type ApprovalOfWorkflow = Approval & { workflowId: string };

async function approvalOf(client: PoolClient, approvalId: string): Promise<ApprovalOfWorkflow | undefined> {
  const { rows } = await client.query<ApprovalOfWorkflow>(
    `SELECT ${columns}, (SELECT workflow_id FROM copilot_internal.runs r WHERE r.run_id = a.run_id) AS "workflowId"
     FROM copilot_internal.approvals a WHERE approval_id = $1`,
    [approvalId],
  );
  return rows[0];
}

/** What a person is asked; undefined where the tenant has no such approval. */
export const findApproval = (
  pool: Pool,
  { tenantId, approvalId }: { tenantId: string; approvalId: string },
): Promise<ApprovalOfWorkflow | undefined> => asTenant(pool, tenantId, (client) => approvalOf(client, approvalId));

/** The approvals of one step of a run. */
export async function readApprovals(
  pool: Pool,
  { tenantId, runId, step }: RunKey & { step: number },
): Promise<Approval[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Approval>(
      `SELECT ${columns} FROM copilot_internal.approvals WHERE run_id = $1 AND step = $2`,
      [runId, step],
    );
    return rows;
  });
}

/** The approvals of one step, for the workflow that asked: what is decided of them counts as told to it. */
export async function takeDecisions(pool: Pool, key: RunKey & { step: number }): Promise<Approval[]> {
  const approvals = await readApprovals(pool, key);
  const decided = approvals.filter(({ decidedAt }) => decidedAt !== null).map(({ approvalId }) => approvalId);
  if (decided.length > 0) await noteTold(pool, key.tenantId, decided);
  return approvals;
}

/** Notes that the workflow which asked knows of these decisions. */
export async function noteTold(pool: Pool, tenantId: string, approvalIds: readonly string[]): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(
      client.query(
        `UPDATE copilot_internal.approvals SET told_at = clock_timestamp()
         WHERE approval_id = ANY ($1) AND told_at IS NULL`,
        [approvalIds],
      ),
    ),
  );
}

/** Decisions in open runs of all tenants that were made so long ago without their workflow being told. */
export async function findUntoldDecisions(
  pool: Pool,
  { waitedMs, max }: { waitedMs: number; max: number },
): Promise<{ tenantId: string; approvalId: string; workflowId: string }[]> {
  const { rows } = await pool.query<{ tenantId: string; approvalId: string; workflowId: string }>(
    `SELECT tenant_id AS "tenantId", approval_id AS "approvalId", workflow_id AS "workflowId"
     FROM copilot_internal.untold_decisions($1 * interval '1 millisecond', $2)`,
    [waitedMs, max],
  );
  return rows;
}

/** Nobody waits for these any more: the turn was interrupted, or the run ended. */
export async function withdrawApprovals(pool: Pool, { tenantId, runId }: RunKey): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) => commitWith(withdrawApprovalsOf(client, runId)));
}

/** The same within the caller's transaction. */
export const withdrawApprovalsOf = (client: PoolClient, runId: string): Promise<unknown> =>
  client.query(
    `UPDATE copilot_internal.approvals SET status = 'withdrawn', decided_at = clock_timestamp()
     WHERE run_id = $1 AND status = 'pending'`,
    [runId],
  );

/** What a tenant's people are asked and have not answered, the longest waiting first; or all of one run. */
export async function listApprovals(
  pool: Pool,
  {
    tenantId,
    runId,
    afterApprovalId,
    limit = 500,
  }: { tenantId: string; runId?: string | undefined; afterApprovalId?: string | undefined; limit?: number },
): Promise<{ approvals: Approval[]; hasMore: boolean }> {
  return asTenant(pool, tenantId, async (client) => {
    const text = `SELECT ${columns}, octet_length(input::text) AS bytes FROM copilot_internal.approvals
       WHERE CASE WHEN $1::uuid IS NULL THEN status = 'pending' ELSE run_id = $1 END
         AND ($2::uuid IS NULL OR (created_at, approval_id) > (
           SELECT l.created_at, l.approval_id FROM copilot_internal.approvals l WHERE l.approval_id = $2))
       ORDER BY created_at, approval_id LIMIT $3`;
    const values = [runId ?? null, afterApprovalId ?? null, limit];
    const { rows: approvals, isCut } = await readPage<Approval>(client, { text, values }, { limit });
    return { approvals, hasMore: isCut || approvals.length === limit };
  });
}
