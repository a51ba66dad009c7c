/**
 * What other limits would have done: the recorded requests of a tenant, in the order in which they were decided, are decided once more by
 * the same `decideBatch`. With the limits that there were, each gets the answer that is on record. With others, what is refused spends
 * nothing from then on, what gets less costs no more than that, and what was refused and would be granted is taken to cost its grant:
 * nobody knows what whoever asked would have done next.
 */
import { decideBatch } from './decision';
import { formatUsd, MAX_USD_EXCLUSIVE, parseUsd, type Usd } from '../money';
import { periodAt } from './periods';
import { covers, isOf, rollOver, tightest, type Payer, type Quota } from './quotas';
import { sentOfEnvelope } from '../resources';
import { takeBack, totalOf } from './top-ups';
import { Envelopes } from './what-if-envelopes';
import type { Carried, Recorded, RecordedEnd, RecordedLimit, RecordedRequest, TriedLimit } from './what-if-record';

/** A request that would have been answered otherwise. */
export interface Difference {
  request: RecordedRequest;
  /** What it would have been granted; nothing where it would have been refused. */
  grantedUsd?: Usd | undefined;
  /** The limit that has the least left for it; nothing where none covers it. */
  quota?: Quota | undefined;
}

/** A request that was answered otherwise than on record, until all is known of its cost. */
interface Otherwise {
  grantedUsd?: Usd | undefined;
  isLess: boolean;
}

const keyOf = ({ scope, scopeId, resourceType, period }: Omit<TriedLimit, 'limitUsd'>): string =>
  JSON.stringify([scope, scopeId, resourceType, period]);

/** Plays a record, one event after the other. It keeps the limits, and of requests those that are answered otherwise, until they end. */
export class WhatIf {
  private readonly byId = new Map<string, Quota>();
  /** By whose they are, so that an event is played as fast beside many limits as beside few. */
  private readonly byPayer = new Map<string, Quota[]>();
  private readonly tried: ReadonlyMap<string, Usd>;
  private readonly otherwise = new Map<string, Otherwise>();
  private readonly envelopes = new Envelopes((payer, by) => this.move(payer, by));
  /** What steps that were refused are taken to cost, until they are granted on record. */
  private readonly grantedSteps = new Map<string, { usd: Usd; atMs: number }>();
  /** How many requests are decided as they are on record. */
  same = 0;
  /** What all that ended has cost. */
  costUsd: Usd = 0n;

  /**
   * @param tried limits in place of those on record, which stand from the beginning on, whatever is set meanwhile; what tops one up still
   *   does.
   */
  constructor(private readonly triedLimits: readonly TriedLimit[] = []) {
    this.tried = new Map(triedLimits.map((limit) => [keyOf(limit), limit.limitUsd]));
  }

  /** The limits that stood before the first event, with nothing spent or held of them yet. */
  begin(quotas: readonly Quota[], fromMs: number): void {
    for (const { scope, scopeId, resourceType, period, limitUsd } of this.triedLimits) {
      const { start, end } = periodAt(period, fromMs);
      this.add({
        ...{ quotaId: keyOf({ scope, scopeId, resourceType, period }), scope, scopeId, resourceType, period, limitUsd },
        ...{ spentUsd: 0n, reservedUsd: 0n, periodStartMs: start.getTime(), periodEndMs: end.getTime() },
        ...{ thresholdsBasisPoints: [], warnedBasisPoints: [], exceeded: false },
      });
    }
    for (const quota of quotas) this.beginOne(quota, fromMs);
  }

  private beginOne(quota: Quota, fromMs: number): void {
    this.limit({
      type: 'limited',
      atMs: fromMs,
      quotaId: quota.quotaId,
      quota: { ...rollOver(quota, fromMs), spentUsd: 0n, reservedUsd: 0n },
    });
  }

  /** What was held before the first event, or spent in what a period had gone by then. */
  carry(payer: Payer, { period, spentUsd = 0n, reservedUsd = 0n, envelopeId }: Carried): void {
    if (envelopeId !== undefined) this.envelopes.open(envelopeId, payer, reservedUsd);
    for (const quota of this.covering(payer)) {
      quota.reservedUsd += reservedUsd;
      if (quota.period === period) quota.spentUsd += spentUsd;
    }
  }

  /** What the next event comes to: a difference where it is a request that would have been answered otherwise. */
  play(event: Recorded): Difference | undefined {
    switch (event.type) {
      case 'decided':
        if (event.apart === undefined) return this.decide(event);
        this.hold(event, event.grantedUsd);
        return undefined;
      case 'ended':
      case 'corrected':
        this.end(event);
        return undefined;
      case 'limited':
        this.limit(event);
        return undefined;
    }
  }

  /** How the limits stand. */
  standing(): Quota[] {
    return [...this.byId.values()];
  }

  private decide(request: RecordedRequest): Difference | undefined {
    const { atMs, operationId, step } = request;
    const granted = step === undefined ? undefined : this.grantedSteps.get(step);
    if (granted && step !== undefined) {
      // It would have had its money, and would not have asked again.
      if (request.grantedUsd === undefined) return undefined;
      this.grantedSteps.delete(step);
      this.move(request, { atMs, spentUsd: -granted.usd, postedAtMs: granted.atMs });
    }
    const bound = asBound(request);
    const quotas = this.covering(bound, atMs);
    const tight = tightest(quotas);
    const { parentId } = request;
    const grantedUsd = parentId === undefined ? grantOf(bound, quotas) : this.envelopes.partOf(parentId, request);
    const difference = { request, grantedUsd, quota: tight && { ...tight } };
    const isSame = grantedUsd === request.grantedUsd;
    if (isSame) this.same += 1;
    // By the limits that there were it goes on as it did, so that one answer that is not reproduced makes no others.
    if (isSame || this.triedLimits.length === 0) this.hold(request, request.grantedUsd);
    else if (request.grantedUsd !== undefined) {
      this.hold(request, grantedUsd);
      this.otherwise.set(operationId, { grantedUsd, isLess: (grantedUsd ?? 0n) < request.grantedUsd });
    } else {
      // Nobody knows what it would have cost.
      this.move(request, { atMs, spentUsd: grantedUsd ?? 0n });
      if (step !== undefined) this.grantedSteps.set(step, { usd: grantedUsd ?? 0n, atMs });
    }
    // That a part would get less its envelope would have been told.
    const isTold = parentId === undefined || this.triedLimits.length === 0;
    return isSame || !isTold ? undefined : difference;
  }

  /** Holds what is granted: of a part it comes from its envelope. */
  private hold(request: RecordedRequest, grantedUsd: Usd | undefined): void {
    const { atMs, operationId, parentId, heldOn } = request;
    this.move(request, { atMs, reservedUsd: grantedUsd ?? 0n });
    if (grantedUsd === undefined) return;
    if (parentId !== undefined) this.envelopes.move(parentId, { atMs, usd: -grantedUsd });
    else if (heldOn) this.envelopes.open(operationId, request, grantedUsd);
  }

  private end(event: RecordedEnd): void {
    const { atMs, operationId } = event;
    const otherwise = this.otherwise.get(operationId);
    if (event.type === 'corrected') {
      const { amountUsd: spentUsd, postedAtMs } = event;
      // What got less is taken to have cost that.
      if (!otherwise?.isLess) this.move(event, { atMs, spentUsd, postedAtMs });
      return;
    }
    const grantedUsd = otherwise ? (otherwise.grantedUsd ?? 0n) : event.grantedUsd;
    const reservedUsd = this.envelopes.close(operationId) ?? grantedUsd;
    const spentUsd = otherwise?.isLess && event.costUsd > reservedUsd ? reservedUsd : event.costUsd;
    this.move(event, { atMs, reservedUsd: -reservedUsd, spentUsd });
    const { parentId, returnedUsd = 0n } = event;
    if (parentId !== undefined)
      this.envelopes.move(parentId, { atMs, usd: otherwise ? reservedUsd - spentUsd : returnedUsd });
    if (!event.isUnverified) this.otherwise.delete(operationId);
  }

  private limit({ quotaId, quota, atMs }: RecordedLimit): void {
    const known = this.byId.get(quotaId);
    if (!quota) {
      if (known) this.remove(known);
      return;
    }
    const triedUsd = this.tried.get(keyOf(quota));
    const of = triedUsd === undefined ? known : this.byId.get(keyOf(quota));
    // What the period before had is gone by the limit of before, where it was begun when the limit was set.
    if (of && quota.periodEndMs > atMs) Object.assign(of, rollOver(of, atMs));
    const { topUps } = quota;
    const limitUsd = triedUsd === undefined ? quota.limitUsd : triedUsd + totalOf(topUps);
    if (of) Object.assign(of, { limitUsd, topUps });
    else this.add({ ...quota, limitUsd });
  }

  private add(quota: Quota): void {
    const of = payerKey(quota.scope, quota.scopeId);
    this.byId.set(quota.quotaId, quota);
    this.byPayer.set(of, [...(this.byPayer.get(of) ?? []), quota]);
  }

  private remove(quota: Quota): void {
    const of = payerKey(quota.scope, quota.scopeId);
    this.byId.delete(quota.quotaId);
    this.byPayer.set(
      of,
      (this.byPayer.get(of) ?? []).filter((one) => one !== quota),
    );
  }

  /** The limits that cover a payer, as they stand at a moment. */
  private covering(payer: Payer, atMs?: number): Quota[] {
    const { userId, labels = {} } = payer;
    const quotas = [
      payerKey('tenant', ''),
      ...(userId === undefined ? [] : [payerKey('user', userId)]),
      ...Object.entries(labels).map(([key, value]) => payerKey('label', `${key}:${value}`)),
    ].flatMap((of) => (this.byPayer.get(of) ?? []).filter((quota) => covers(quota, payer)));
    if (atMs !== undefined) for (const quota of quotas) Object.assign(quota, rollOver(quota, atMs));
    return quotas;
  }

  private move(payer: Payer, by: { atMs: number; reservedUsd?: Usd; spentUsd?: Usd; postedAtMs?: number }): void {
    const { atMs, reservedUsd = 0n, spentUsd = 0n, postedAtMs = atMs } = by;
    this.costUsd += spentUsd;
    if (reservedUsd === 0n && spentUsd === 0n) return;
    for (const quota of this.covering(payer, atMs)) {
      quota.reservedUsd += reservedUsd;
      if (isOf(quota, payer.resource) && postedAtMs >= quota.periodStartMs && postedAtMs < quota.periodEndMs)
        quota.spentUsd += spentUsd;
      takeBack(quota);
    }
  }
}

const payerKey = (scope: string, scopeId: string): string => (scope === 'tenant' ? scope : `${scope} ${scopeId}`);

/**
 * In place of the platform's limits, which a request may be covered by alone: what they left it stands on record, so this one has more than
 * anything asks for.
 */
const platform: Quota = {
  ...{ quotaId: 'platform', scope: 'platform', scopeId: '', resourceType: 'all', period: 'lifetime' },
  ...{ limitUsd: MAX_USD_EXCLUSIVE, spentUsd: 0n, reservedUsd: 0n },
  ...{ periodStartMs: 0, periodEndMs: periodAt('lifetime', 0).end.getTime() },
  ...{ thresholdsBasisPoints: [], warnedBasisPoints: [], exceeded: false },
};

/** A request as it had to fit limits: of an envelope those of the resources whose limits bound. */
function asBound(request: RecordedRequest): RecordedRequest {
  const { boundOn } = request.decidedWith ?? {};
  const [resource = request.resource] = boundOn ?? [];
  return boundOn ? { ...request, resource, heldOn: boundOn } : request;
}

/** What limits grant a request, by the decision itself; undefined where they refuse it. */
function grantOf(
  { atMs, operationId, decidedWith = {}, ...request }: RecordedRequest,
  quotas: Quota[],
): Usd | undefined {
  const { userId, resource, labels, heldOn, amountUsd: askedUsd, minimumUsd } = request;
  const { mostUsd = askedUsd, prefersWhole, kept = [] } = decidedWith;
  // The platform had too little for it, whatever the tenant's own limits had.
  const isBeyond = mostUsd < (minimumUsd ?? askedUsd);
  const amountUsd = isBeyond ? askedUsd : mostUsd;
  const { answers } = decideBatch(
    {
      ...{ tenantId: '', nowMs: atMs, reservations: [], holds: [], quotas: [...quotas, platform] },
      enforced: { llm: true, e2b: true },
      line: kept.map((place, at) => ({ ...place, waiterId: `kept ${at}`, keptForMs: 0, isWoken: true })),
    },
    [
      {
        ...{ type: 'reserve', operationId, resource, amountUsd: formatUsd(amountUsd) },
        ...(heldOn ? { ...sentOfEnvelope(resource), envelopeOf: heldOn } : {}),
        ...(userId === undefined ? {} : { userId }),
        ...(labels === undefined ? {} : { labels }),
        ...(minimumUsd === undefined ? {} : { minimumUsd: formatUsd(minimumUsd) }),
        ...(prefersWhole ? { prefersWhole } : {}),
        ...{ priceVersion: '', ttlSeconds: 1, kind: '' },
      },
    ],
  );
  const [answer] = answers;
  return answer?.decision === 'granted' && !isBeyond ? parseUsd(answer.grantedUsd) : undefined;
}
