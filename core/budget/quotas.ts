/** What a quota is, which quotas a request has to fit, and how much is left of one. */
import type { QuotaState, Resource } from './commands';
import type { Labels } from '../labels';
import { formatUsd, parseUsd, type Usd } from '../money';
import { periodAt, type Period } from './periods';
import { standsAt, type TopUps } from './top-ups';

/** A label's scope id is its key and value, such as `team:search`. */
export type Scope = 'platform' | 'tenant' | 'user' | 'label';
/** A resource, or `all`. */
export type ResourceType = string;

/** One limit on one scope's spend of one resource in one period, with what is spent and reserved of it. */
export interface Quota {
  quotaId: string;
  scope: Scope;
  scopeId: string;
  resourceType: ResourceType;
  period: Period;
  /** The limit with what it is topped up by now. */
  limitUsd: Usd;
  topUps?: TopUps | undefined;
  /** Sum of the ledger entries posted in the period. */
  spentUsd: Usd;
  /** Sum of the open reservations that the quota covers, whenever they were made. */
  reservedUsd: Usd;
  periodStartMs: number;
  periodEndMs: number;
  /** Shares of the limit at which its people are warned, in ten-thousandths: 8000 is 80 %. */
  thresholdsBasisPoints: readonly number[];
  /** Alerts already raised in this period: the thresholds warned of, and whether it has refused. */
  warnedBasisPoints: readonly number[];
  exceeded: boolean;
  /** Set when this is the tenant's lease of a platform quota: its limit is what was drawn, and more may be drawn. */
  lease?: Lease | undefined;
  /** Watched only: it counts and raises alerts, and has no say in what is granted. */
  isShadow?: true | undefined;
  /** Of a label's limit of `other`: values that are beyond those that are told apart and so count for it, as far as they are concerned. */
  beyondValues?: readonly string[] | null | undefined;
}

/** What a lease knows of the platform quota that it is part of. */
export interface Lease {
  platformLimitUsd: Usd;
  /** The platform was asked a moment ago and had no more. */
  exhausted: boolean;
  /** When the next hold of any tenant may make room on an exhausted platform. */
  freesAtMs?: number | undefined;
}

/** Who pays for what: what decides which quotas a request must fit. */
export interface Payer {
  userId?: string | undefined;
  resource: Resource;
  labels?: Labels | undefined;
  /** Of an envelope and its parts: the resources whose quotas hold the money, its own among them. */
  heldOn?: readonly Resource[] | undefined;
}

/** Whether a quota counts what is spent on a resource. */
export const isOf = ({ resourceType }: Pick<Quota, 'resourceType'>, resource: Resource): boolean =>
  resourceType === 'all' || resourceType === resource;

/** Whether a quota of the tenant (or of the platform) covers this payer's request: it holds what is granted. */
export function covers(
  quota: Pick<Quota, 'scope' | 'scopeId' | 'resourceType' | 'beyondValues'>,
  { userId, resource, labels, heldOn }: Payer,
): boolean {
  if (!isOf(quota, resource) && !heldOn?.includes(quota.resourceType)) return false;
  if (quota.scope === 'label') return coversLabels(quota, labels);
  return quota.scope !== 'user' || quota.scopeId === userId;
}

function coversLabels(
  { scopeId, beyondValues }: Pick<Quota, 'scopeId' | 'beyondValues'>,
  labels: Labels | undefined,
): boolean {
  const [key, value] = labelOfScope(scopeId);
  if (!labels || !Object.hasOwn(labels, key)) return false;
  const has = labels[key] as string;
  return has === value || (beyondValues ?? []).includes(has);
}

/** Which label a limit is of: a key has no colon. What has none is the value of no key. */
export const labelOfScope = (scopeId: string): [key: string, value: string] => {
  const end = scopeId.indexOf(':');
  return [scopeId.slice(0, Math.max(end, 0)), scopeId.slice(end + 1)];
};

/** What a quota allows and what is taken of it. */
export type Balance = Pick<Quota, 'limitUsd' | 'spentUsd' | 'reservedUsd'>;

/** What a grant may still take: limit − spent − reserved. Negative after an overrun or a lowered limit. */
export const headroomUsd = ({ limitUsd, spentUsd, reservedUsd }: Balance): Usd => limitUsd - spentUsd - reservedUsd;

/** What is left of a quota, as people are told: of one that is overdrawn, nothing. */
export function remainingUsd(balance: Balance): Usd {
  const headroom = headroomUsd(balance);
  return headroom > 0n ? headroom : 0n;
}

/** A quota's amounts as they are stored and shown: decimal strings, with what the limit was topped up by apart from it. */
export interface QuotaAmounts {
  limitUsd: string;
  topupUsd: string;
  spentUsd: string;
  reservedUsd: string;
}

/** The same as a decision counts: what a limit was topped up by belongs to it. */
export const balanceOf = ({ limitUsd, topupUsd, spentUsd, reservedUsd }: QuotaAmounts): Balance => ({
  limitUsd: parseUsd(limitUsd) + parseUsd(topupUsd),
  spentUsd: parseUsd(spentUsd),
  reservedUsd: parseUsd(reservedUsd),
});

/** How a quota stands in its period: what a request is judged by, apart from the alerts. */
export interface Standing
  extends Balance, Pick<Quota, 'scope' | 'scopeId' | 'resourceType' | 'period' | 'periodEndMs' | 'beyondValues'> {
  lease?: Lease | undefined;
  topUps?: TopUps | undefined;
}

/** How a quota stands that was read to be shown. */
export const standingOf = ({
  scope,
  scopeId,
  resourceType,
  period,
  periodEnd,
  beyondValues,
  topUps,
  ...amounts
}: Pick<Quota, 'scope' | 'scopeId' | 'resourceType' | 'period' | 'beyondValues' | 'topUps'> & {
  periodEnd: Date;
} & QuotaAmounts): Standing => ({
  ...{ scope, scopeId, resourceType, period },
  ...(beyondValues ? { beyondValues } : {}),
  ...(topUps ? { topUps } : {}),
  periodEndMs: periodEnd.getTime(),
  ...balanceOf(amounts),
});

const width = { user: 0, label: 1, tenant: 2, platform: 3 };

/**
 * The quota with the least headroom; on a tie that of the narrower scope, then that of one resource, then the one that resets
 * last: whoever asks, and in whatever order the quotas were read, the same one binds.
 */
export const tightest = <Q extends Standing>(
  quotas: readonly Q[],
  leftUsd: (quota: Q) => Usd = headroomUsd,
): Q | undefined =>
  [...quotas].sort((a, b) => {
    const difference = leftUsd(a) - leftUsd(b);
    if (difference !== 0n) return difference < 0n ? -1 : 1;
    const breadth = (quota: Q): number => Number(quota.resourceType === 'all');
    return width[a.scope] - width[b.scope] || breadth(a) - breadth(b) || b.periodEndMs - a.periodEndMs;
  })[0];

/** The quota in the period around `nowMs`, without what has expired: spend and alerts start anew, open reservations carry over. */
export function rollOver(quota: Quota, nowMs: number): Quota {
  const now = standsAt(quota, nowMs);
  if (nowMs < quota.periodEndMs) return now;
  return {
    ...now,
    warnedBasisPoints: [],
    exceeded: false,
    // What a lease holds beyond its reservations is lost at its period's end.
    ...(quota.lease ? { limitUsd: quota.reservedUsd, lease: { ...quota.lease, exhausted: false } } : {}),
    periodStartMs: periodAt(quota.period, nowMs).start.getTime(),
  };
}

/** The thresholds that spend has reached and nobody was warned of. A limit of zero is at all once anything is spent. */
export function thresholdsReached(quota: Quota): number[] {
  if (quota.spentUsd <= 0n) return [];
  return quota.thresholdsBasisPoints.filter(
    (share) => quota.spentUsd * 10_000n >= quota.limitUsd * BigInt(share) && !quota.warnedBasisPoints.includes(share),
  );
}

/** Spend as a share of the limit, in per cent with two decimals, for people. 100 when the limit is zero. */
export function utilizationPercent({ spentUsd, limitUsd }: Pick<Quota, 'spentUsd' | 'limitUsd'>): number {
  if (limitUsd === 0n) return 100;
  return Number((spentUsd * 10_000n) / limitUsd) / 100;
}

/** A quota as it is shown: what is overdrawn has nothing left. */
export function quotaState(quota: Standing): QuotaState {
  return {
    scope: quota.scope,
    scopeId: quota.scopeId,
    resourceType: quota.resourceType,
    period: quota.period,
    limitUsd: formatUsd(quota.limitUsd),
    spentUsd: formatUsd(quota.spentUsd),
    reservedUsd: formatUsd(quota.reservedUsd),
    remainingUsd: formatUsd(remainingUsd(quota)),
    resetsAt: new Date(quota.periodEndMs).toISOString(),
  };
}
