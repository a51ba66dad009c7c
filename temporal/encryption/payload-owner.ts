/**
 * For which workflow a payload was encrypted. The clear payload says it in an entry of its metadata, inside of what is encrypted, so that
 * the cipher vouches for it as for the rest, and a version that knows nothing of it reads the payload all the same. What is
 * written where no workflow is known (by the codec server for a person, the memo of a schedule) belongs to none, and is read anywhere.
 */
import type { Payload, SerializationContext } from '@temporalio/common';

export interface PayloadOwner {
  namespace: string;
  workflowId: string;
}

const entryName = 'encryption-bound-to';

/** What a schedule adds to the id of each workflow that it starts: the input was encrypted before, for all of them. */
const startedAt = /(-\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)+$/;

/** Whose the payloads of a context are: the workflow's, also of its activities. Undefined where the context does not say. */
export const ownerOf = (context: SerializationContext | undefined): PayloadOwner | undefined =>
  context?.workflowId === undefined
    ? undefined
    : { namespace: context.namespace, workflowId: context.workflowId.replace(startedAt, '') };

export const isSame = (one: PayloadOwner, other: PayloadOwner): boolean =>
  one.namespace === other.namespace && one.workflowId === other.workflowId;

export const nameOf = ({ namespace, workflowId }: PayloadOwner): string =>
  `the workflow ${workflowId} (namespace ${namespace})`;

interface Sealing {
  nonce: Buffer;
  owner: PayloadOwner | undefined;
}

/**
 * The payload with its owner's name, and the nonce that it is encrypted with. A process of a version that does not know of owners
 * may take the entry along into a payload of another workflow: the nonce shows that it was not made for that one.
 */
export function bind(payload: Payload, { nonce, owner }: Sealing): Payload {
  const { [entryName]: _before, ...others } = payload.metadata ?? {};
  if (!owner) return { ...payload, metadata: others };
  const entry = Buffer.from(`${nonce.toString('base64')} ${owner.namespace} ${owner.workflowId}`);
  return { ...payload, metadata: { ...others, [entryName]: entry } };
}

/** The payload as it was before it was bound, and for whom that was; undefined when it is bound to nobody. */
export function unbind(bound: Payload, nonce: Buffer): { payload: Payload; owner: PayloadOwner | undefined } {
  const { [entryName]: entry, ...others } = bound.metadata ?? {};
  const payload = { ...bound, metadata: others };
  const [sealedWith, namespace = '', ...id] = Buffer.from(entry ?? [])
    .toString()
    .split(' ');
  const isOfThis = entry && sealedWith === nonce.toString('base64');
  return { payload, owner: isOfThis ? { namespace, workflowId: id.join(' ') } : undefined };
}
