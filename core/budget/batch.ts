/** What goes into a decision and what comes out of it. */
import type { Enforced, ReserveAnswer, ReserveCommand, Resource } from './commands';
import type { Freeze } from './denials';
import type { Usd } from '../money';
import type { Overrun, QuotaAlert } from './quota-alerts';
import { isOwnPlace, keptFrom, type Asker, type Place } from './line';
import type { RunLimit } from './run-limits';
import { covers, headroomUsd, isOf, rollOver, thresholdsReached, tightest, type Payer, type Quota } from './quotas';
import { billedAs, binds, resourceAsked } from '../resources';
import type { Reservation } from './reservations';
import { takeBack } from './top-ups';
import { heldIn, inEnvelopesUsd, retryAfterSeconds, type Hold } from './retry-after';

/** What a decision is made from: everything that Postgres held, under lock, at `nowMs`. */
export interface BatchState {
  tenantId: string;
  nowMs: number;
  quotas: readonly Quota[];
  /** Those that are only watched. */
  shadows?: readonly Quota[] | undefined;
  /** The reservations that the commands name, and those of the tenant that are overdue or have an outcome to fold. */
  reservations: readonly Reservation[];
  /** Whether limits bind. Where they do not, everything is granted and still recorded and alerted. */
  enforced: Enforced;
  /** Those that a database of the version before can hold; absent where it holds any. */
  resourcesKnown?: readonly Resource[] | undefined;
  /** A database of the version before has no place for them. */
  hasNoEnvelopes?: boolean | undefined;
  /** Why the tenant may not reserve for now; absent when it may. */
  frozen?: string | undefined;
  /** The same of its users, by user. */
  frozenUsers?: Readonly<Record<string, string>>;
  /** What of the tenant's money comes back by itself, or is in envelopes. Only a denial needs it: see `needsHolds`. */
  holds?: readonly Hold[];
  /** Those that wait for money and have some kept for them, in their order. */
  line?: readonly Place[];
  /** The limits of the runs that the commands name and the reservations count for. Absent where there are none. */
  runLimits?: readonly RunLimit[] | undefined;
}

/** One step of the tenant's balances, in the order decided. The SQL guard replays these. */
export interface BalanceChange {
  sequence: number;
  operationId: string;
  userId?: string | undefined;
  resource: Resource;
  reservedDeltaUsd: Usd;
  spentDeltaUsd: Usd;
  postedAtMs: number;
  grant: boolean;
  enforced: boolean;
}

/** One line of the ledger. Only a correction may be negative. */
export interface LedgerEntry {
  operationId: string;
  entry: 'commit' | 'correction';
  amountUsd: Usd;
  settlement: 'actual' | 'unverified';
  postedAtMs: number;
  /** Where in its batch it comes. */
  position: number;
}

/** What a decision comes to: what to answer, and what to write before anything is answered. */
export interface BatchDecision {
  /** One for each reserve, in their order; undefined where it waits for money from the platform and is not decided. */
  answers: (ReserveAnswer | undefined)[];
  /** Those of the answers that only say again what was on record. */
  repeats: ReadonlySet<ReserveAnswer>;
  reservations: Reservation[];
  changes: BalanceChange[];
  ledger: LedgerEntry[];
  alerts: QuotaAlert[];
  /** The quotas as they stand after the batch. */
  quotas: Quota[];
  /** Those that are only watched. */
  shadows: Quota[];
  /** The run limits as they stand after it. */
  runLimits: RunLimit[];
  /** Something was denied without knowing the holds: decide again with them, to say when to try again. */
  needsHolds: boolean;
  /** What the undecided reserves need of the tenant's leases. */
  leaseNeeds: { quotaId: string; neededUsd: Usd }[];
  /** Those that waited and have their money now: nothing is kept for them any more. */
  served: string[];
}

/**
 * The working copy of one batch. Commands are applied to it one after the other, so each sees what the earlier ones
 * did; the state it came from is left as it was.
 */
export class Batch {
  readonly nowMs: number;
  readonly answers: (ReserveAnswer | undefined)[] = [];
  readonly repeats = new Set<ReserveAnswer>();
  readonly changes: BalanceChange[] = [];
  readonly ledger: LedgerEntry[] = [];
  readonly alerts: QuotaAlert[] = [];
  /** By run; undefined where the database knows of none, or none is concerned. */
  readonly runLimits: ReadonlyMap<string, RunLimit> | undefined;
  private readonly quotas: Quota[];
  private readonly shadows: Quota[];
  private readonly reservations = new Map<string, Reservation>();
  private readonly changed = new Set<string>();
  private readonly leaseNeeds = new Map<string, Usd>();
  private readonly served = new Set<string>();
  private needsHolds = false;
  private positions = 0;

  constructor(private readonly state: BatchState) {
    this.nowMs = state.nowMs;
    this.quotas = state.quotas.map((quota) => ({ ...rollOver(quota, state.nowMs) }));
    this.shadows = (state.shadows ?? []).map((quota) => ({ ...rollOver(quota, state.nowMs) }));
    this.runLimits = state.runLimits && new Map(state.runLimits.map((limit) => [limit.runId, { ...limit }]));
    for (const reservation of state.reservations) this.reservations.set(reservation.operationId, reservation);
  }

  isEnforced(resource: Resource): boolean {
    return binds(this.state.enforced, resource);
  }

  get holdsEnvelopes(): boolean {
    return !this.state.hasNoEnvelopes;
  }

  /** What a request is billed as; undefined where the database can hold no such thing. */
  resourceOf(command: Pick<ReserveCommand, 'resource' | 'isTool' | 'ofResource' | 'userId'>): Resource | undefined {
    const asked = resourceAsked(command);
    const { resourcesKnown } = this.state;
    if (!resourcesKnown || resourcesKnown.includes(asked)) return billedAs(asked, this.quotas, command);
    return resourcesKnown.includes(command.resource) ? command.resource : undefined;
  }

  quotasFor(payer: Payer): Quota[] {
    return this.quotas.filter((quota) => covers(quota, payer));
  }

  private shadowsFor(payer: Payer): Quota[] {
    return this.shadows.filter((quota) => covers(quota, payer));
  }

  allReservations(): Reservation[] {
    return [...this.reservations.values()];
  }

  find(operationId: string): Reservation | undefined {
    return this.reservations.get(operationId);
  }

  /** Keeps a reservation as it is from now on, and notes where in the batch it was decided or ended. */
  put(reservation: Reservation): void {
    const before = this.reservations.get(reservation.operationId);
    const isEnd = reservation.endedAtMs !== undefined && before?.endedAtMs === undefined;
    this.reservations.set(reservation.operationId, {
      ...reservation,
      ...(before ? {} : { decidedPosition: this.nextPosition() }),
      ...(isEnd ? { endedPosition: this.nextPosition() } : {}),
    });
    this.changed.add(reservation.operationId);
  }

  /** Notes a line of the ledger. */
  post(entry: Omit<LedgerEntry, 'position'>): void {
    this.ledger.push({ ...entry, position: this.nextPosition() });
  }

  private nextPosition(): number {
    return (this.positions += 1);
  }

  /** Moves the balances of every quota and run limit that covers the payer, and notes the step for the guard. */
  move(
    payer: Payer & { limitIds?: readonly string[] | undefined },
    delta: { operationId: string; reservedUsd?: Usd; spentUsd?: Usd; postedAtMs?: number; grant?: boolean },
  ): void {
    const { operationId, reservedUsd = 0n, spentUsd = 0n, postedAtMs = this.nowMs, grant = false } = delta;
    if (reservedUsd === 0n && spentUsd === 0n) return;
    for (const quota of [...this.quotasFor(payer), ...this.shadowsFor(payer)]) {
      quota.reservedUsd += reservedUsd;
      if (isOf(quota, payer.resource) && postedAtMs >= quota.periodStartMs && postedAtMs < quota.periodEndMs)
        quota.spentUsd += spentUsd;
      takeBack(quota);
      if (spentUsd > 0n) this.warn(quota);
    }
    for (const runId of payer.limitIds ?? []) {
      const limit = this.runLimits?.get(runId);
      if (!limit) continue;
      limit.reservedUsd += reservedUsd;
      limit.spentUsd += spentUsd;
    }
    this.changes.push({
      sequence: this.changes.length,
      operationId,
      userId: payer.userId,
      resource: payer.resource,
      reservedDeltaUsd: reservedUsd,
      spentDeltaUsd: spentUsd,
      postedAtMs,
      grant,
      enforced: (payer.heldOn ?? [payer.resource]).every((resource) => this.isEnforced(resource)),
    });
  }

  /** Raises one alert for each threshold that the quota's spend reaches for the first time in its period. */
  private warn(quota: Quota): void {
    for (const thresholdBasisPoints of thresholdsReached(quota)) {
      quota.warnedBasisPoints = [...quota.warnedBasisPoints, thresholdBasisPoints];
      this.alerts.push({ kind: 'quota_warning', quota: { ...quota }, thresholdBasisPoints });
    }
  }

  /** Why the payer may not reserve for now; undefined when it may. */
  freezeOf({ userId }: { userId?: string | undefined }): Freeze | undefined {
    const { tenantId, frozen, frozenUsers = {} } = this.state;
    if (frozen !== undefined) return { tenantId, reason: frozen };
    const reason = userId !== undefined && Object.hasOwn(frozenUsers, userId) ? frozenUsers[userId] : undefined;
    return reason === undefined ? undefined : { tenantId, userId, reason };
  }

  /** When the payer's request would fit. */
  retryAfterSeconds(payer: Payer, neededUsd: Usd): number | undefined {
    this.needsHolds = this.state.holds === undefined;
    const quotas = this.quotasFor(payer);
    return retryAfterSeconds({ quotas, holds: this.holds(), neededUsd, nowMs: this.nowMs });
  }

  /** What of what is reserved of a quota is in envelopes. */
  inEnvelopesUsd(quota: Quota): Usd {
    return inEnvelopesUsd(quota, this.holds());
  }

  /** Those that were there before this batch and are still held, and those that it granted. */
  private holds(): Hold[] {
    const holds = (this.state.holds ?? []).filter(({ operationId }) => !this.reservations.has(operationId));
    return [...holds, ...heldIn(this.reservations)];
  }

  /** Notes that a reserve waits until its lease has this much free; for all together no more than the tenant may spend. */
  needOfLease({ quotaId }: Quota, { neededUsd, mostUsd }: { neededUsd: Usd; mostUsd: Usd | undefined }): void {
    const sum = (this.leaseNeeds.get(quotaId) ?? 0n) + neededUsd;
    this.leaseNeeds.set(quotaId, mostUsd !== undefined && mostUsd < sum ? mostUsd : sum);
  }

  /** What is kept from whoever asks. */
  keptFrom(asker: Asker): readonly Place[] {
    return keptFrom(this.line(), asker);
  }

  /** Nothing is kept any more for one that has its money. */
  serve(asker: Asker): void {
    for (const place of this.line()) if (isOwnPlace(place, asker)) this.served.add(place.waiterId);
  }

  private line(): readonly Place[] {
    return (this.state.line ?? []).filter((place) => !this.served.has(place.waiterId));
  }

  /** Raises the alert of a quota's first refusal in its period. The platform's are raised where leases are drawn. */
  refuse(quota: Quota, estimatedUsd?: Usd): void {
    if (quota.exceeded || quota.lease) return;
    quota.exceeded = true;
    this.alerts.push({ kind: 'quota_exceeded', quota: { ...quota }, estimatedUsd });
  }

  /** Raises the alert of each watched quota that would have refused what is granted, since it has less than that takes at least. */
  wouldRefuse(payer: Payer, amountUsd: Usd, leastUsd: (shadow: Quota) => Usd): void {
    for (const quota of this.shadowsFor(payer)) if (headroomUsd(quota) < leastUsd(quota)) this.refuse(quota, amountUsd);
  }

  /** Raises the alert of each quota that was passed without a refusal: the first of its period. */
  passed(payer: Payer): void {
    for (const quota of [...this.quotasFor(payer), ...this.shadowsFor(payer)])
      if (headroomUsd(quota) < 0n) this.refuse(quota);
  }

  /** Raises an alert about a call that cost more than was granted: the first of a period, for the quota that has least left. */
  overran(payer: Payer, overrun: Overrun): void {
    const quota = tightest(this.quotasFor({ ...payer, heldOn: undefined }).filter(({ lease }) => !lease));
    if (quota) this.alerts.push({ kind: 'overrun', quota: { ...quota }, overrun });
  }

  decision(): BatchDecision {
    return {
      answers: this.answers,
      repeats: this.repeats,
      reservations: [...this.changed].map((id) => this.reservations.get(id) as Reservation),
      changes: this.changes,
      ledger: this.ledger,
      alerts: this.alerts,
      quotas: this.quotas,
      shadows: this.shadows,
      runLimits: [...(this.runLimits?.values() ?? [])],
      needsHolds: this.needsHolds,
      leaseNeeds: [...this.leaseNeeds].map(([quotaId, neededUsd]) => ({ quotaId, neededUsd })),
      served: [...this.served],
    };
  }
}
