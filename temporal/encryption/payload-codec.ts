/**
 * Encrypts what Temporal keeps: inputs, results, signals, failures and details, by AES-256-GCM, with a new nonce each time. The
 * server, its database and its UI then hold ciphertext. Ids, workflow and activity types and search attributes stay readable:
 * Temporal works with them.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { METADATA_ENCODING_KEY, type Payload, type PayloadCodec, type SerializationContext } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { isKeyId, type PayloadKeys } from './keys';
import { bind, isSame, nameOf, ownerOf, unbind, type PayloadOwner } from './payload-owner';

const encoding = 'binary/encrypted';
const keyIdName = 'encryption-key-id';
const nonceBytes = 12;
const tagBytes = 16;
/** No other length of a tag is taken: a short one could be guessed. */
const tag = { authTagLength: tagBytes };

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | null | undefined): string | undefined =>
  value ? Buffer.from(value).toString() : undefined;

/** A payload was encrypted under a key that is not there, was changed, or is not where it belongs. */
export class PayloadDecryptionError extends Error {
  override readonly name: string = 'PayloadDecryptionError';
}

/** A payload was encrypted for another workflow than the one that reads it. */
export class PayloadMovedError extends PayloadDecryptionError {
  override readonly name = 'PayloadMovedError';
}

/**
 * Encrypts with the current key, for the workflow that is written to, and decrypts with any, what was made for the workflow that
 * reads. What was never encrypted passes as it is.
 */
export class EncryptingCodec implements PayloadCodec {
  constructor(private readonly keys: PayloadKeys) {}

  async encode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    return payloads.map((payload) => this.encrypt(payload, ownerOf(context)));
  }

  /** @throws PayloadDecryptionError */
  async decode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    return payloads.map((payload) =>
      text(payload.metadata?.[METADATA_ENCODING_KEY]) === encoding ? this.decrypt(payload, context) : payload,
    );
  }

  private encrypt(given: Payload, owner: PayloadOwner | undefined): Payload {
    const { currentId } = this.keys;
    const nonce = randomBytes(nonceBytes);
    const payload = bind(given, { nonce, owner });
    const cipher = createCipheriv('aes-256-gcm', this.keys.byId.get(currentId) as Buffer, nonce, tag);
    // The key's id is part of what is vouched for.
    cipher.setAAD(bytes(currentId));
    const clear = temporal.api.common.v1.Payload.encode(payload).finish();
    const data = Buffer.concat([nonce, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
    return { metadata: { [METADATA_ENCODING_KEY]: bytes(encoding), [keyIdName]: bytes(currentId) }, data };
  }

  private decrypt(payload: Payload, context: SerializationContext | undefined): Payload {
    const reader = ownerOf(context);
    const { nonce, clear } = this.open(payload, reader);
    const { payload: inner, owner } = unbind(clear, nonce);
    if (owner && reader && !isSame(owner, reader)) {
      throw new PayloadMovedError(
        `A payload of ${nameOf(owner)} was found in ${nameOf(reader)} and is refused: somebody moved it there. ` +
          'Nothing of it was used. docs/operations.md (Encryption) says how that workflow goes on.',
      );
    }
    return inner;
  }

  private open({ metadata, data }: Payload, reader: PayloadOwner | undefined): { nonce: Buffer; clear: Payload } {
    const keyId = text(metadata?.[keyIdName]) ?? '';
    const key = this.keys.byId.get(keyId) ?? this.refuseKey(keyId, reader);
    const sealed = Buffer.from(data ?? []);
    const nonce = sealed.subarray(0, nonceBytes);
    try {
      if (sealed.length < nonceBytes + tagBytes) throw new Error('cut');
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, tag);
      decipher.setAAD(bytes(keyId));
      decipher.setAuthTag(sealed.subarray(-tagBytes));
      const clear = Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()]);
      return { nonce, clear: temporal.api.common.v1.Payload.decode(clear) };
    } catch {
      throw new PayloadDecryptionError(
        `A payload${inside(reader)} was changed, or the key ${keyId} of this process is another one than it was encrypted under. ` +
          'Nothing of it was used. Compare that entry of SPENDLOCK_PAYLOAD_KEYS with the other processes.',
      );
    }
  }

  private refuseKey(keyId: string, reader: PayloadOwner | undefined): never {
    const known = [...this.keys.byId.keys()].join(', ');
    const named = isKeyId(keyId) ? keyId : '(no id of a key)';
    throw new PayloadDecryptionError(
      `A payload${inside(reader)} was encrypted under the key ${named}, and SPENDLOCK_PAYLOAD_KEYS of this process has only ${known}. ` +
        'Put that key back, behind the first, and restart: what waits for it goes on. ' +
        'Keep a key for as long as a history that it encrypted is kept.',
    );
  }
}

const inside = (reader: PayloadOwner | undefined): string => (reader ? ` in ${nameOf(reader)}` : '');
