/** What the checks of a chaos run read of the database, added up from rows, and the rows. */
import { isLabelled, ledgerOfQuota, openOfQuota } from '../../store/books-sql';

export interface OpenRow {
  what: string;
  workflowId: string | null;
  /** Of what holds its money until then, whoever does what. */
  endsAtMs: number | null;
}

/** A sandbox whose end nobody was told of is the only thing that nobody but time ends. */
export const underWay = `
  SELECT tenant_id || ' ' || kind || ' ' || operation_id || ' until ' || to_char(expires_at, 'HH24:MI:SS')
           || CASE WHEN claimed_at IS NULL THEN ', not begun' ELSE ', begun' END || coalesce(', of run ' || run_id, '') AS what,
         NULL AS "workflowId",
         CASE WHEN kind LIKE 'sandbox.%' AND status = 'granted' THEN extract(epoch FROM expires_at)::float8 * 1000 END AS "endsAtMs"
  FROM copilot_internal.reservations
  WHERE status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded)
  UNION ALL SELECT tenant_id || ' run ' || run_id || ', not heard of since ' || seen_at, workflow_id, NULL
  FROM copilot_internal.runs WHERE status = 'running'
  UNION ALL SELECT tenant_id || ' turn ' || turn_id, NULL, NULL FROM copilot_internal.turns WHERE status IN ('queued', 'running')
  UNION ALL SELECT tenant_id || ' approval ' || approval_id, NULL, NULL FROM copilot_internal.approvals WHERE status = 'pending'
  UNION ALL SELECT tenant_id || ' waiter', workflow_id, NULL FROM copilot_internal.money_waiters
  UNION ALL SELECT 'alert ' || alert_id, NULL, NULL FROM copilot_internal.quota_alerts WHERE sent_at IS NULL`;

export interface BalanceRow {
  tenant_id: string;
  scope: string;
  scope_id: string;
  resource_type: string;
  period: string;
  limit: string;
  spent: string;
  reserved: string;
  ledger: string;
  open: string;
  excess: string;
}

/** Each quota of a tenant beside its ledger entries and open reservations, added up from rows, in one snapshot. */
export const balances = `
  WITH entries AS (
    SELECT c.tenant_id, c.operation_id, c.resource, c.user_id, c.labels, c.posted_at, c.amount_usd FROM copilot_internal.cost_records c
  ), costs AS (
    SELECT e.tenant_id, e.operation_id, e.resource, e.user_id, e.labels, min(e.posted_at) AS posted_at,
           greatest(sum(e.amount_usd) - CASE WHEN min(r.status) = 'committed' THEN min(r.granted_usd) ELSE 0 END, 0) AS excess
    FROM entries e JOIN copilot_internal.reservations r USING (tenant_id, operation_id)
    GROUP BY 1, 2, 3, 4, 5
  )
  SELECT q.tenant_id, q.scope, q.scope_id, q.resource_type, q.period,
         trim_scale(q.limit_usd + q.topup_usd)::text AS limit, trim_scale(q.current_spend_usd)::text AS spent,
         trim_scale(q.reserved_usd)::text AS reserved,
         trim_scale(${ledgerOfQuota})::text AS ledger, trim_scale(${openOfQuota})::text AS open,
         (SELECT trim_scale(coalesce(sum(excess), 0))::text FROM costs c
          WHERE c.tenant_id = q.tenant_id AND q.resource_type IN ('all', c.resource) AND (q.scope NOT IN ('user', 'shadow_user') OR c.user_id = q.scope_id)
            AND (q.scope NOT IN ('label', 'shadow_label') OR ${isLabelled('c')}) AND c.posted_at >= q.period_start AND c.posted_at < q.period_end) AS excess
  FROM copilot_internal.cost_quotas q WHERE q.tenant_id IS NOT NULL`;

/** What is summed by day beside the ledger, whatever the day: a chaos run moves entries between days. */
export const dailySums = `
  SELECT tenant_id, trim_scale(sum(days))::text AS days, trim_scale(sum(ledger))::text AS ledger
  FROM (SELECT tenant_id, cost_usd AS days, 0 AS ledger FROM copilot_internal.daily_costs
        UNION ALL SELECT tenant_id, 0, amount_usd FROM copilot_internal.cost_records) AS amounts
  GROUP BY tenant_id`;

/** The same of what has labels. */
export const labelSums = `
  SELECT tenant_id, trim_scale(sum(days))::text AS days, trim_scale(sum(ledger))::text AS ledger
  FROM (SELECT tenant_id, cost_usd AS days, 0 AS ledger FROM copilot_internal.daily_label_costs
        UNION ALL SELECT tenant_id, 0, amount_usd FROM copilot_internal.cost_records WHERE labels IS NOT NULL) AS amounts
  GROUP BY tenant_id`;

/** What is leased of each platform quota. A lease that ran over counts in full: that money is gone. */
export const leases = `
  SELECT trim_scale(p.limit_usd)::text AS limit,
         trim_scale(coalesce(sum(CASE WHEN l.period_end > now() THEN greatest(l.limit_usd, l.current_spend_usd + l.reserved_usd)
                                      ELSE l.reserved_usd END), 0))::text AS leased
  FROM copilot_internal.cost_quotas p JOIN copilot_internal.cost_quotas l ON l.lease_of = p.quota_id GROUP BY p.quota_id`;

/** Runs that were answered more often than they have steps. */
export const boughtAgain = `
  SELECT r.workflow_id, sum(s.answers - 1)::integer AS again
  FROM (
    SELECT run_id, step, count(*) AS answers FROM copilot_internal.reservations
    WHERE kind = 'llm.call' AND outcome IS DISTINCT FROM 'not_billed' AND outcome_result ? 'stopReason' GROUP BY run_id, step
  ) AS s JOIN copilot_internal.runs r USING (run_id)
  WHERE s.answers > 1 GROUP BY r.workflow_id`;

export interface TurnRow {
  turn_id: string;
  message: string;
  status: string;
  failure: { code?: string } | null;
}

export interface OperationRow {
  operation_id: string;
  status: string;
  granted: string | null;
  ledger: string;
}
export const operations = `
  SELECT r.operation_id::text, r.status, trim_scale(r.granted_usd)::text AS granted,
         (SELECT trim_scale(coalesce(sum(amount_usd), 0))::text FROM copilot_internal.cost_records c
          WHERE c.tenant_id = r.tenant_id AND c.operation_id = r.operation_id) AS ledger
  FROM copilot_internal.reservations r`;

/** Denials by a limit that is only watched, by its own name or told by its amount from the one that binds beside it. */
export const watchedDenials = `
  SELECT r.tenant_id || ' ' || r.operation_id AS what
  FROM copilot_internal.reservations r
  JOIN copilot_internal.cost_quotas q ON q.tenant_id = r.tenant_id AND q.scope IN (r.refusal #>> '{quota,scope}', 'shadow_' || (r.refusal #>> '{quota,scope}'))
    AND q.scope LIKE 'shadow_%'
    AND q.scope_id = r.refusal #>> '{quota,scopeId}' AND q.resource_type = r.refusal #>> '{quota,resourceType}'
    AND q.period = r.refusal #>> '{quota,period}' AND q.limit_usd = (r.refusal #>> '{quota,limitUsd}')::numeric
  WHERE r.status = 'denied'`;

/**
 * Quotas that refused or passed their threshold in their period, and raised nothing; without ($1) those that are only watched, of which a
 * version before theirs raises none.
 */
export const missingAlerts = `
  SELECT concat_ws(' ', q.tenant_id, q.scope, q.scope_id, q.resource_type, q.period, a.kind) AS what
  FROM copilot_internal.cost_quotas q
  CROSS JOIN LATERAL (
    SELECT 'quota_warning' AS kind WHERE q.current_spend_usd > 0 AND q.current_spend_usd >= (q.limit_usd + q.topup_usd) * q.warning_threshold
    UNION ALL
    SELECT 'quota_exceeded' WHERE EXISTS (
      SELECT FROM copilot_internal.reservations r
      WHERE r.tenant_id = q.tenant_id AND r.status = 'denied' AND r.decided_at >= q.period_start
        AND r.refusal #>> '{quota,scope}' = q.scope AND r.refusal #>> '{quota,scopeId}' = q.scope_id
        AND r.refusal #>> '{quota,resourceType}' = q.resource_type AND r.refusal #>> '{quota,period}' = q.period)
  ) AS a
  WHERE q.tenant_id IS NOT NULL AND q.lease_of IS NULL AND NOT ($1 AND q.scope LIKE 'shadow_%') AND NOT EXISTS (
    SELECT FROM copilot_internal.quota_alerts x
    WHERE x.quota_id = q.quota_id AND x.kind = a.kind AND x.period_start = q.period_start)
  UNION ALL
  SELECT t.tenant_id || ' overrun' FROM copilot_internal.tenants t
  WHERE EXISTS (SELECT FROM copilot_internal.reservations r WHERE r.tenant_id = t.tenant_id AND r.overrun_usd > 0 AND NOT r.unreserved)
    AND NOT EXISTS (SELECT FROM copilot_internal.quota_alerts x WHERE x.tenant_id = t.tenant_id AND x.kind = 'overrun')`;

/** What was granted for a value of a label that has neither a limit of its own nor the default of its key. */
export const unlimitedLabels = `
  SELECT DISTINCT r.tenant_id || ' ' || l.key || ':' || l.value AS what
  FROM copilot_internal.reservations r
  CROSS JOIN LATERAL jsonb_each_text(r.labels) AS l
  JOIN copilot_internal.label_quota_defaults d ON d.tenant_id = r.tenant_id AND d.key = l.key
  WHERE r.granted_usd > 0 AND NOT EXISTS (
    SELECT FROM copilot_internal.cost_quotas q
    WHERE q.tenant_id = r.tenant_id AND q.scope = 'label' AND q.scope_id = l.key || ':' || l.value
      AND q.resource_type = d.resource_type AND q.period = d.period)`;
