/** What a reservation is, and how one ends. */
import type { QuotaDenial } from './denials';
import type { OnExpiry, Rejection, ReserveCommand, Resource, TraceContext } from './commands';
import { recordedAlike, sentAlike, type Labelled } from '../labels';
import type { Usd } from '../money';
import { isRecordedAs, resourceAsked } from '../resources';
import type { DecidedWith } from './decided-with';

/**
 * A reservation is the row of one paid attempt. It is granted, denied or rejected once; a granted one ends once:
 * committed (at its actual cost, or at its estimate as unverified), released, or expired.
 */
export type ReservationStatus = 'granted' | 'denied' | 'rejected' | 'committed' | 'released' | 'expired';
export type Settlement = 'actual' | 'unverified' | 'released' | 'expired';

/**
 * What the paid execution wrote of its call: what the provider billed, or that it surely billed nothing. An unverified one is the part
 * that is known of what was billed: nobody can price the rest.
 */
export type Outcome = { billed: true; costUsd: Usd; isUnverified?: boolean } | { billed: false };

/** Why a reserve got no money. */
export type Refusal =
  ({ type: 'denied' } & QuotaDenial) | ({ type: 'rejected' } & Omit<Rejection, 'decision' | 'operationId'>);

/** What was asked for. Absent on a tombstone, whose reserve never came. */
export interface ReservationRequest extends Labelled {
  userId?: string | undefined;
  resource: Resource;
  requestedUsd: Usd;
  minimumUsd?: Usd | undefined;
  priceVersion: string;
  runId?: string | undefined;
  /** The envelope that it is a part of. */
  parentId?: string | undefined;
  /** Of an envelope and its parts: the resources whose quotas hold the money, its own among them. */
  heldOn?: readonly Resource[] | undefined;
  /** The run limits that it counts for, its own run's first. */
  limitIds?: readonly string[] | undefined;
  kind: string;
  step?: number | undefined;
  attempt?: number | undefined;
  model?: string | undefined;
  onExpiry?: OnExpiry | undefined;
  traceContext?: TraceContext | undefined;
}

export interface Reservation {
  operationId: string;
  request?: ReservationRequest | undefined;
  status: ReservationStatus;
  refusal?: Refusal | undefined;
  /** Of an envelope its rest: what no part has taken. */
  grantedUsd?: Usd | undefined;
  /** Of an envelope: what it was granted at first. */
  envelopeUsd?: Usd | undefined;
  /** Of a part that has ended: what of its grant went back to its envelope; negative where its cost took more from there. */
  returnedUsd?: Usd | undefined;
  /** It goes on without a grant, since the authority did not answer and the policy allows it. It holds nothing. */
  unreserved?: boolean | undefined;
  /** What it may spend then: no more than a decision could have granted. */
  allowedUsd?: Usd | undefined;
  decidedAtMs: number;
  expiresAtMs?: number | undefined;
  claimed: boolean;
  /** Who was told of the grant, as their reserves named themselves, with spaces between; `manyAskers` where that is not kept. */
  asker?: string | undefined;
  outcome?: Outcome | undefined;
  outcomeFolded: boolean;
  settlement?: Settlement | undefined;
  committedUsd?: Usd | undefined;
  /** By how much the cost passed the grant. */
  overrunUsd?: Usd | undefined;
  /** The moment its ledger entry counts at. */
  postedAtMs?: number | undefined;
  endedAtMs?: number | undefined;
  /** Of one that this batch decides. */
  decidedWith?: DecidedWith | undefined;
  /** Where in its batch it was decided, and where it ended; absent where another batch did. */
  decidedPosition?: number | undefined;
  endedPosition?: number | undefined;
}

/** In place of those that were told, of a grant that more were told of than is kept: it stays, whoever goes. */
export const manyAskers = '*';
const askersMax = 8;

type Told = Pick<Reservation, 'status' | 'claimed' | 'asker'>;

/** Who was told of a grant that nobody has begun to use; undefined where it matters to nobody. */
const toldOf = ({ status, claimed, asker }: Told): string[] | undefined =>
  status === 'granted' && !claimed ? asker?.split(' ') : undefined;

/**
 * Who has been told of a grant once this asker is too; undefined where nothing is to be noted. One of the version before names none.
 * `tell_also` has the same rule.
 */
export function toldAlso(reservation: Told, own: string | undefined): string | undefined {
  const told = toldOf(reservation);
  if (!told || told[0] === manyAskers || told.includes(own ?? '')) return undefined;
  return own === undefined || told.length >= askersMax ? manyAskers : [...told, own].join(' ');
}

/** Who is left that was told of a grant once this asker has gone: its release gives back only what nobody else was told of. */
export function othersTold(reservation: Told, own: string | undefined): string | undefined {
  const others = own === undefined ? [] : toldOf(reservation)?.filter((one) => one !== own);
  return others && others.length > 0 ? others.join(' ') : undefined;
}

/** The mark that a release leaves when it comes before its reserve: the late reserve is refused. */
export function tombstone(operationId: string, nowMs: number): Reservation {
  return {
    operationId,
    status: 'released',
    settlement: 'released',
    decidedAtMs: nowMs,
    endedAtMs: nowMs,
    claimed: false,
    outcomeFolded: false,
  };
}

/** What goes on without a grant may spend, and is charged where nobody learns its cost. */
export const allowedUsdOf = (
  { allowedUsd }: Pick<Reservation, 'allowedUsd'>,
  { requestedUsd }: Pick<ReservationRequest, 'requestedUsd'>,
): Usd => allowedUsd ?? requestedUsd;

/** Whether running out with nothing known of its call releases a reservation; otherwise it is charged. */
export const isReleasedByExpiry = ({ request, claimed }: Pick<Reservation, 'request' | 'claimed'>): boolean =>
  request?.onExpiry === undefined ? !claimed : request.onExpiry === 'release';

/** Whether a repeated reserve asks for the same thing as the recorded one. */
export function isSameRequest(request: ReservationRequest, command: ReserveCommand, amounts: Amounts): boolean {
  return (
    request.userId === command.userId &&
    isRecordedAs(request.resource, resourceAsked(command)) &&
    request.requestedUsd === amounts.amountUsd &&
    request.minimumUsd === amounts.minimumUsd &&
    request.priceVersion === command.priceVersion &&
    isSameEnvelope(request, command) &&
    recordedAlike(request, command)
  );
}

/** Whether it is money for parts to come. */
export const isEnvelope = ({ heldOn, parentId }: Pick<ReservationRequest, 'heldOn' | 'parentId'>): boolean =>
  heldOn !== undefined && parentId === undefined;

/** Whether a command asks for the same envelope, or for a part of the same, as the recorded request. */
function isSameEnvelope(
  request: ReservationRequest,
  { envelopeOf, parentOperationId, orBeyond }: ReserveCommand,
): boolean {
  if (!envelopeOf)
    return !isEnvelope(request) && (request.parentId === parentOperationId || (orBeyond === true && !request.parentId));
  const { heldOn = [] } = request;
  return (
    isEnvelope(request) &&
    envelopeOf.every((asked) => heldOn.some((one) => isRecordedAs(one, asked))) &&
    heldOn.every((one) => envelopeOf.some((asked) => isRecordedAs(one, asked)))
  );
}

/** Resources as one text, in whatever order they are named, and however often. */
const inOneOrder = (resources?: readonly Resource[]): string | undefined =>
  resources && [...new Set(resources)].sort().join(' ');

/** Whether two reserves ask for the same thing, before anything is parsed. */
export const asksTheSame = (a: ReserveCommand, b: ReserveCommand): boolean =>
  a.userId === b.userId &&
  resourceAsked(a) === resourceAsked(b) &&
  a.amountUsd === b.amountUsd &&
  a.minimumUsd === b.minimumUsd &&
  a.priceVersion === b.priceVersion &&
  a.parentOperationId === b.parentOperationId &&
  inOneOrder(a.envelopeOf) === inOneOrder(b.envelopeOf) &&
  sentAlike(a, b);

/** The amounts of a reserve, parsed. */
export interface Amounts {
  amountUsd: Usd;
  minimumUsd?: Usd | undefined;
}
