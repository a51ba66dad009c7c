/**
 * How a granted reservation ends, exactly once.
 *
 *   granted ── outcome billed ────────────────▶ committed (actual), whatever was asked: commit, release or expiry
 *           ── outcome billed, known in part ──▶ committed at that part (unverified)
 *           ── outcome "surely not billed" ───▶ released
 *           ── unclaimed, commit or release ──▶ released          unclaimed, overdue ──▶ expired
 *           ── claimed, no outcome, commit or overdue ──▶ committed at the estimate (unverified)
 *           ── overdue, when its request says what then ──▶ expired, or committed at the estimate (unverified)
 *           ── claimed, no outcome, release ──▶ stays granted: the call may be under way, so its outcome decides
 *
 * What a part of an envelope frees goes back to that (core/budget/envelopes.ts). An envelope itself is released, or runs out.
 *
 * An outcome that comes after the end is still recorded: it corrects the ledger, in the period of the entry that it
 * corrects, and changes nothing of the end itself. The estimate is the grant; of what goes on without one, what it was allowed.
 */
import type { Batch } from './batch';
import type { Usd } from '../money';
import {
  allowedUsdOf,
  isEnvelope,
  isReleasedByExpiry,
  type Outcome,
  type Reservation,
  type ReservationRequest,
} from './reservations';
import { movePart, returnedOf } from './envelopes';

type Trigger = 'commit' | 'release' | 'expiry' | 'outcome';

/** Ends what is overdue and folds every outcome that is not folded yet. Runs before the commands of each batch. */
export function settleWhatIsDue(batch: Batch): void {
  for (const { operationId } of batch.allReservations()) {
    // As it is by now: a part of an envelope changes that.
    const reservation = batch.find(operationId) as Reservation;
    if (reservation.outcome && !reservation.outcomeFolded) {
      settle(batch, reservation, 'outcome');
    } else if (reservation.status === 'granted' && (reservation.expiresAtMs ?? Infinity) <= batch.nowMs) {
      settle(batch, reservation, 'expiry');
    }
  }
}

/** Applies one trigger to one reservation; what has ended already stays as it is. */
export function settle(batch: Batch, reservation: Reservation, trigger: Trigger): void {
  const { request, grantedUsd, outcome } = reservation;
  if (!request || grantedUsd === undefined) return;
  // Its parts are what is committed.
  if (trigger === 'commit' && isEnvelope(request)) return;
  if (reservation.status !== 'granted') {
    if (outcome && !reservation.outcomeFolded) correct(batch, reservation, request);
    return;
  }
  if (outcome) {
    if (outcome.billed)
      commit(batch, reservation, { request, grantedUsd, costUsd: outcome.costUsd, settlement: settlementOf(outcome) });
    else free(batch, reservation, { request, grantedUsd, status: 'released' });
  } else if (trigger === 'expiry' ? isReleasedByExpiry(reservation) : !reservation.claimed) {
    free(batch, reservation, { request, grantedUsd, status: trigger === 'expiry' ? 'expired' : 'released' });
  } else if (trigger === 'commit' || trigger === 'expiry') {
    const costUsd = reservation.unreserved ? allowedUsdOf(reservation, request) : grantedUsd;
    commit(batch, reservation, { request, grantedUsd, costUsd, settlement: 'unverified' });
  }
}

const settlementOf = (outcome: Outcome | undefined): 'actual' | 'unverified' =>
  outcome?.billed && outcome.isUnverified ? 'unverified' : 'actual';

interface CommitDetails {
  request: ReservationRequest;
  grantedUsd: Usd;
  costUsd: Usd;
  settlement: 'actual' | 'unverified';
}

/** The cost is recorded in full even when it passes the grant: the money is gone. */
function commit(
  batch: Batch,
  reservation: Reservation,
  { request, grantedUsd, costUsd, settlement }: CommitDetails,
): void {
  const returned = returnedOf(batch, request, grantedUsd - costUsd);
  batch.put({
    ...reservation,
    status: 'committed',
    settlement,
    committedUsd: costUsd,
    overrunUsd: costUsd > grantedUsd ? costUsd - grantedUsd : undefined,
    returnedUsd: returned?.usd,
    outcomeFolded: reservation.outcome !== undefined,
    postedAtMs: batch.nowMs,
    endedAtMs: batch.nowMs,
  });
  batch.post({
    operationId: reservation.operationId,
    entry: 'commit',
    amountUsd: costUsd,
    settlement,
    postedAtMs: batch.nowMs,
  });
  const ended = { operationId: reservation.operationId, reservedUsd: -grantedUsd, spentUsd: costUsd };
  movePart(batch, returned, () => batch.move(request, ended));
  tellOverrun(batch, reservation, costUsd);
}

/** What was called without a grant, as its policy allowed, has none to pass: it is told where it passes a limit. */
function tellOverrun(
  batch: Batch,
  { operationId, request, grantedUsd = 0n, unreserved }: Reservation,
  costUsd: Usd,
): void {
  if (!request) return;
  if (unreserved) batch.passed(request);
  else if (costUsd > grantedUsd) batch.overran(request, { operationId, grantedUsd, costUsd });
}

interface FreeDetails {
  request: ReservationRequest;
  grantedUsd: Usd;
  status: 'released' | 'expired';
}

function free(batch: Batch, reservation: Reservation, { request, grantedUsd, status }: FreeDetails): void {
  const returned = returnedOf(batch, request, grantedUsd);
  batch.put({
    ...reservation,
    status,
    settlement: status,
    returnedUsd: returned?.usd,
    outcomeFolded: reservation.outcome !== undefined,
    endedAtMs: batch.nowMs,
  });
  const ended = { operationId: reservation.operationId, reservedUsd: -grantedUsd };
  movePart(batch, returned, () => batch.move(request, ended));
}

/** A late outcome: the ledger learns the difference to what was posted, at the moment it was posted. */
function correct(batch: Batch, reservation: Reservation, request: ReservationRequest): void {
  const { outcome, committedUsd = 0n } = reservation;
  const costUsd = outcome?.billed ? outcome.costUsd : 0n;
  const settlement = settlementOf(outcome);
  const postedAtMs = reservation.postedAtMs ?? batch.nowMs;
  const isCommitted = reservation.status === 'committed';
  batch.put({
    ...reservation,
    outcomeFolded: true,
    ...(isCommitted ? { committedUsd: costUsd, settlement } : {}),
    ...(costUsd > 0n ? { postedAtMs } : {}),
  });
  const amountUsd = costUsd - committedUsd;
  // An estimate that proves right is not unverified any more, and the ledger says so.
  if (amountUsd === 0n && reservation.settlement !== 'unverified') return;
  batch.post({
    operationId: reservation.operationId,
    entry: 'correction',
    amountUsd,
    settlement,
    postedAtMs,
  });
  batch.move(request, { operationId: reservation.operationId, spentUsd: amountUsd, postedAtMs });
  // Of one that had ended without a cost nothing was held any more.
  tellOverrun(batch, isCommitted ? reservation : { ...reservation, grantedUsd: 0n }, costUsd);
}
