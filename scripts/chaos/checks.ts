/** The promises of docs/architecture.md, asked of what Postgres, Temporal, the stand-ins and the callers hold. */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatUsd, parseUsd, sumUsd } from '../../core/money';
import { endedWrongly, labelsWrong, runSumsWrong } from '../../store/books-sql';
import { conversationWorkflowId, runWorkflowId } from '../../contracts/messages';
import { checkAsking, checkTopUps } from './asking-checks';
import { checkAuthority } from './authority-check';
import {
  balances,
  boughtAgain,
  dailySums,
  labelSums,
  unlimitedLabels,
  watchedDenials,
  leases,
  missingAlerts,
  operations,
  underWay,
  type BalanceRow,
  type OpenRow,
  type OperationRow,
  type TurnRow,
} from './checks-sql';
import { checkDoors, unexpectedEnds } from './door-checks';
import type { Installation } from './installation';
import type { Load } from './load';
import { endOf, workflowEndOf } from './run-ends';
import { checkRuns } from './run-limits';
import type { Hold, Tenant } from './scene';
import { stateOf } from './standing';
import { checkCalledOnce, checkTools, type ToolFigures } from './tool-checks';

export interface Violation {
  promise: string;
  what: string;
}

/** How often a long wait says what it waits for. */
const sayEveryMs = 20_000;
/** What runs out is settled by upkeep, which looks once a minute, at the latest. */
const upkeepMs = 90_000;

/** What an answer of a model and its writing may take, and the margin after it: workflows/agent/agent-loop.ts. */
const callSeconds = 960;
/** Whoever sends an alert has it for 30 s. Some of them may go by before it is on its way. */
const leaseMsMin = 15_000;

export class Checks {
  readonly violations: Violation[] = [];
  doorsLeftOut = 0;
  toolFigures: ToolFigures = { toolCalls: 0, toolsUnverified: 0 };
  moneyAnswered = 0;
  made = 0;

  constructor(
    private readonly installation: Installation,
    private readonly tenants: readonly Tenant[],
  ) {}

  hold: Hold = (promise, isKept, what) => {
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
      const name = `${row.tenant_id} ${row.scope} ${row.scope_id} ${row.resource_type} ${row.period}`;
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
      if (!row.scope.startsWith('shadow_'))
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
    for (const [what, sql] of Object.entries({ day: dailySums, labels: labelSums })) {
      const { rows } = await this.installation.admin.query<Record<'tenant_id' | 'days' | 'ledger', string>>(sql);
      for (const { tenant_id, days, ledger } of rows)
        this.hold(`sums by ${what} equal the ledger`, days === ledger, () => `${tenant_id}: ${days}, ledger ${ledger}`);
    }
    const { rows: twice } = await this.installation.admin.query<{ operation_id: string }>(
      endedWrongly('copilot_internal.reservations'),
    );
    this.hold('each reservation ends once', twice.length === 0, () => twice.map((row) => row.operation_id).join(', '));
    const { rows: labels } = await this.installation.admin.query<Record<string, string>>(
      labelsWrong('copilot_internal.reservations'),
    );
    this.hold('a line of the ledger has the labels of its reservation', labels.length === 0, () =>
      JSON.stringify(labels.slice(0, 3)),
    );
    const { rows: unlimited } = await this.installation.admin.query<{ what: string }>(unlimitedLabels);
    this.hold('a value of a label has its default', unlimited.length === 0, () =>
      unlimited.map(({ what }) => what).join(', '),
    );
    const { rows: watched } = await this.installation.admin.query<{ what: string }>(watchedDenials);
    this.hold('a watched limit refuses nothing', watched.length === 0, () =>
      watched.map(({ what }) => what).join(', '),
    );
    const { rows: ofRuns } = await this.installation.admin.query<Record<string, string>>(runSumsWrong());
    this.hold('sums of runs equal the ledger', ofRuns.length === 0, () => JSON.stringify(ofRuns));
    await checkRuns(this.installation, this.hold);
    await checkTopUps(this.installation, this.hold);
    checkCalledOnce(this.installation, this.hold);
    await this.bought();
    await this.holds();
    this.senders();
  }

  /** Waits until nothing is under way, and says now and then for what. What is then still open is a violation. */
  async settle(
    load: Load,
    { timeoutMs, waitsForHolds }: { timeoutMs: number; waitsForHolds: boolean },
    say: (line: string) => void,
  ): Promise<void> {
    let open: OpenRow[] = [];
    let sayAtMs = Date.now() + sayEveryMs;
    for (let giveUpMs = Date.now() + timeoutMs; Date.now() < giveUpMs; await sleep(500)) {
      ({ rows: open } = await this.installation.admin.query<OpenRow>(underWay));
      const { alive } = this.installation.e2b.calls();
      if (open.length === 0 && alive.length === 0) break;
      if (waitsForHolds) giveUpMs = Math.max(giveUpMs, ...open.map(({ endsAtMs }) => (endsAtMs ?? 0) + upkeepMs));
      if (Date.now() < sayAtMs) continue;
      sayAtMs = Date.now() + sayEveryMs;
      const named = [...open.map(({ what }) => what), ...alive.map((id) => `sandbox ${id}`)];
      const left = Math.ceil((giveUpMs - Date.now()) / 1_000);
      say(
        `chaos: still open, for ${left} s at most: ${named.slice(0, 5).join('; ')}${named.length > 5 ? ` and ${named.length - 5} more` : ''}`,
      );
    }
    const told = await Promise.all(
      open
        .slice(0, 10)
        .map(
          async ({ what, workflowId }) =>
            what + (workflowId === null ? '' : `: ${await stateOf(this.installation, workflowId)}`),
        ),
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
      const { status, closeTime, recorded } = await endOf(this.installation, workflowId);
      // Its row, or its end, was lost with the Postgres that had it.
      if (recorded === 'absent' && this.installation.lost.length > 0) continue;
      if (closeTime && this.installation.wasLost(closeTime.getTime())) continue;
      const isRight = status.name === workflowEndOf(recorded);
      this.hold('every run ends', isRight, () => `${workflowId} is ${status.name}, and on record ${recorded}`);
    }
  }

  /** What holds once everything has ended. */
  async afterwards(load: Load): Promise<void> {
    await this.always();
    await this.callers(load);
    await this.messages(load);
    await this.providers();
    await this.alerts();
    this.doorsLeftOut = await checkDoors(this.installation, this.hold);
    for (const { tenantId } of this.tenants) await checkAuthority(this.installation, tenantId, this.hold);
    const { toolRuns, askers } = load;
    if (toolRuns) this.toolFigures = await checkTools(this.installation, toolRuns, this.hold);
    if (askers) this.moneyAnswered = await checkAsking(this.installation, askers, this.hold);
    const ends = unexpectedEnds(this.installation);
    this.hold('no process ends by itself', ends.length === 0, () => ends.join(', '));
  }

  /** Nothing acknowledged is lost. */
  private async callers({ told }: Load): Promise<void> {
    const { rows } = await this.installation.admin.query<OperationRow>(operations);
    const found = new Map(rows.map((row) => [row.operation_id, row]));
    for (const { operationId, decision, committedUsd, released, atMs } of told) {
      if (atMs.some((ms) => this.installation.wasLost(ms))) continue;
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
    for (const { turnId, message, stopped, atMs, closedAtMs } of messages) {
      // It, or its answer, may have been lost with the Postgres that had it.
      if (this.installation.lostBetween(atMs, closedAtMs ?? atMs)) continue;
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

  /** What a step was answered is bought once, but for what was on its way as its run was reset. */
  private async bought(): Promise<void> {
    const { rows } = await this.installation.admin.query<{ workflow_id: string; again: number }>(boughtAgain);
    for (const { workflow_id: workflowId, again } of rows) {
      const inCall = this.installation.resetInCall.get(workflowId) ?? 0;
      this.hold(
        'no answer is bought twice',
        again <= inCall,
        () => `${workflowId}: ${again} answers more than steps; it was reset ${inCall} times while a model answered`,
      );
    }
  }

  /** A paid call has the time that it may take: what it holds does not run out under it. */
  private async holds(): Promise<void> {
    const { rows } = await this.installation.admin.query<{ operation_id: string; seconds: number }>(
      `SELECT operation_id, extract(epoch FROM expires_at - claimed_at)::float8 AS seconds
       FROM copilot_internal.reservations WHERE kind IN ('llm.call', 'compaction') AND run_id IS NOT NULL AND claimed_at IS NOT NULL`,
    );
    for (const { operation_id: operationId, seconds } of rows)
      this.hold(
        'a claim lasts as long as its call may',
        seconds > callSeconds - 0.1,
        () => `${operationId}: ${seconds} s from its claim on, and ${callSeconds} s are due`,
      );
  }

  /** Whoever sends an alert has it for a while. */
  private senders(): void {
    // What a copy of Postgres that takes over does not know was sent is sent by it.
    if (this.installation.lost.length > 0) return;
    for (const [alertId, atMs] of this.installation.alerts) {
      const isTwice = atMs.some((ms, index) => index > 0 && ms - (atMs[index - 1] ?? 0) < leaseMsMin);
      this.hold('an alert has one sender at a time', !isTwice, () => `alert ${alertId}: ${atMs.join(', ')}`);
    }
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
    const { rows: missing } = await this.installation.admin.query<{ what: string }>(missingAlerts, [
      this.installation.options.older !== undefined,
    ]);
    this.hold('no alert is missing', missing.length === 0, () => missing.map(({ what }) => what).join(', '));
  }
}
