/**
 * Encrypts what Temporal keeps: inputs, results, signals, failures and details, by AES-256-GCM, with a new nonce each time. The
 * server, its database and its UI then hold ciphertext. Ids, workflow and activity types and search attributes stay readable:
 * Temporal works with them.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { METADATA_ENCODING_KEY, type Payload, type PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import type { PayloadKeys } from './keys';

const encoding = 'binary/encrypted';
const keyIdName = 'encryption-key-id';
const nonceBytes = 12;
const tagBytes = 16;
/** No other length of a tag is taken: a short one could be guessed. */
const tag = { authTagLength: tagBytes };

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | null | undefined): string | undefined =>
  value ? Buffer.from(value).toString() : undefined;

/** A payload was encrypted under a key that is not there, or was changed. */
export class PayloadDecryptionError extends Error {
  override readonly name = 'PayloadDecryptionError';
}

/** Encrypts with the current key, and decrypts with any. What was never encrypted passes as it is. */
export class EncryptingCodec implements PayloadCodec {
  constructor(private readonly keys: PayloadKeys) {}

  async encode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((payload) => this.encrypt(payload));
  }

  /** @throws PayloadDecryptionError */
  async decode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((payload) =>
      text(payload.metadata?.[METADATA_ENCODING_KEY]) === encoding ? this.decrypt(payload) : payload,
    );
  }

  private encrypt(payload: Payload): Payload {
    const { currentId } = this.keys;
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.keyOf(currentId), nonce, tag);
    // The key's id is part of what is vouched for.
    cipher.setAAD(bytes(currentId));
    const clear = temporal.api.common.v1.Payload.encode(payload).finish();
    const data = Buffer.concat([nonce, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
    return { metadata: { [METADATA_ENCODING_KEY]: bytes(encoding), [keyIdName]: bytes(currentId) }, data };
  }

  private decrypt({ metadata, data }: Payload): Payload {
    const keyId = text(metadata?.[keyIdName]) ?? '';
    const sealed = Buffer.from(data ?? []);
    const misfit = new PayloadDecryptionError(
      `A payload that the key ${keyId} is named for does not fit it, or was changed.`,
    );
    if (sealed.length < nonceBytes + tagBytes) throw misfit;
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.keyOf(keyId), sealed.subarray(0, nonceBytes), tag);
      decipher.setAAD(bytes(keyId));
      decipher.setAuthTag(sealed.subarray(-tagBytes));
      const clear = Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()]);
      return temporal.api.common.v1.Payload.decode(clear);
    } catch (error) {
      if (error instanceof PayloadDecryptionError) throw error;
      throw misfit;
    }
  }

  private keyOf(keyId: string): Buffer {
    const key = this.keys.byId.get(keyId);
    if (key) return key;
    const known = [...this.keys.byId.keys()].join(', ');
    throw new PayloadDecryptionError(
      `A payload was encrypted under the key ${JSON.stringify(keyId)}, and SPENDLOCK_PAYLOAD_KEYS has only ${known}. ` +
        'Keep a key there for as long as a history that it encrypted is kept.',
    );
  }
}
