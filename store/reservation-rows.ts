/**
 * A reservation's row, in its one shape here: how SQL reads it, and how the decision's own reservation is made of it and becomes
 * one. Whoever needs less reads a view: some of the same fields, by `columnsOf`.
 */
import type { OnExpiry, Resource } from '../core/budget/commands';
import type { Payer } from '../core/budget/quotas';
import type { DecidedWith } from '../core/budget/decided-with';
import type { Refusal, Reservation, ReservationStatus, Settlement } from '../core/budget/reservations';
import { labelsFrom, unknownLabels, type Labels } from '../core/labels';
import { formatUsd, parseUsd, type Usd } from '../core/money';

/** Amounts are decimal strings. What was asked for is absent on a tombstone, whose reserve never came. */
export interface ReservationRow {
  operationId: string;
  userId: string | null;
  /** The run or conversation that it is for. */
  runId: string | null;
  kind: string;
  step: number | null;
  attempt: number | null;
  resource: Resource | null;
  model: string | null;
  onExpiry: OnExpiry | null;
  priceVersion: string | null;
  requestedUsd: string | null;
  minimumUsd: string | null;
  grantedUsd: string | null;
  unreserved: boolean;
  /** What it is for; null for nothing that was named. */
  labels: Labels | null;
  /** What goes on without a grant may spend; null where it was decided. */
  allowedUsd: string | null;
  status: ReservationStatus;
  refusal: Refusal | null;
  /** Why it got no money: one of docs/errors.md, and in words; null where it got some. */
  refused: { code: string; message: string } | null;
  claimed: boolean;
  /** When its money was first used: the call began. */
  claimedAt: Date | null;
  decidedAt: Date;
  expiresAt: Date | null;
  outcome: 'billed' | 'not_billed' | null;
  outcomeUsd: string | null;
  /** When its call was over, as far as that is known. */
  outcomeAt: Date | null;
  /** What the paid step returned. */
  result: unknown;
  outcomeFolded: boolean;
  outcomeUnverified: boolean;
  settlement: Settlement | null;
  committedUsd: string | null;
  overrunUsd: string | null;
  postedAt: Date | null;
  endedAt: Date | null;
  /** The trace that it was reserved in. */
  traceId: string | null;
  /** The workflow that reserved it, where it is no run's. */
  workflowId: string | null;
}

/** A view of rows that hold a request. */
export type RequestView<K extends keyof ReservationRow> = Pick<ReservationRow, K> & {
  [Field in K & ('resource' | 'requestedUsd')]: NonNullable<ReservationRow[Field]>;
};

const amount = (column: string): string => `trim_scale(${column})::text`;
/** What each field is in SQL, of the table's columns. */
const columns: Record<keyof ReservationRow, string> = {
  operationId: 'operation_id',
  userId: 'user_id',
  runId: 'run_id',
  kind: 'kind',
  step: 'step',
  attempt: 'attempt',
  resource: 'resource',
  model: 'model',
  onExpiry: 'on_expiry',
  priceVersion: 'price_version',
  requestedUsd: amount('requested_usd'),
  minimumUsd: amount('minimum_usd'),
  grantedUsd: amount('granted_usd'),
  labels: `nullif(labels, '{}')`,
  unreserved: 'unreserved',
  allowedUsd: amount('CASE WHEN unreserved THEN coalesce(allowed_usd, requested_usd) END'),
  status: 'status',
  refusal: 'refusal',
  refused: `CASE WHEN refusal IS NOT NULL THEN jsonb_build_object(
    'code', coalesce(refusal ->> 'code', 'quota_exceeded'), 'message', refusal ->> 'message') END`,
  claimed: 'claimed_at IS NOT NULL',
  claimedAt: 'claimed_at',
  decidedAt: 'decided_at',
  expiresAt: 'expires_at',
  outcome: 'outcome',
  outcomeUsd: amount('outcome_usd'),
  outcomeAt: 'outcome_at',
  result: 'outcome_result',
  outcomeFolded: 'outcome_folded',
  outcomeUnverified: 'outcome_unverified',
  settlement: 'settlement',
  committedUsd: amount('committed_usd'),
  overrunUsd: amount('overrun_usd'),
  postedAt: 'posted_at',
  endedAt: 'ended_at',
  traceId: `split_part(trace_context ->> 'traceparent', '-', 2)`,
  workflowId: `trace_context ->> 'workflowId'`,
};

/** What a query selects to read these fields. */
export const columnsOf = (fields: readonly (keyof ReservationRow)[]): string =>
  fields.map((field) => `${columns[field]} AS "${field}"`).join(', ');

type Moment = 'decidedAt' | 'expiresAt' | 'postedAt' | 'endedAt';

/** The row as `reservation_as_json` gives it to the decision: with moments in milliseconds. */
export type ReservationJson = Omit<
  ReservationRow,
  Moment | 'allowedUsd' | 'labels' | 'refused' | 'claimedAt' | 'outcomeAt' | 'result' | 'traceId' | 'workflowId'
> & {
  [Field in Moment as `${Field}Ms`]: null extends ReservationRow[Field] ? number | null : number;
} & {
  /** Absent where the schema is of the version before. */
  allowedUsd?: string | null;
  limitIds?: string[] | null;
  parentId?: string | null;
  heldOn?: string[] | null;
  envelopeUsd?: string | null;
  returnedUsd?: string | null;
  asker?: string | null;
  labels?: unknown;
  sentLabels?: unknown;
};

const usdOrNone = (text: string | null): Usd | undefined => (text === null ? undefined : parseUsd(text));

/** The decision's reservation, of a row. */
export function reservationFrom(row: ReservationJson): Reservation {
  return {
    operationId: row.operationId,
    request: requestFrom(row),
    status: row.status,
    refusal: row.refusal ?? undefined,
    grantedUsd: usdOrNone(row.grantedUsd),
    envelopeUsd: usdOrNone(row.envelopeUsd ?? null),
    returnedUsd: usdOrNone(row.returnedUsd ?? null),
    unreserved: row.unreserved,
    allowedUsd: usdOrNone(row.allowedUsd ?? null),
    decidedAtMs: row.decidedAtMs,
    expiresAtMs: row.expiresAtMs ?? undefined,
    claimed: row.claimed,
    asker: row.asker ?? undefined,
    outcome: outcomeFrom(row),
    outcomeFolded: row.outcomeFolded,
    settlement: row.settlement ?? undefined,
    committedUsd: usdOrNone(row.committedUsd),
    overrunUsd: usdOrNone(row.overrunUsd),
    postedAtMs: row.postedAtMs ?? undefined,
    endedAtMs: row.endedAtMs ?? undefined,
  };
}

function requestFrom(row: ReservationJson): Reservation['request'] {
  const { resource, requestedUsd } = row;
  if (resource === null || requestedUsd === null) return undefined;
  return {
    userId: row.userId ?? undefined,
    resource,
    requestedUsd: parseUsd(requestedUsd),
    minimumUsd: usdOrNone(row.minimumUsd),
    priceVersion: row.priceVersion ?? '',
    runId: row.runId ?? undefined,
    kind: row.kind,
    step: row.step ?? undefined,
    attempt: row.attempt ?? undefined,
    model: row.model ?? undefined,
    onExpiry: row.onExpiry ?? undefined,
    ...(row.limitIds && { limitIds: row.limitIds }),
    ...(row.parentId && { parentId: row.parentId }),
    ...(row.heldOn && { heldOn: row.heldOn }),
    // A schema of the version before keeps none.
    labels: row.labels === undefined ? unknownLabels : labelsFrom(row.labels),
    sentLabels: labelsFrom(row.sentLabels ?? null),
  };
}

function outcomeFrom({ outcome, outcomeUsd, outcomeUnverified }: ReservationJson): Reservation['outcome'] {
  if (outcome === null) return undefined;
  if (outcome !== 'billed') return { billed: false };
  return { billed: true, costUsd: parseUsd(outcomeUsd ?? ''), ...(outcomeUnverified ? { isUnverified: true } : {}) };
}

const isoOrNone = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();
const textOrNone = (usd: Usd | undefined): string | undefined => (usd === undefined ? undefined : formatUsd(usd));

/** What a decision went by, as its row keeps it. */
export interface DecidedWithJson extends Omit<DecidedWith, 'mostUsd' | 'kept'> {
  mostUsd?: string;
  kept?: (Payer & { keptUsd: string })[];
  /** One of the version before decided it, and says neither this nor its place in the batch. */
  isOlder?: true;
  /** Nobody decided it, since the authority did not answer. */
  isUndecided?: true;
}

const decidedWithJson = ({ mostUsd, kept, ...rest }: DecidedWith): DecidedWithJson => ({
  ...rest,
  ...(mostUsd === undefined ? {} : { mostUsd: formatUsd(mostUsd) }),
  ...(kept ? { kept: kept.map(({ keptUsd, ...payer }) => ({ ...payer, keptUsd: formatUsd(keptUsd) })) } : {}),
});

export const decidedWithFrom = ({ mostUsd, kept, prefersWhole, boundOn }: DecidedWithJson): DecidedWith => ({
  ...(prefersWhole ? { prefersWhole } : {}),
  ...(boundOn ? { boundOn } : {}),
  ...(mostUsd === undefined ? {} : { mostUsd: parseUsd(mostUsd) }),
  ...(kept ? { kept: kept.map(({ keptUsd, ...payer }) => ({ ...payer, keptUsd: parseUsd(keptUsd) })) } : {}),
});

/** What the recording takes of a decided reservation. */
export function recordedReservation(reservation: Reservation): Record<string, unknown> {
  const { request } = reservation;
  return {
    operationId: reservation.operationId,
    status: reservation.status,
    refusal: reservation.refusal,
    grantedUsd: textOrNone(reservation.grantedUsd),
    envelopeUsd: textOrNone(reservation.envelopeUsd),
    returnedUsd: textOrNone(reservation.returnedUsd),
    decidedAt: isoOrNone(reservation.decidedAtMs),
    expiresAt: isoOrNone(reservation.expiresAtMs),
    asker: reservation.asker,
    outcomeFolded: reservation.outcomeFolded,
    settlement: reservation.settlement,
    committedUsd: textOrNone(reservation.committedUsd),
    overrunUsd: textOrNone(reservation.overrunUsd),
    postedAt: isoOrNone(reservation.postedAtMs),
    endedAt: isoOrNone(reservation.endedAtMs),
    decidedPosition: reservation.decidedPosition,
    endedPosition: reservation.endedPosition,
    decidedWith: reservation.decidedWith && decidedWithJson(reservation.decidedWith),
    ...(request && {
      ...request,
      requestedUsd: formatUsd(request.requestedUsd),
      minimumUsd: textOrNone(request.minimumUsd),
      runLimitId: request.limitIds?.[0],
    }),
  };
}
