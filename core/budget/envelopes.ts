/**
 * Envelopes: money that is reserved once for what is to come, and spent in parts (docs/decisions/0065-envelopes.md).
 *
 * What an envelope holds is its rest. A part takes its grant from there in the same decision, so that what quotas hold stays as it is, and
 * what they have left has no say. When a part ends, what it did not need goes back to an envelope that is open still, and to the quotas
 * otherwise; what it cost above its grant is taken from there, as far as there is some. An envelope over several resources holds on the
 * quotas of each, and so do its parts; a cost counts for its own resource alone.
 */
import type { Batch } from './batch';
import type { RejectionCode, ReserveCommand, Resource } from './commands';
import { nothingReserved } from './denials';
import { areEqual } from '../labels';
import { formatUsd, type Usd } from '../money';
import type { Payer, Quota } from './quotas';
import { isRecordedAs, mayBeGranted, resourceAsked } from '../resources';
import { isEnvelope, type Amounts, type Refusal, type Reservation, type ReservationRequest } from './reservations';

/** An envelope that a part can be taken of. */
export interface Envelope {
  reservation: Reservation & { request: ReservationRequest };
  restUsd: Usd;
}

/** What an envelope is on record as, whatever its caller calls it. */
export const envelopeKind = 'envelope';

type Asked = Pick<ReserveCommand, 'envelopeOf' | 'parentOperationId' | 'resource' | 'isTool' | 'ofResource'>;

const refused = (code: RejectionCode, message: string): Refusal => ({
  type: 'rejected',
  code,
  message: `${message} ${nothingReserved}`,
});

/** Whether a request is of an envelope, or of a part of one. */
const concernsEnvelope = ({ envelopeOf, parentOperationId }: Asked): boolean =>
  envelopeOf !== undefined || parentOperationId !== undefined;

/** A part as it is asked for where its envelope cannot be: like any other. Undefined where it is for its envelope alone. */
export function withoutEnvelope(command: ReserveCommand): ReserveCommand | undefined {
  if (!concernsEnvelope(command)) return command;
  if (!command.orBeyond || command.envelopeOf) return undefined;
  const { parentOperationId: _, ...others } = command;
  return others;
}

/** What a request is billed as, and of an envelope what it is held on; or what of it the database can hold no place for. */
export function resourcesOf(
  batch: Batch,
  command: ReserveCommand,
): { resource: Resource; heldOn?: readonly Resource[] } | { unheld: string } {
  const { envelopeOf = [], userId } = command;
  const resource = batch.resourceOf(command);
  if (resource === undefined) return { unheld: `the resource ${resourceAsked(command)}` };
  const heldOn = envelopeOf.map((one) =>
    batch.resourceOf({ resource: one, ...(userId === undefined ? {} : { userId }) }),
  );
  return command.envelopeOf
    ? { resource, heldOn: [...new Set(heldOn.flatMap((one) => one ?? []))].sort() }
    : { resource };
}

const heldOnBy = ({ resource, heldOn }: Payer): readonly Resource[] => heldOn ?? [resource];

/** What of a request no limit allows anything; undefined where each of its resources may be granted something. */
export const unlimitedOf = (batch: Batch, payer: Payer): Resource | undefined =>
  heldOnBy(payer).find(
    (resource) => !mayBeGranted(resource, batch.quotasFor({ ...payer, resource, heldOn: undefined })),
  );

/** Whether limits bind a request: of an envelope over several resources those of one at least. */
export const isEnforcedFor = (batch: Batch, payer: Payer): boolean =>
  heldOnBy(payer).some((resource) => batch.isEnforced(resource));

/** The quotas that a request has to fit: of an envelope over several resources not those of one whose limits do not bind. */
export function bindingOn(batch: Batch, payer: Payer): Quota[] {
  const binding = heldOnBy(payer).filter((resource) => batch.isEnforced(resource));
  const [resource = payer.resource] = binding;
  return batch.quotasFor(binding.length === 0 ? payer : { ...payer, resource, heldOn: binding });
}

/** What is wrong with an envelope as a request; undefined for what may be asked. */
export function problemOfEnvelope(command: ReserveCommand): Refusal | undefined {
  const { envelopeOf, parentOperationId, onExpiry } = command;
  if (!envelopeOf) return undefined;
  if (parentOperationId !== undefined)
    return refused('envelope_refused', 'An envelope is no part of another: it names no parentOperationId.');
  if (onExpiry !== undefined)
    return refused('envelope_refused', 'What is left of an envelope is freed when it runs out: it names no onExpiry.');
  return envelopeOf.includes(resourceAsked(command))
    ? undefined
    : refused('envelope_refused', 'The resources of an envelope have its own among them.');
}

/** The envelope that a part names, or why that part cannot be. */
export function envelopeFor(batch: Batch, command: ReserveCommand, request: ReservationRequest): Envelope | Refusal {
  const id = command.parentOperationId ?? '';
  const known = batch.find(id);
  const no = (why: string): Refusal => refused('envelope_refused', `No part can be taken of ${id}: ${why}.`);
  if (!known?.request) return no('the tenant has no such envelope');
  const { request: parent, status, grantedUsd } = known;
  if (!isEnvelope(parent))
    return no(parent.parentId ? 'it is a part itself, and those have none' : 'it is no envelope');
  if (status !== 'granted' || grantedUsd === undefined) return no(`it is ${status}`);
  if (parent.runId !== undefined && parent.runId !== request.runId)
    return no(`it is of ${parent.runId}, which its parts name as their runId`);
  if (parent.userId !== request.userId) return no('it is of another user');
  if (!areEqual(parent.labels, request.labels)) return no('it has other labels');
  const asked = resourceAsked(command);
  return resourceIn(parent, asked) === undefined
    ? no(`it is for ${(parent.heldOn ?? []).join(', ')}, and not for ${asked}`)
    : { reservation: { ...known, request: parent }, restUsd: grantedUsd };
}

/** What a part is billed as: as its envelope was, whatever limits are now. */
const resourceIn = ({ heldOn = [] }: ReservationRequest, asked: Resource): Resource | undefined =>
  heldOn.includes(asked) ? asked : heldOn.find((one) => isRecordedAs(one, asked));

/** The envelope of a part that prolongs it: never for less long. */
export function prolonged(
  { nowMs }: Batch,
  envelope: Envelope['reservation'],
  { parentTtlSeconds = 0 }: ReserveCommand,
): Envelope['reservation'] {
  const { expiresAtMs = nowMs } = envelope;
  return { ...envelope, expiresAtMs: Math.max(expiresAtMs, nowMs + parentTtlSeconds * 1000) };
}

/** A part's request, as it is recorded once it is granted. */
export function requestOfPart(
  command: ReserveCommand,
  request: ReservationRequest,
  { reservation: { operationId, request: parent } }: Envelope,
): ReservationRequest {
  const resource = resourceIn(parent, resourceAsked(command)) ?? request.resource;
  return { ...request, resource, parentId: operationId, heldOn: parent.heldOn };
}

/** Why an envelope has too little for a part. */
export function refusedByRest({ reservation, restUsd }: Envelope, { amountUsd, minimumUsd }: Amounts): Refusal {
  const { operationId, envelopeUsd = restUsd } = reservation;
  const least = minimumUsd === undefined ? '' : ` (at least $${formatUsd(minimumUsd)})`;
  return refused(
    'envelope_exceeded',
    `${restUsd > 0n ? `$${formatUsd(restUsd)}` : 'Nothing'} is left of the envelope ${operationId} of $${formatUsd(envelopeUsd)}, the rest is spent or held by its parts; ` +
      `$${formatUsd(amountUsd)}${least} was asked for.`,
  );
}

/** What goes back to an envelope; negative for what is taken from there. */
export interface Returned {
  envelope: Reservation & { request: ReservationRequest };
  usd: Usd;
}

/**
 * What of a part that ends goes back to its envelope: what it did not need, or, as far as there is some, less what it cost beyond its
 * grant. Nothing where that has ended, or run out. What was told first is settled first.
 */
export function returnedOf(batch: Batch, { parentId }: ReservationRequest, unusedUsd: Usd): Returned | undefined {
  const envelope = parentId === undefined ? undefined : batch.find(parentId);
  if (envelope?.status !== 'granted' || !envelope.request) return undefined;
  const { grantedUsd: restUsd = 0n, request, expiresAtMs = 0 } = envelope;
  if (expiresAtMs <= batch.nowMs) return undefined;
  const usd = unusedUsd < -restUsd ? -restUsd : unusedUsd;
  return usd === 0n ? undefined : { envelope: { ...envelope, request }, usd };
}

/**
 * Moves money between an envelope and a part of it. What the quotas hold never falls between the two, or what is held of a top-up that has
 * expired would be taken for given back.
 */
export function movePart<T>(batch: Batch, rest: Returned | undefined, move: () => T): T {
  if (rest && rest.usd > 0n) moveRest(batch, rest);
  const moved = move();
  if (rest && rest.usd <= 0n) moveRest(batch, rest);
  return moved;
}

function moveRest(batch: Batch, { envelope, usd }: Returned): void {
  const { operationId, request, grantedUsd = 0n } = envelope;
  batch.put({ ...envelope, grantedUsd: grantedUsd + usd });
  batch.move(request, { operationId, reservedUsd: usd });
}
