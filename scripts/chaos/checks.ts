/** The promises of docs/architecture.md, asked of what Postgres, Temporal, the stand-ins and the callers hold. */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatUsd, parseUsd, sumUsd } from '../../core/money';
import { endedWrongly, ledgerOfQuota, openOfQuota } from '../../store/books-sql';
import { budgetStateQuery, budgetWorkflowId, conversationWorkflowId, runWorkflowId } from '../../workflows/messages';
import type { Installation } from './installation';
import type { Load, Tenant } from './load';

export interface Violation {
  promise: string;
  what: string;
}

/** How often a long wait says what it waits for. */
const sayEveryMs = 20_000;

/** How Temporal shows a run that ended like this on record. */
const workflowEndOf = (status: string): string =>
  ({ completed: 'COMPLETED', cancelled: 'CANCELLED', quota_exceeded: 'FAILED', failed: 'FAILED' })[status] ?? 'none';

export class Checks {
  readonly violations: Violation[] = [];
  made = 0;

  constructor(
    private readonly installation: Installation,
    private readonly tenants: readonly Tenant[],
  ) {}

  hold = (promise: string, isKept: boolean, what: () => string): void => {
    this.made += 1;
    // The first of each kind say what there is to know.
    if (!isKept && this.violations.filter((one) => one.promise === promise).length < 20)
      this.violations.push({ promise, what: what() });
  };

  /** What holds at every moment. */
  async always(): Promise<void> {
    // Leases first: what runs over meanwhile is then among the overruns.
    const { rows: platform } = await this.installation.admin.query<{ leased: string; limit: string }>(leases);
    const { rows } = await this.installation.admin.query<BalanceRow>(balances);
    for (const row of rows) {
      const name = `${row.tenant_id} ${row.scope} ${row.scope_id} ${row.resource_type}`;
      this.hold(
        'balances equal the ledger',
        row.spent === row.ledger,
        () => `${name}: spent ${row.spent}, ledger ${row.ledger}`,
      );
      this.hold(
        'reserved equals the open reservations',
        row.reserved === row.open,
        () => `${name}: reserved ${row.reserved}, open ${row.open}`,
      );
      this.hold(
        'no grant passes a limit',
        parseUsd(row.spent) + parseUsd(row.reserved) <= parseUsd(row.limit) + parseUsd(row.excess),
        () => `${name}: spent ${row.spent} and reserved ${row.reserved} of ${row.limit}, overruns ${row.excess}`,
      );
    }
    const over = sumUsd(rows.filter(({ scope }) => scope === 'platform').map(({ excess }) => parseUsd(excess)));
    for (const { leased, limit } of platform) {
      this.hold(
        'the leases never pass the limit of the platform',
        parseUsd(leased) <= parseUsd(limit) + over,
        () => `leased ${leased} of ${limit}, overruns ${formatUsd(over)}`,
      );
    }
    const { rows: days } = await this.installation.admin.query<{ tenant_id: string; days: string; ledger: string }>(
      dailySums,
    );
    for (const { tenant_id, days: sums, ledger } of days)
      this.hold('sums by day equal the ledger', sums === ledger, () => `${tenant_id}: ${sums}, ledger ${ledger}`);
    const { rows: twice } = await this.installation.admin.query<{ operation_id: string }>(
      endedWrongly('copilot_internal.reservations'),
    );
    this.hold('each reservation ends once', twice.length === 0, () => twice.map((row) => row.operation_id).join(', '));
  }

  /** Waits until nothing is under way, and says now and then for what. What is then still open is a violation. */
  async settle(load: Load, timeoutMs: number, say: (line: string) => void): Promise<void> {
    let open: { what: string; workflowId: string | null }[] = [];
    let sayAtMs = Date.now() + sayEveryMs;
    for (const giveUpMs = Date.now() + timeoutMs; Date.now() < giveUpMs; await sleep(500)) {
      ({ rows: open } = await this.installation.admin.query<{ what: string; workflowId: string | null }>(
        `SELECT tenant_id || ' reservation ' || operation_id AS what, NULL AS "workflowId" FROM copilot_internal.reservations
         WHERE status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded)
         UNION ALL SELECT tenant_id || ' run ' || run_id || ', not heard of since ' || seen_at, workflow_id
         FROM copilot_internal.runs WHERE status = 'running'
         UNION ALL SELECT tenant_id || ' turn ' || turn_id, NULL FROM copilot_internal.turns WHERE status IN ('queued', 'running')
         UNION ALL SELECT tenant_id || ' approval ' || approval_id, NULL FROM copilot_internal.approvals WHERE status = 'pending'
         UNION ALL SELECT tenant_id || ' waiter', workflow_id FROM copilot_internal.money_waiters
         UNION ALL SELECT 'alert ' || alert_id, NULL FROM copilot_internal.quota_alerts WHERE sent_at IS NULL`,
      ));
      const { alive } = this.installation.e2b.calls();
      if (open.length === 0 && alive.length === 0) break;
      if (Date.now() < sayAtMs) continue;
      sayAtMs = Date.now() + sayEveryMs;
      const named = [...open.map(({ what }) => what), ...alive.map((id) => `sandbox ${id}`)];
      say(
        `chaos: still open: ${named.slice(0, 5).join('; ')}${named.length > 5 ? ` and ${named.length - 5} more` : ''}`,
      );
    }
    const told = await Promise.all(
      open
        .slice(0, 10)
        .map(async ({ what, workflowId }) => what + (workflowId === null ? '' : `: ${await this.stateOf(workflowId)}`)),
    );
    this.hold('everything ends', open.length === 0, () => told.join('; '));
    const { alive } = this.installation.e2b.calls();
    this.hold('no sandbox is left', alive.length === 0, () => alive.join(', '));
    const isKept = ({ atMs }: { atMs: number }): boolean => !this.installation.wasLost(atMs);
    const workflowIds = [
      ...load.runs.filter(isKept).map(({ runId }) => runWorkflowId(runId)),
      ...load.conversations.filter(isKept).map(({ conversationId }) => conversationWorkflowId(conversationId)),
    ];
    for (const workflowId of workflowIds) {
      const { status } = await this.installation.temporal.workflow.getHandle(workflowId).describe();
      const recorded = await this.recordedOf(workflowId);
      // Its row was lost with the Postgres that had it.
      if (recorded === 'absent' && this.installation.lost.length > 0) continue;
      const isRight = status.name === workflowEndOf(recorded);
      this.hold('every run ends', isRight, () => `${workflowId} is ${status.name}, and on record ${recorded}`);
    }
  }

  private async recordedOf(workflowId: string): Promise<string> {
    const { rows } = await this.installation.admin.query<{ status: string }>(
      'SELECT status FROM copilot_internal.runs WHERE workflow_id = $1',
      [workflowId],
    );
    return rows[0]?.status ?? 'absent';
  }

  /** Where a workflow stands, for whoever looks into why it has not ended. */
  private async stateOf(workflowId: string): Promise<string> {
    try {
      const handle = this.installation.temporal.workflow.getHandle(workflowId);
      const { status, historyLength, raw } = await handle.describe();
      const activities = (raw.pendingActivities ?? []).map(
        ({ activityType, attempt, lastFailure }) =>
          `${activityType?.name} in attempt ${attempt}${lastFailure?.message ? ` (${lastFailure.message})` : ''}`,
      );
      const task = raw.pendingWorkflowTask ? [`a workflow task in attempt ${raw.pendingWorkflowTask.attempt}`] : [];
      const pending = [...activities, ...task].join(', ') || 'nothing';
      return `${workflowId} is ${status.name} with ${historyLength} events, ${pending} is pending`;
    } catch (error) {
      return `${workflowId}: ${String(error)}`;
    }
  }

  /** What holds once everything has ended. */
  async afterwards(load: Load): Promise<void> {
    await this.always();
    await this.callers(load);
    await this.messages(load);
    await this.providers();
    await this.alerts();
    for (const { tenantId } of this.tenants) await this.authority(tenantId);
    const { unexpectedEnds } = this.installation;
    this.hold('no process ends by itself', unexpectedEnds.length === 0, () => unexpectedEnds.join(', '));
  }

  /** Nothing acknowledged is lost. */
  private async callers({ told }: Load): Promise<void> {
    const { rows } = await this.installation.admin.query<OperationRow>(operations);
    const found = new Map(rows.map((row) => [row.operation_id, row]));
    for (const { operationId, decision, committedUsd, released, atMs } of told) {
      if (atMs !== undefined && this.installation.wasLost(atMs)) continue;
      const row = found.get(operationId);
      if (decision?.status === 'granted') {
        this.hold(
          'no acknowledged decision is lost',
          row !== undefined && row.granted !== null && parseUsd(row.granted) === parseUsd(decision.grantedUsd ?? '0'),
          () => `${operationId} was granted ${decision.grantedUsd}; on record: ${JSON.stringify(row)}`,
        );
      } else if (decision) {
        this.hold(
          'no acknowledged decision is lost',
          row?.status === 'denied',
          () => `${operationId} was denied; on record: ${JSON.stringify(row)}`,
        );
      }
      if (committedUsd !== undefined) {
        this.hold(
          'an acknowledged cost is in the ledger, once',
          row !== undefined && parseUsd(row.ledger) === parseUsd(committedUsd),
          () => `${operationId} cost ${committedUsd}; on record: ${JSON.stringify(row)}`,
        );
      } else if (released) {
        this.hold(
          'a released operation costs nothing',
          row?.ledger === '0',
          () => `${operationId}: ${JSON.stringify(row)}`,
        );
      }
    }
  }

  /** What was taken is answered, once: completed, refused for want of money, failed, or stopped by who asked for that. */
  private async messages({ messages }: Load): Promise<void> {
    const { rows } = await this.installation.admin.query<TurnRow>(
      'SELECT turn_id::text, message, status, failure FROM copilot_internal.turns',
    );
    const found = new Map<string, typeof rows>();
    for (const row of rows) found.set(row.message, [...(found.get(row.message) ?? []), row]);
    for (const { turnId, message, stopped, atMs } of messages) {
      if (this.installation.wasLost(atMs)) continue;
      const turns = found.get(message) ?? [];
      this.hold(
        'a message that was taken is one turn',
        turns.length === 1 && turns[0]?.turn_id === turnId,
        () => `${turnId}; on record: ${JSON.stringify(turns)}`,
      );
      const ends = ['completed', 'quota_exceeded', 'failed', ...(stopped ? ['interrupted', 'cancelled'] : [])];
      this.hold(
        'a message that was taken is answered',
        ends.includes(turns[0]?.status ?? 'not there'),
        () => `${turnId}; on record: ${JSON.stringify(turns)}`,
      );
    }
  }

  /** No paid call without a claim, and no whole answer thrown away. */
  private async providers(): Promise<void> {
    const { rows } = await this.installation.admin.query<{ claims: number; kept: number }>(
      `SELECT count(*)::integer AS claims,
              -- One that could not be priced is kept without an outcome, and settled at its estimate.
              count(*) FILTER (WHERE outcome IS DISTINCT FROM 'not_billed' AND outcome_result ? 'stopReason')::integer AS kept
       FROM copilot_internal.reservations
       WHERE kind IN ('llm.call', 'compaction') AND run_id IS NOT NULL AND claimed_at IS NOT NULL`,
    );
    const { billable, answered } = this.installation.anthropic.calls();
    const { claims = 0, kept = 0 } = rows[0] ?? {};
    // A claim that Postgres lost was made all the same.
    const { answersAtRisk, lost } = this.installation;
    this.hold(
      'no paid call without a claim',
      billable <= claims + (lost.length > 0 ? answersAtRisk : 0),
      () => `${billable} calls, ${claims} claims`,
    );
    // What arrives at a process while that is killed nobody can keep.
    this.hold(
      'a paid answer is kept',
      answered - kept <= answersAtRisk,
      () => `${answered} whole answers, ${kept} kept; ${answersAtRisk} met a process that was killed or stopped`,
    );
  }

  private async alerts(): Promise<void> {
    const { rows } = await this.installation.admin.query<{ alert_id: string }>(
      'SELECT alert_id FROM copilot_internal.quota_alerts',
    );
    const due = new Set(rows.map(({ alert_id }) => alert_id));
    for (const alertId of due)
      this.hold('no alert is missing', this.installation.alerts.has(alertId), () => `alert ${alertId} did not arrive`);
    for (const alertId of this.installation.alerts.keys())
      this.hold(
        'no alert without a reason',
        due.has(alertId) || this.installation.lost.length > 0,
        () => `alert ${alertId} is on no record`,
      );
    const { rows: missing } = await this.installation.admin.query<{ what: string }>(missingAlerts);
    this.hold('no alert is missing', missing.length === 0, () => missing.map(({ what }) => what).join(', '));
  }

  /** What an authority says is what Postgres holds. */
  private async authority(tenantId: string): Promise<void> {
    const { temporal, admin } = this.installation;
    const workflowId = budgetWorkflowId(tenantId);
    await this.installation.tell(tenantId, [{ type: 'reload' }]);
    const { rows } = await admin.query<{ resource_type: string; spent: string; reserved: string }>(
      `SELECT resource_type, trim_scale(current_spend_usd)::text AS spent, trim_scale(reserved_usd)::text AS reserved
       FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant' ORDER BY resource_type`,
      [tenantId],
    );
    let said: unknown;
    for (let look = 0; look < 50; look += 1) {
      const state = await temporal.workflow.getHandle(workflowId).query(budgetStateQuery);
      said = state.quotas
        .filter(({ scope }) => scope === 'tenant')
        .map((quota) => ({ resource_type: quota.resourceType, spent: quota.spentUsd, reserved: quota.reservedUsd }))
        .sort((a, b) => a.resource_type.localeCompare(b.resource_type));
      if (JSON.stringify(said) === JSON.stringify(rows)) break;
      await sleep(100);
    }
    this.hold(
      'the authority says what Postgres holds',
      JSON.stringify(said) === JSON.stringify(rows),
      () => `${tenantId}: it says ${JSON.stringify(said)}, Postgres ${JSON.stringify(rows)}`,
    );
  }
}

interface BalanceRow {
  tenant_id: string;
  scope: string;
  scope_id: string;
  resource_type: string;
  limit: string;
  spent: string;
  reserved: string;
  ledger: string;
  open: string;
  excess: string;
}

/** Each quota of a tenant beside its ledger entries and open reservations, added up from rows, in one snapshot. */
const balances = `
  WITH entries AS (
    SELECT c.tenant_id, c.operation_id, c.resource, c.user_id, c.posted_at, c.amount_usd FROM copilot_internal.cost_records c
  ), costs AS (
    SELECT e.tenant_id, e.operation_id, e.resource, e.user_id, min(e.posted_at) AS posted_at,
           greatest(sum(e.amount_usd) - CASE WHEN min(r.status) = 'committed' THEN min(r.granted_usd) ELSE 0 END, 0) AS excess
    FROM entries e JOIN copilot_internal.reservations r USING (tenant_id, operation_id)
    GROUP BY 1, 2, 3, 4
  )
  SELECT q.tenant_id, q.scope, q.scope_id, q.resource_type,
         trim_scale(q.limit_usd + q.topup_usd)::text AS limit, trim_scale(q.current_spend_usd)::text AS spent,
         trim_scale(q.reserved_usd)::text AS reserved,
         trim_scale(${ledgerOfQuota})::text AS ledger, trim_scale(${openOfQuota})::text AS open,
         (SELECT trim_scale(coalesce(sum(excess), 0))::text FROM costs c
          WHERE c.tenant_id = q.tenant_id AND q.resource_type IN ('all', c.resource) AND (q.scope <> 'user' OR c.user_id = q.scope_id)
            AND c.posted_at >= q.period_start AND c.posted_at < q.period_end) AS excess
  FROM copilot_internal.cost_quotas q WHERE q.tenant_id IS NOT NULL`;

/** What is summed by day beside the ledger, whatever the day: a chaos run moves entries between days. */
const dailySums = `
  SELECT tenant_id, trim_scale(sum(days))::text AS days, trim_scale(sum(ledger))::text AS ledger
  FROM (SELECT tenant_id, cost_usd AS days, 0 AS ledger FROM copilot_internal.daily_costs
        UNION ALL SELECT tenant_id, 0, amount_usd FROM copilot_internal.cost_records) AS amounts
  GROUP BY tenant_id`;

/** What is leased of each platform quota. A lease that ran over counts in full: that money is gone. */
const leases = `
  SELECT trim_scale(p.limit_usd)::text AS limit,
         trim_scale(coalesce(sum(CASE WHEN l.period_end > now() THEN greatest(l.limit_usd, l.current_spend_usd + l.reserved_usd)
                                      ELSE l.reserved_usd END), 0))::text AS leased
  FROM copilot_internal.cost_quotas p JOIN copilot_internal.cost_quotas l ON l.lease_of = p.quota_id GROUP BY p.quota_id`;

interface TurnRow {
  turn_id: string;
  message: string;
  status: string;
  failure: { code?: string } | null;
}

interface OperationRow {
  operation_id: string;
  status: string;
  granted: string | null;
  ledger: string;
}
const operations = `
  SELECT r.operation_id::text, r.status, trim_scale(r.granted_usd)::text AS granted,
         (SELECT trim_scale(coalesce(sum(amount_usd), 0))::text FROM copilot_internal.cost_records c
          WHERE c.tenant_id = r.tenant_id AND c.operation_id = r.operation_id) AS ledger
  FROM copilot_internal.reservations r`;

/** Quotas that refused or passed their threshold in their period, and raised nothing. */
const missingAlerts = `
  SELECT q.tenant_id || ' ' || q.resource_type || ' ' || a.kind AS what
  FROM copilot_internal.cost_quotas q
  CROSS JOIN LATERAL (
    SELECT 'quota_warning' AS kind WHERE q.current_spend_usd > 0 AND q.current_spend_usd >= q.limit_usd * q.warning_threshold
    UNION ALL
    SELECT 'quota_exceeded' WHERE EXISTS (
      SELECT FROM copilot_internal.reservations r
      WHERE r.tenant_id = q.tenant_id AND r.status = 'denied' AND r.decided_at >= q.period_start
        AND r.refusal #>> '{quota,scope}' = q.scope AND r.refusal #>> '{quota,scopeId}' = q.scope_id
        AND r.refusal #>> '{quota,resourceType}' = q.resource_type AND r.refusal #>> '{quota,period}' = q.period)
  ) AS a
  WHERE q.tenant_id IS NOT NULL AND q.lease_of IS NULL AND NOT EXISTS (
    SELECT FROM copilot_internal.quota_alerts x
    WHERE x.quota_id = q.quota_id AND x.kind = a.kind AND x.period_start = q.period_start)
  UNION ALL
  SELECT t.tenant_id || ' overrun' FROM copilot_internal.tenants t
  WHERE EXISTS (SELECT FROM copilot_internal.reservations r WHERE r.tenant_id = t.tenant_id AND r.overrun_usd > 0 AND NOT r.unreserved)
    AND NOT EXISTS (SELECT FROM copilot_internal.quota_alerts x WHERE x.tenant_id = t.tenant_id AND x.kind = 'overrun')`;
