/**
 * When a denied request would fit, if nothing else were asked for: money comes back when a hold or an envelope runs out unused, when a call
 * under way or a run ends, and when a period does.
 */
import { sumUsd, type Usd } from '../money';
import { calculateRetryAfter, periodAt, secondsUntil } from './periods';
import { isEnvelope, isReleasedByExpiry, type Reservation } from './reservations';
import { covers, headroomUsd, type Payer, type Standing } from './quotas';
import { standsAt, takeBack } from './top-ups';

/** An open reservation that its expiry releases, an envelope, or a part of one. */
export interface Hold extends Payer {
  operationId: string;
  grantedUsd: Usd;
  /** When its money comes back to the quotas; absent where that is once a run ends, which nobody can tell. */
  freesAtMs?: number | undefined;
  inEnvelope?: boolean;
}

/** More holds than these, those that run out first, are not read to say when room is made. */
export const holdsMax = 1_000;

/** Nobody can tell when a call under way ends and gives back what it did not need: in seconds as a rule. */
export const heldSeconds = 10;

/** Of some reservations, with the envelopes of those that are parts, those that are such holds. */
export function heldIn(reservations: ReadonlyMap<string, Reservation>): Hold[] {
  return [...reservations.values()].flatMap((reservation): Hold[] => {
    const { operationId, request, status, grantedUsd, expiresAtMs } = reservation;
    if (status !== 'granted' || !request || grantedUsd === undefined || expiresAtMs === undefined) return [];
    const { userId, resource, labels, heldOn } = request;
    const hold = { userId, resource, labels, heldOn, operationId, grantedUsd };
    const envelope = openEnvelope(reservations, reservation);
    if (envelope) return [{ ...hold, inEnvelope: true, freesAtMs: freesInEnvelope(expiresAtMs, envelope) }];
    return isReleasedByExpiry(reservation) ? [{ ...hold, freesAtMs: expiresAtMs }] : [];
  });
}

/** The envelope that a reservation is, or is a part of; undefined where that has ended. */
function openEnvelope(
  reservations: ReadonlyMap<string, Reservation>,
  reservation: Reservation,
): Reservation | undefined {
  const { parentId } = reservation.request ?? {};
  const envelope = parentId === undefined ? reservation : reservations.get(parentId);
  return envelope?.status === 'granted' && envelope.request && isEnvelope(envelope.request) ? envelope : undefined;
}

/** What a part gives back is its envelope's. That of a run, whose steps say their attempt, ends with the run. `holdsOf` has the same rule. */
const freesInEnvelope = (
  expiresAtMs: number,
  { request, expiresAtMs: lastsUntilMs = 0 }: Reservation,
): number | undefined => (request?.attempt === undefined ? Math.max(expiresAtMs, lastsUntilMs) : undefined);

/** What of what is reserved of a quota is in envelopes; nothing where more is held than is read, since nobody has summed it up. */
export const inEnvelopesUsd = (quota: Standing, holds: readonly Hold[]): Usd =>
  holds.length < holdsMax
    ? sumUsd(holds.filter((hold) => hold.inEnvelope && covers(quota, hold)).map(({ grantedUsd }) => grantedUsd))
    : 0n;

/** What is asked for, of which quotas, and what may come back to them. */
export interface Wait {
  quotas: readonly Standing[];
  holds: readonly Hold[];
  neededUsd: Usd;
  nowMs: number;
}

/**
 * Seconds until `neededUsd` fits every one of the quotas: the smallest of the period's end, the moment when holds make room, and
 * `heldSeconds` where calls under way or the envelopes of runs hold what is missing. Rounded up, at least 1. Undefined where waiting cannot help: for more than a
 * limit, or where a lifetime's is spent.
 * Whoever denies says this, the gate and the authority alike.
 */
export function retryAfterSeconds(wait: Wait): number | undefined {
  let longest = 1;
  for (const quota of wait.quotas) {
    const seconds = secondsUntilFits(quota, wait);
    if (seconds === undefined) return undefined;
    longest = Math.max(longest, seconds);
  }
  return longest;
}

function secondsUntilFits(quota: Standing, { holds, neededUsd, nowMs }: Wait): number | undefined {
  if (headroomUsd(quota) >= neededUsd) return 0;
  if (neededUsd > (quota.lease?.platformLimitUsd ?? quota.limitUsd)) return undefined;
  const { period } = quota;
  const resetMs = period === 'lifetime' ? undefined : periodAt(period, nowMs).end.getTime();
  const frees = holds
    .filter((hold) => covers(quota, hold))
    .flatMap(({ freesAtMs, grantedUsd }) => (freesAtMs === undefined ? [] : [{ atMs: freesAtMs, usd: grantedUsd }]));
  const heldByCallsUsd = frees.reduce((left, { usd }) => left - usd, quota.reservedUsd);
  if (heldByCallsUsd > 0n) frees.push({ atMs: nowMs + heldSeconds * 1_000, usd: heldByCallsUsd });
  if (resetMs !== undefined) frees.push({ atMs: resetMs, usd: 0n });
  // Some tenant's hold may end then: what it frees is not this tenant's to know, and may be enough.
  if (quota.lease?.freesAtMs !== undefined) frees.push({ atMs: quota.lease.freesAtMs, usd: neededUsd });
  frees.sort((a, b) => a.atMs - b.atMs);
  let later: Standing = { ...quota, periodEndMs: resetMs ?? quota.periodEndMs };
  for (const { atMs, usd } of frees) {
    // What it is topped up by may have expired by then.
    later = { ...standsAt(later, atMs) };
    later.reservedUsd -= usd;
    takeBack(later);
    if (headroomUsd(later) >= neededUsd) return secondsUntil(atMs, nowMs);
  }
  // With the period may go what it would need.
  const { limitUsd } = standsAt({ ...quota, periodEndMs: resetMs ?? quota.periodEndMs }, resetMs ?? nowMs);
  const mayFit = quota.lease !== undefined || neededUsd <= limitUsd;
  return mayFit ? calculateRetryAfter(period, nowMs) : undefined;
}
