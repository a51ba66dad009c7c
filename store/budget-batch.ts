/**
 * One decision as one transaction: lock and read what Postgres holds of a tenant, let `core` decide, write what it
 * decided. Nothing is answered before this has committed.
 */
import type { BatchDecision, BatchState } from '../core/budget/batch';
import type { BudgetCommand, Enforced, MandateState } from '../core/budget/commands';
import { decideBatch } from '../core/budget/decision';
import type { Labels } from '../core/labels';
import { formatUsd, parseUsd } from '../core/money';
import type { Place } from '../core/budget/line';
import type { Quota } from '../core/budget/quotas';
import { rulesOf } from '../core/budget/rules';
import { topUpsOf, type StoredTopUps } from '../core/budget/top-ups';
import { spanNames } from '../telemetry/names';
import { inSpan } from '../telemetry/spans';
import { runLimitFrom, type RunLimitJson } from './run-limits';
import { dueAtOnceMax, holdsOf } from './holds';
import { alertRow } from './alert-row';
import { labelsSetting, limitsSetting, operationsOf } from './asked-by';
import { callHot, hotCall } from './hot-calls';
import { inTransaction, type CommitWith, type Pool, type PoolClient, type TransactionOptions } from './pool';
import { recordedReservation, reservationFrom, type ReservationJson } from './reservation-rows';
import { resourcesBefore } from './resources';

/** The setting of a transaction by which Postgres knows that it decides under a mandate, and by which rules. */
const rulesSetting = 'spendlock.mandate_rules';

const loadBatch = hotCall('load_budget_batch', 4);
const recordBatch = hotCall('record_budget_batch', 2);

export interface RecordedBatch {
  decision: BatchDecision;
  nextWakeUpMs?: number;
  alertsDue: number;
  /** Whether denied steps of the tenant wait for money. */
  moneyWaiters: boolean;
  /** How the tenant's mandate stands after a decision of its authority; absent where there never was one. */
  mandate?: MandateState;
  /** What a decision under a mandate leaves for the authority to do: at once, or with what comes next. */
  leaves?: 'now' | 'soon';
  /** More was due of the tenant than was settled beside the commands: it wants another decision at once. */
  moreDue?: boolean;
}

export interface BatchOptions extends Pick<TransactionOptions, 'readyMs'> {
  tenantId: string;
  commands: readonly BudgetCommand[];
  enforced: Enforced;
  /** Postgres gives up after this long, and the batch is undecided. */
  timeoutMs: number;
  /** What is due of the tenant and settled beside the commands: as much as is said, or none or only one of it. */
  due?: 'left' | { only: string };
  dueMax?: number;
  /** Of an authority that gives mandates: whether there is reason for one now. Another closes what is open. */
  mandate?: { opens: boolean } | undefined;
}

/** Decides a batch and records it, as the authority. Undefined when there is no such tenant: nothing was recorded then. */
export async function decideAndRecord(pool: Pool, options: BatchOptions): Promise<RecordedBatch | undefined> {
  const decided = await decide(pool, options, {});
  return decided === 'closed' ? undefined : decided;
}

/**
 * The same under the authority's mandate, by who waits no longer than `lockMs` for each lock. `closed` when there is none for the rules of
 * this process: nothing was recorded then.
 */
export async function decideUnderMandate(
  pool: Pool,
  { lockMs, ...options }: Omit<BatchOptions, 'mandate' | 'due'> & { lockMs: number },
): Promise<RecordedBatch | 'closed'> {
  const decided = await decide(pool, options, {
    [rulesSetting]: rulesOf(options.enforced),
    lock_timeout: String(lockMs),
  });
  // A tenant that is not there has no mandate.
  return decided ?? 'closed';
}

async function decide(
  pool: Pool,
  options: BatchOptions,
  settings: Record<string, string>,
): Promise<RecordedBatch | 'closed' | undefined> {
  const { tenantId, commands, enforced, timeoutMs, due, dueMax = dueAtOnceMax, mandate } = options;
  const operationIds = [
    ...new Set([...commands.flatMap(operationsOf), ...(typeof due === 'object' ? [due.only] : [])]),
  ];
  const userIds = [
    ...new Set(commands.flatMap((command) => ('userId' in command && command.userId ? [command.userId] : []))),
  ];
  const decideOnce = async (
    client: PoolClient,
    commitWith: CommitWith,
  ): Promise<RecordedBatch | 'closed' | undefined> => {
    const state = await load(client, {
      tenantId,
      operationIds,
      userIds,
      enforced,
      dueMax: due === undefined ? dueMax : 0,
      isDirect: rulesSetting in settings,
    });
    if (!state || state === 'closed') return state;
    let decision = decideBatch(state, commands);
    if (decision.needsHolds)
      decision = decideBatch({ ...state, holds: await holdsOf(client, tenantId, state.quotas) }, commands);
    const recording = inSpan(spanNames.quotaAtomicDb, {}, () =>
      record(client, tenantId, decision, mandate && authorityOf(decision, { enforced, opens: mandate.opens })),
    );
    const recorded = { decision, ...(await commitWith(recording)) };
    const isMoreDue = due === undefined && dueIn(state) >= dueMax;
    return isMoreDue ? { ...recorded, nextWakeUpMs: state.nowMs, moreDue: true } : recorded;
  };
  return inSpan(spanNames.quotaAtomic, { tenantId, commands: commands.length }, () =>
    inTransaction(pool, decideOnce, {
      withinMs: timeoutMs,
      readyMs: options.readyMs,
      settings: { ...settings, ...limitsSetting(commands), ...labelsSetting(commands) },
    }),
  );
}

/** How much of what was read is due by itself: outcomes to fold, and reservations that have run out. */
const dueIn = ({ nowMs, reservations }: BatchState): number =>
  reservations.filter(
    ({ status, outcome, outcomeFolded, expiresAtMs = Infinity }) =>
      (outcome !== undefined && !outcomeFolded) || (status === 'granted' && expiresAtMs <= nowMs),
  ).length;

type LoadedQuota = Omit<Quota, 'limitUsd' | 'spentUsd' | 'reservedUsd' | 'lease' | 'topUps'> &
  Record<'limitUsd' | 'spentUsd' | 'reservedUsd', string> & {
    lease?: { platformLimitUsd: string; exhausted: boolean; freesAtMs?: number };
    topUps?: StoredTopUps;
  };

const quotaFrom = (quota: LoadedQuota): Quota => ({
  ...quota,
  limitUsd: parseUsd(quota.limitUsd),
  spentUsd: parseUsd(quota.spentUsd),
  reservedUsd: parseUsd(quota.reservedUsd),
  topUps: quota.topUps && topUpsOf(quota.topUps),
  lease: quota.lease && { ...quota.lease, platformLimitUsd: parseUsd(quota.lease.platformLimitUsd) },
});

/** What `load_budget_batch` answers. */
interface LoadedState {
  mandate?: 'closed';
  /** Whether a mandate was looked for. Absent before the database is migrated, which then decides without. */
  isMandated?: boolean;
  /** Absent before the database is migrated, which then holds two. */
  holdsAnyResource?: true;
  /** Absent before the database is migrated, which then has no place for them. */
  holdsEnvelopes?: true;
  nowMs: number;
  /** Those that are only watched among them. */
  quotas: LoadedQuota[];
  reservations: ReservationJson[];
  /** Absent before the database is migrated. */
  line?: LoadedPlace[];
  /** Absent or null where none is concerned. */
  runLimits?: RunLimitJson[] | null;
  frozen: string | null;
  frozenUsers: Record<string, string>;
}

type LoadedPlace = Omit<Place, 'keptUsd' | 'runId' | 'userId' | 'labels'> & {
  keptUsd: string;
  labels?: Labels | null;
} & Record<'runId' | 'userId', string | null>;

async function load(
  client: PoolClient,
  asked: {
    tenantId: string;
    operationIds: string[];
    userIds: string[];
    enforced: Enforced;
    dueMax: number;
    isDirect: boolean;
  },
): Promise<BatchState | 'closed' | undefined> {
  const { tenantId, operationIds, userIds, enforced, dueMax, isDirect } = asked;
  const text = await callHot(client, loadBatch, [tenantId, operationIds, userIds, dueMax]);
  const state = text === null ? null : (JSON.parse(text) as LoadedState | null);
  if (!state) return undefined;
  if (state.mandate || (isDirect && !state.isMandated)) return 'closed';
  return {
    tenantId,
    nowMs: state.nowMs,
    enforced,
    ...(state.holdsAnyResource ? {} : { resourcesKnown: resourcesBefore }),
    hasNoEnvelopes: !state.holdsEnvelopes,
    frozen: state.frozen ?? undefined,
    frozenUsers: state.frozenUsers,
    quotas: state.quotas.filter(({ isShadow }) => !isShadow).map(quotaFrom),
    shadows: state.quotas.filter(({ isShadow }) => isShadow).map(quotaFrom),
    reservations: state.reservations.map(reservationFrom),
    ...(state.runLimits && { runLimits: state.runLimits.map(runLimitFrom) }),
    line: (state.line ?? []).map(({ runId, userId, labels, ...place }) => ({
      ...place,
      labels: labels ?? undefined,
      runId: runId ?? undefined,
      userId: userId ?? undefined,
      keptUsd: parseUsd(place.keptUsd),
    })),
  };
}

async function record(
  client: PoolClient,
  tenantId: string,
  decision: BatchDecision,
  authority?: AuthorityWord,
): Promise<Omit<RecordedBatch, 'decision'>> {
  const batch = {
    ...(authority && { authority }),
    // One of the version before counts none, and the recording counts them for it.
    countsRuns: true,
    // Nor does it know what a reserve was for, and its rows say so.
    keepsLabels: true,
    // Nor one that is a little younger their limits: what it grants is counted for them, and not refused.
    knowsLabelQuotas: true,
    // Nor does it say in which order a batch was decided.
    tellsOrder: true,
    changes: decision.changes.map((change) => ({
      ...change,
      reservedDeltaUsd: formatUsd(change.reservedDeltaUsd),
      spentDeltaUsd: formatUsd(change.spentDeltaUsd),
      postedAt: new Date(change.postedAtMs).toISOString(),
    })),
    reservations: decision.reservations.map(recordedReservation),
    ledger: decision.ledger.map((entry) => ({
      ...entry,
      amountUsd: formatUsd(entry.amountUsd),
      postedAt: new Date(entry.postedAtMs).toISOString(),
    })),
    alerts: decision.alerts.map(alertRow),
    served: decision.served,
  };
  const recorded = JSON.parse(
    (await callHot(client, recordBatch, [tenantId, JSON.stringify(batch)])) ?? '{}',
  ) as Recorded;
  const { nextWakeUpMs = null, alertsDue = 0, moneyWaiters = false, ...mandate } = recorded;
  return { ...(nextWakeUpMs === null ? {} : { nextWakeUpMs }), alertsDue, moneyWaiters, ...mandateOf(mandate) };
}

/** What an authority says of its tenant's mandate. Who waits for the platform's money is not overtaken by those who decide meanwhile. */
const authorityOf = (
  { leaseNeeds }: BatchDecision,
  { enforced, opens }: { enforced: Enforced; opens: boolean },
): AuthorityWord => ({ rules: rulesOf(enforced), opens, closes: leaseNeeds.length > 0 });

interface AuthorityWord {
  rules: string;
  opens: boolean;
  closes: boolean;
}

interface Recorded {
  nextWakeUpMs: number | null;
  alertsDue: number;
  moneyWaiters: boolean;
  /** Of a decision under a mandate. */
  leaves?: 'now' | 'soon' | null;
  /** Of one of an authority whose tenant has or had a mandate. */
  openUntilMs?: number | null;
  barred?: boolean;
  granted?: number;
  denied?: number;
  grantedUsd?: string;
}

function mandateOf({ leaves, openUntilMs, barred = false, granted, denied = 0, grantedUsd = '0' }: Partial<Recorded>) {
  if (leaves) return { leaves };
  if (granted === undefined) return {};
  const open = typeof openUntilMs === 'number' ? { openUntilMs } : {};
  return { mandate: { ...open, barred, granted, denied, grantedUsd } };
}
