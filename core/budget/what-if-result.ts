/** What playing a record came to: which answers were reproduced, and which would have been others by the limits that were tried. */
import type { Usd } from '../money';
import type { Quota } from './quotas';
import { WhatIf, type Difference } from './what-if';
import type { Recorded, TriedLimit } from './what-if-record';

/** Sums of answers that would have been others. */
export interface Otherwise {
  /** Granted, and would have been refused. */
  denied: number;
  deniedUsd: Usd;
  /** Granted, and would have got less; by how much. */
  shrunk: number;
  shrunkUsd: Usd;
  /** Refused or shrunk, and would have got more; by how much. */
  raised: number;
  raisedUsd: Usd;
}

type Limit = Pick<Quota, 'scope' | 'scopeId' | 'resourceType' | 'period' | 'limitUsd'>;

/** The same of one limit, with the first moment at which it had too little. */
export type OfLimit = Otherwise & { limit: Limit | undefined; firstAtMs: number };

const nothing = (): Otherwise => ({ denied: 0, deniedUsd: 0n, shrunk: 0, shrunkUsd: 0n, raised: 0, raisedUsd: 0n });

/** As many of those that would have been answered otherwise are shown, and as many of those that were not reproduced. */
const shownMax = 10;
/** As many limits and days are told apart; what more there are is in the sums. */
const toldApartMax = 1_000;

/** Plays a record twice: by the limits that there were, which has to reproduce it, and by those that are tried. */
export class Replay {
  private readonly asItWas: WhatIf;
  /** Nothing where none are tried. */
  private readonly asTried: WhatIf | undefined;
  /** Requests that were decided once more. */
  played = 0;
  /** Of them those whose answer was not reproduced by the limits that there were: the first. */
  readonly unlike: Difference[] = [];
  readonly all = nothing();
  readonly byLimit = new Map<string, OfLimit>();
  readonly byDay = new Map<string, Otherwise>();
  readonly first: Difference[] = [];
  /** Requests that were not decided once more, by why. */
  readonly apart: Record<string, number> = {};

  constructor(tried: readonly TriedLimit[]) {
    this.asItWas = new WhatIf();
    this.asTried = tried.length > 0 ? new WhatIf(tried) : undefined;
  }

  begin = (...stood: Parameters<WhatIf['begin']>): void => {
    this.asItWas.begin(...stood);
    this.asTried?.begin(...stood);
  };

  carry = (...sums: Parameters<WhatIf['carry']>): void => {
    this.asItWas.carry(...sums);
    this.asTried?.carry(...sums);
  };

  play = (event: Recorded): void => {
    if (event.type === 'decided' && event.apart !== undefined) this.setApart(event.apart, 1);
    else if (event.type === 'decided') this.played += 1;
    const unlike = this.asItWas.play(event);
    if (unlike && this.unlike.length < shownMax) this.unlike.push(unlike);
    const otherwise = this.asTried?.play(event);
    if (otherwise) this.note(otherwise);
  };

  setApart(why: string, requests: number): void {
    this.apart[why] = (this.apart[why] ?? 0) + requests;
  }

  /** How many answers the limits that there were reproduced. */
  get reproduced(): number {
    return this.asItWas.same;
  }

  /** What ended in the span cost, and would have cost. */
  get costs(): { recordedUsd: Usd; wouldBeUsd: Usd } {
    return { recordedUsd: this.asItWas.costUsd, wouldBeUsd: (this.asTried ?? this.asItWas).costUsd };
  }

  private note(difference: Difference): void {
    const { request, grantedUsd: wouldBeUsd, quota } = difference;
    if (this.first.length < shownMax) this.first.push(difference);
    add(this.all, request.grantedUsd, wouldBeUsd);
    const day = new Date(request.atMs).toISOString().slice(0, 10);
    const ofDay = this.byDay.get(day) ?? nothing();
    if (this.byDay.size < toldApartMax) this.byDay.set(day, ofDay);
    add(ofDay, request.grantedUsd, wouldBeUsd);
    const { quotaId = '' } = quota ?? {};
    const ofLimit = this.byLimit.get(quotaId) ?? { ...nothing(), limit: quota, firstAtMs: request.atMs };
    if (this.byLimit.size < toldApartMax) this.byLimit.set(quotaId, ofLimit);
    add(ofLimit, request.grantedUsd, wouldBeUsd);
  }
}

function add(sums: Otherwise, grantedUsd: Usd | undefined, wouldBeUsd: Usd | undefined): void {
  if (grantedUsd !== undefined && wouldBeUsd === undefined) {
    sums.denied += 1;
    sums.deniedUsd += grantedUsd;
  } else if ((wouldBeUsd ?? 0n) < (grantedUsd ?? 0n)) {
    sums.shrunk += 1;
    sums.shrunkUsd += (grantedUsd ?? 0n) - (wouldBeUsd ?? 0n);
  } else {
    sums.raised += 1;
    sums.raisedUsd += (wouldBeUsd ?? 0n) - (grantedUsd ?? 0n);
  }
}
