/** Envelopes by HTTP: what a request says of one, and what is not done to one. */
import { omitUndefined } from '../../core/omit-undefined';
import { sentOfEnvelope } from '../../core/resources';
import { readEnvelope } from '../../store/envelopes';
import type { OperationKey } from '../../store/reservations';
import type { ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import type { ReserveBody } from './schemas';

/** What a request says of envelopes. @throws ApiError `invalid_request` for what is of none. */
export function ofEnvelope({
  resource,
  envelope,
  resources,
  parentOperationId,
  orBeyond,
}: Pick<ReserveBody, 'resource' | 'envelope' | 'resources' | 'parentOperationId' | 'orBeyond'>) {
  if (resources && !envelope)
    throw new ApiError('invalid_request', 'resources: are of an envelope (`envelope`). Nothing was reserved.');
  if (orBeyond && parentOperationId === undefined)
    throw new ApiError('invalid_request', 'orBeyond: is of a part (`parentOperationId`). Nothing was reserved.');
  if (!envelope && parentOperationId === undefined) return {};
  return {
    // What may go by the limits says its resource as any other: who knows no envelopes decides it as one.
    ...(orBeyond && !envelope ? {} : sentOfEnvelope(resource)),
    ...(envelope ? { envelopeOf: [...new Set([resource, ...(resources ?? [])])] } : {}),
    ...omitUndefined({ parentOperationId }),
    ...(orBeyond ? { orBeyond } : {}),
  };
}

/** Refuses what is done to an envelope that is for its parts alone. */
export async function refuseOfEnvelope(
  { pool }: Pick<ApiDependencies, 'pool'>,
  key: OperationKey,
  what: string,
): Promise<void> {
  const envelope = await readEnvelope(pool, key);
  if (envelope)
    throw new ApiError(
      'envelope_refused',
      `The reservation is an envelope: it is not ${what}, its parts are. It stays as it is.`,
      {
        action:
          'Reserve a part of it under an operation id of its own, and claim and commit that. What is left of an open envelope is given back by its release.',
      },
    );
}
