/**
 * The line of those that wait for a tenant's money: first come, first served. What one was woken for is kept for it until it asks, and
 * what one still has to gather is kept for a while, also from those who come later and do not wait.
 */
import type { Usd } from '../money';
import { covers, headroomUsd, type Payer, type Standing } from './quotas';
import { leftWithoutHolds } from './top-ups';

/** So long after its begin a wait holds up those behind it that would fit before it does. */
export const holdsUpMs = 30_000;

/** What may be asked for: the whole, or at least so much. */
export interface Ask {
  amountUsd: Usd;
  minimumUsd?: Usd | undefined;
  /** It rather waits than takes less than what may still come back. */
  prefersWhole?: boolean | undefined;
}

/**
 * The least that a request takes now. One that prefers the whole takes less only where there is no more to come: when all that is held
 * came back unused, a quota would have no more than that.
 */
export function leastUsd(quotas: readonly Standing[], { amountUsd, minimumUsd = amountUsd, prefersWhole }: Ask): Usd {
  if (!prefersWhole) return minimumUsd;
  const most = mostUsd(quotas);
  if (most === undefined || most >= amountUsd) return amountUsd;
  return most > minimumUsd ? most : minimumUsd;
}

/** What a tenant's own quotas have for one request at the most, once all that is held has come back unused. */
function mostUsd(quotas: readonly Standing[]): Usd | undefined {
  const each = own(quotas).map(leftWithoutHolds);
  return each.length === 0 ? undefined : each.reduce((a, b) => (a < b ? a : b));
}

/** The platform's money is not kept for anybody: more of it may be drawn, and nobody can tell how much. */
const own = <S extends Pick<Standing, 'scope'>>(quotas: readonly S[]): S[] =>
  quotas.filter(({ scope }) => scope !== 'platform');

export interface MoneyWaiter extends Payer, Ask {
  /** Whether it names its place when it asks again. Nothing is kept for another, from which it would be kept too. */
  isNamed?: boolean | undefined;
  /** Since it began to wait. */
  waitedMs?: number | undefined;
  /** Whether it was woken a while ago and did not ask: then nothing is kept for it, and those behind it get what there is. */
  isSilent?: boolean | undefined;
}

/** How a waiter stands: whether it would get now what it takes, and what is kept for it. */
export interface Standpoint<W> {
  waiter: W;
  fits: boolean;
  keptUsd: Usd;
}

/**
 * How each stands, in their order. One that does not fit holds up those behind it while it waits for what may still come back, for
 * {@link holdsUpMs} at most; after that they are served before it.
 */
export function standInLine<W extends MoneyWaiter>(
  quotas: readonly Standing[],
  waiters: readonly W[],
): Standpoint<W>[] {
  const balances = own(quotas).map((quota) => ({ ...quota }));
  return waiters.map((waiter) => {
    const binding = balances.filter((quota) => covers(quota, waiter));
    const needed = leastUsd(binding, waiter);
    const fits = binding.every((quota) => headroomUsd(quota) >= needed);
    const most = mostUsd(binding);
    const gathers = waiter.isNamed && (waiter.waitedMs ?? 0) < holdsUpMs && most !== undefined && needed <= most;
    const keeps = !waiter.isSilent && (fits || gathers);
    return { waiter, fits, keptUsd: keeps ? take(binding, needed) : 0n };
  });
}

function take(quotas: readonly Standing[], usd: Usd): Usd {
  for (const quota of quotas) quota.reservedUsd += usd;
  return usd;
}

/** What is kept for somebody in the line, as Postgres holds it. */
export interface Place extends Payer {
  waiterId: string;
  runId?: string | undefined;
  keptUsd: Usd;
  keptForMs: number;
  /** It fitted when it was woken: it asks in a moment. */
  isWoken: boolean;
}

/** Who asks, as the line knows it. */
export interface Asker {
  waiterId?: string | undefined;
  runId?: string | undefined;
}

/** Whether a place is an asker's own; also one that its run had before it was reset, which nobody else will ask for. */
export const isOwnPlace = (place: Place, { waiterId, runId }: Asker): boolean =>
  place.waiterId === waiterId || (place.runId !== undefined && place.runId === runId);

/** Of what is kept, in the order of the line, what is kept from an asker; from one that has no place all is. */
export function keptFrom(line: readonly Place[], asker: Asker): readonly Place[] {
  const position = line.findIndex((place) => isOwnPlace(place, asker));
  if (position < 0) return line;
  return line.filter((place, index) => !isOwnPlace(place, asker) && (index < position || place.isWoken));
}

/** How much of a quota is kept for those places. */
export function keptUsd(quota: Standing, places: readonly Place[]): Usd {
  if (quota.scope === 'platform') return 0n;
  return places.filter((place) => covers(quota, place)).reduce((sum, place) => sum + place.keptUsd, 0n);
}

/** Seconds until nothing of a quota is kept for any of those places, at least 1. */
export const keptSeconds = (quota: Standing, places: readonly Place[]): number =>
  Math.max(1, ...places.filter((place) => covers(quota, place)).map(({ keptForMs }) => Math.ceil(keptForMs / 1000)));
