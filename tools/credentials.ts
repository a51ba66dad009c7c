/**
 * Credentials of tools, sealed by keys of the environment (AES-256-GCM), each for the tenant and the tool that it was given for: one that is
 * moved to another row in Postgres opens nothing there. `v1.<id of the key>.<nonce>.<ciphertext and tag>`, in base64url.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { keysFrom, type PayloadKeys } from '../temporal/encryption/keys';

export type CredentialKeys = PayloadKeys;

/** A header that each call of a tool has, such as `authorization`. */
export interface Credential {
  header: string;
  value: string;
}

interface Owner {
  tenantId: string;
  name: string;
}

const nonceBytes = 12;
const tagBytes = 16;

/** From SPENDLOCK_TOOL_KEYS, written as SPENDLOCK_PAYLOAD_KEYS are: the first seals, all open. Undefined when there are none. */
export const credentialKeysFrom = ({ SPENDLOCK_TOOL_KEYS }: NodeJS.ProcessEnv): CredentialKeys | undefined =>
  keysFrom('SPENDLOCK_TOOL_KEYS', SPENDLOCK_TOOL_KEYS);

const ownerOf = ({ tenantId, name }: Owner): Buffer => Buffer.from(JSON.stringify([tenantId, name]));

export function seal({ currentId, byId }: CredentialKeys, owner: Owner, value: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', byId.get(currentId) as Buffer, nonce).setAAD(ownerOf(owner));
  const sealed = Buffer.concat([cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return ['v1', currentId, nonce.toString('base64url'), sealed.toString('base64url')].join('.');
}

/** Undefined where no key opens it: another sealed it, or it is another's. */
export function unseal(keys: CredentialKeys | undefined, owner: Owner, text: string): string | undefined {
  const [, keyId = '', nonce = '', rest = ''] = /^v1\.(.+)\.([\w-]+)\.([\w-]+)$/.exec(text) ?? [];
  const key = keys?.byId.get(keyId);
  const sealed = Buffer.from(rest, 'base64url');
  if (!key || sealed.length < tagBytes) return undefined;
  try {
    const opened = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'))
      .setAAD(ownerOf(owner))
      .setAuthTag(sealed.subarray(-tagBytes));
    return Buffer.concat([opened.update(sealed.subarray(0, -tagBytes)), opened.final()]).toString('utf8');
  } catch {
    return undefined;
  }
}

/** A text in which a credential, as it is sent or as it may be echoed, is not shown. */
export function withoutCredential(text: string, credential: Credential | undefined): string {
  if (!credential) return text;
  return spellingsOf(credential).reduce((shown, one) => shown.replaceAll(one, '[credential]'), text);
}

/** The same of a text that was cut: what of a credential is left where it ends is not shown either. */
export function cutWithoutCredential(text: string, credential: Credential | undefined): string {
  const shown = withoutCredential(text, credential);
  const begun = credential ? spellingsOf(credential).map((one) => begunAtEnd(shown, one)) : [];
  return shown.slice(0, shown.length - Math.max(0, ...begun));
}

/** How many characters of a word a text ends with, which are not the whole of it. */
function begunAtEnd(text: string, word: string): number {
  let length = word.length - 1;
  while (length > 0 && !text.endsWith(word.slice(0, length))) length -= 1;
  return length;
}

const base64Of = (text: string): string => Buffer.from(text).toString('base64');

/** How a credential may be written, the longest first. */
function spellingsOf({ value }: Credential): string[] {
  const bare = value.replace(/^\w+ /, '');
  const spellings = [value, bare].flatMap((one) => {
    const [percent, base64, hex] = [encodeURIComponent(one), base64Of(one), Buffer.from(one).toString('hex')];
    return [
      ...[one, JSON.stringify(one).slice(1, -1)],
      ...[percent, percent.replaceAll(/%../g, (code) => code.toLowerCase())],
      ...[base64, base64.replace(/=+$/, ''), Buffer.from(one).toString('base64url')],
      ...[hex, hex.toUpperCase()],
    ];
  });
  return [...new Set(spellings)]
    .filter((one) => one.length >= shortestHidden)
    .sort((one, other) => other.length - one.length);
}

/** What is shorter stands in many a text by chance. */
const shortestHidden = 6;
