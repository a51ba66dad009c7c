/** Keys of encryption, from the environment. */

export interface PayloadKeys {
  /** Encrypts. */
  currentId: string;
  /** All decrypt. */
  byId: ReadonlyMap<string, Buffer>;
}

/** A variable does not hold keys. */
class PayloadKeysError extends Error {
  override readonly name = 'PayloadKeysError';
}

const keyBytes = 32;
/** What an id of a key looks like; a payload may claim anything. */
export const isKeyId = (id: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(id);

/** The keys of payloads. @throws PayloadKeysError */
export const payloadKeysFrom = ({ SPENDLOCK_PAYLOAD_KEYS: text }: NodeJS.ProcessEnv): PayloadKeys | undefined =>
  keysFrom('SPENDLOCK_PAYLOAD_KEYS', text);

/**
 * Reads `id:key[,id:key…]` of a variable: the first encrypts, all decrypt, so that a new key is put before the old one. A key is 32 bytes
 * in base64. Undefined when there are none: then nothing is encrypted.
 * @throws PayloadKeysError that says what is wrong, without repeating a key.
 */
export function keysFrom(variable: string, text: string | undefined): PayloadKeys | undefined {
  if (!text) return undefined;
  const byId = new Map<string, Buffer>();
  const entries = text.split(',').map((entry) => entry.trim());
  for (const [index, entry] of entries.entries()) {
    const [id = '', key = '', ...rest] = entry.split(':');
    const wrong = (what: string): PayloadKeysError =>
      new PayloadKeysError(`${variable}: entry ${index + 1} ${what}. Make a key with: openssl rand -base64 32`);
    if (!isKeyId(id) || rest.length > 0) throw wrong('must be id:key, the id of letters and digits');
    const decoded = Buffer.from(key, 'base64');
    if (decoded.length !== keyBytes || decoded.toString('base64') !== key) throw wrong('must have 32 bytes in base64');
    if (byId.has(id)) throw wrong(`repeats the id ${id}`);
    byId.set(id, decoded);
  }
  const [currentId] = byId.keys();
  return currentId === undefined ? undefined : { currentId, byId };
}
