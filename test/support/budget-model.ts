/** Decisions without a database: the effects of a batch applied to plain values, as Postgres applies them to rows. */
import type { BatchDecision, BatchState, LedgerEntry } from '../../core/budget/batch';
import type { BudgetCommand, Enforced, ReserveCommand } from '../../core/budget/commands';
import { decideBatch } from '../../core/budget/decision';
import type { Place } from '../../core/budget/line';
import { parseUsd, sumUsd, type Usd } from '../../core/money';
import { periodAt, type Period } from '../../core/budget/periods';
import type { Quota, ResourceType, Scope } from '../../core/budget/quotas';
import type { RunLimit } from '../../core/budget/run-limits';
import type { Outcome, Reservation } from '../../core/budget/reservations';
import { totalOf, type TopUps } from '../../core/budget/top-ups';

export const usd = (text: string): Usd => parseUsd(text);

export interface QuotaSpec {
  scope?: Scope;
  scopeId?: string;
  resourceType?: ResourceType;
  period?: Period;
  limitUsd: string;
  isShadow?: true;
  /** What it is topped up by: until its period ends where no time is said. */
  topUps?: readonly { amountUsd: string; expiresAfterMs?: number }[];
}

function toppedUp(limitUsd: Usd, specs: NonNullable<QuotaSpec['topUps']>, nowMs: number) {
  if (specs.length === 0) return { limitUsd };
  const expiring = specs
    .flatMap(({ amountUsd, expiresAfterMs }) =>
      expiresAfterMs === undefined ? [] : [{ amountUsd: usd(amountUsd), expiresAtMs: nowMs + expiresAfterMs }],
    )
    .sort((a, b) => a.expiresAtMs - b.expiresAtMs);
  const untilPeriodEndUsd = sumUsd(
    specs.filter(({ expiresAfterMs }) => expiresAfterMs === undefined).map(({ amountUsd }) => usd(amountUsd)),
  );
  const topUps: TopUps = { untilPeriodEndUsd, keptUsd: 0n, expiring };
  return { limitUsd: limitUsd + totalOf(topUps), topUps };
}

/** A tenant's money, from the outside. */
export class BudgetModel {
  quotas: Quota[];
  shadows: Quota[];
  reservations = new Map<string, Reservation>();
  ledger: LedgerEntry[] = [];
  alerts: BatchDecision['alerts'] = [];
  enforced: Enforced = { llm: true, e2b: true };
  frozen: string | undefined;
  frozenUsers: Record<string, string> = {};
  /** Those of a database of the version before. */
  resourcesKnown: readonly string[] | undefined;
  line: readonly Place[] = [];
  runLimits: RunLimit[] = [];
  /** Whether the database has a place for them. One of the version before has none. */
  hasRunLimits = true;

  constructor(
    public nowMs: number,
    quotas: readonly QuotaSpec[],
  ) {
    const all: Quota[] = quotas.map((spec, index) => {
      const { scope = 'tenant', scopeId = 'acme', resourceType = 'all', period = 'month', limitUsd } = spec;
      const { isShadow, topUps } = spec;
      const { start, end } = periodAt(period, nowMs);
      return {
        quotaId: `quota-${index}`,
        scope,
        scopeId,
        resourceType,
        period,
        ...toppedUp(usd(limitUsd), topUps ?? [], nowMs),
        spentUsd: 0n,
        reservedUsd: 0n,
        periodStartMs: start.getTime(),
        periodEndMs: end.getTime(),
        thresholdsBasisPoints: [8000],
        warnedBasisPoints: [],
        exceeded: false,
        ...(isShadow && { isShadow }),
      };
    });
    this.quotas = all.filter(({ isShadow }) => !isShadow);
    this.shadows = all.filter(({ isShadow }) => isShadow);
  }

  state(): BatchState {
    return {
      tenantId: 'acme',
      nowMs: this.nowMs,
      quotas: this.quotas,
      shadows: this.shadows,
      reservations: [...this.reservations.values()],
      enforced: this.enforced,
      resourcesKnown: this.resourcesKnown,
      frozen: this.frozen,
      frozenUsers: this.frozenUsers,
      line: this.line,
      ...(this.hasRunLimits ? { runLimits: this.runLimits } : {}),
    };
  }

  decide(...commands: BudgetCommand[]): BatchDecision {
    const decision = decideBatch(this.state(), commands);
    this.quotas = decision.quotas;
    this.shadows = decision.shadows;
    this.runLimits = decision.runLimits;
    for (const reservation of decision.reservations) this.reservations.set(reservation.operationId, reservation);
    this.ledger.push(...decision.ledger);
    this.alerts.push(...decision.alerts);
    return decision;
  }

  /** A run's limit, as the recording adds it when a command first brings it. */
  addRunLimit(runId: string, limitUsd?: string, parentId?: string): void {
    const parent = this.runLimits.find((limit) => limit.runId === parentId);
    this.runLimits.push({
      runId,
      ancestorIds: parent ? [parent.runId, ...parent.ancestorIds] : [],
      ...(limitUsd === undefined ? {} : { limitUsd: usd(limitUsd) }),
      spentUsd: 0n,
      reservedUsd: 0n,
    });
  }

  /** What the paid execution does to the row: claims it when it may. */
  claim(operationId: string): boolean {
    const reservation = this.reservations.get(operationId);
    if (reservation?.status !== 'granted' || reservation.claimed || (reservation.expiresAtMs ?? 0) <= this.nowMs)
      return false;
    this.reservations.set(operationId, { ...reservation, claimed: true });
    return true;
  }

  /** What its caller does to the row: holds it for longer, and never for less long. */
  extend(operationId: string, ttlSeconds: number): void {
    const reservation = this.reservations.get(operationId);
    if (reservation?.status !== 'granted' || (reservation.expiresAtMs ?? 0) <= this.nowMs) return;
    const expiresAtMs = Math.max(reservation.expiresAtMs ?? 0, this.nowMs + ttlSeconds * 1000);
    this.reservations.set(operationId, { ...reservation, expiresAtMs });
  }

  /** What the paid execution does to the row: writes its outcome, once. */
  outcome(operationId: string, outcome: Outcome): void {
    const reservation = this.reservations.get(operationId);
    if (!reservation?.claimed || reservation.outcome) return;
    this.reservations.set(operationId, { ...reservation, outcome });
  }

  /** Balances of the first quota, as text. */
  balance(index = 0): { spentUsd: Usd; reservedUsd: Usd } {
    const { spentUsd, reservedUsd } = this.quotas[index] as Quota;
    return { spentUsd, reservedUsd };
  }
}

export const reserve = (
  operationId: string,
  amountUsd: string,
  more: Partial<ReserveCommand> = {},
): ReserveCommand => ({
  type: 'reserve',
  operationId,
  resource: 'llm',
  amountUsd,
  priceVersion: 'price',
  ttlSeconds: 60,
  kind: 'llm.call',
  ...more,
});
export const commit = (operationId: string): BudgetCommand => ({ type: 'commit', operationId });
export const release = (operationId: string): BudgetCommand => ({ type: 'release', operationId });
