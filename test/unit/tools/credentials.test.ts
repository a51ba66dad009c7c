/** Credentials of tools: sealed for one tenant and one tool, opened by any key that is kept, and shown in no answer. */
import { randomBytes } from 'node:crypto';
import {
  credentialKeysFrom,
  cutWithoutCredential,
  seal,
  unseal,
  withoutCredential,
  type CredentialKeys,
} from '../../../tools/credentials';

const keyText = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`;
const keysOf = (text: string): CredentialKeys => credentialKeysFrom({ SPENDLOCK_TOOL_KEYS: text }) as CredentialKeys;
const owner = { tenantId: 'acme', name: 'weather' };
const value = 'Bearer s3cr3t-value';

describe('credentials of tools', () => {
  test('are opened by the key that sealed them, for as long as it is kept', () => {
    const [first, second] = [keyText('one'), keyText('two')];
    const sealed = seal(keysOf(first), owner, value);
    expect(sealed).not.toContain('s3cr3t');
    expect(unseal(keysOf(first), owner, sealed)).toBe(value);
    expect(unseal(keysOf(`${second},${first}`), owner, sealed)).toBe(value);
    expect(unseal(keysOf(second), owner, sealed)).toBeUndefined();
    expect(unseal(undefined, owner, sealed)).toBeUndefined();
  });

  test('open for nobody else, and not when they were changed', () => {
    const keys = keysOf(keyText('one'));
    const sealed = seal(keys, owner, value);
    expect(unseal(keys, { ...owner, tenantId: 'other' }, sealed)).toBeUndefined();
    expect(unseal(keys, { ...owner, name: 'other' }, sealed)).toBeUndefined();
    const at = sealed.length - 3;
    const changed = `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`;
    expect(unseal(keys, owner, changed)).toBeUndefined();
    for (const text of ['', 'v1', 'v1.one.x.y', 'v2.one.AAAA.BBBB']) expect(unseal(keys, owner, text)).toBeUndefined();
    expect(seal(keys, owner, value)).not.toBe(sealed);
  });

  test('are not shown where a tool echoes them, whole, bare, or written otherwise', () => {
    const credential = { header: 'authorization', value };
    const bare = 's3cr3t-value';
    const echoes = [
      value,
      bare,
      encodeURIComponent(value),
      Buffer.from(value).toString('base64'),
      Buffer.from(bare).toString('hex'),
    ];
    const shown = withoutCredential(echoes.join(' | '), credential);
    for (const echo of [value, bare, Buffer.from(value).toString('base64'), Buffer.from(bare).toString('hex')])
      expect(shown).not.toContain(echo);
    expect(shown.match(/\[credential\]/g)).toHaveLength(echoes.length);
    expect(withoutCredential('nothing of it', undefined)).toBe('nothing of it');
  });

  test.each([
    ['percent signs, small', (text: string) => encodeURIComponent(text).toLowerCase()],
    ['hex, capital', (text: string) => Buffer.from(text).toString('hex').toUpperCase()],
    ['base64 without its end', (text: string) => Buffer.from(text).toString('base64').replace(/=+$/, '')],
    ['base64 for addresses', (text: string) => Buffer.from(text).toString('base64url')],
  ])('are not shown in %s', (_, spelled) => {
    const odd = 'a+b/c?d~e=f;ghi';
    expect(withoutCredential(`You sent ${spelled(odd)}.`, { header: 'x-key', value: odd })).toBe(
      'You sent [credential].',
    );
  });

  test.each([
    ['you sent Bearer s3cr', 'you sent '],
    ['you sent s3cr3t-valu', 'you sent '],
    [`in hex ${Buffer.from(value).toString('hex').slice(0, -1)}`, 'in hex '],
    ['you sent Bearer s3cr3t-value and Bearer', 'you sent [credential] and '],
    ['you sent Bearer s3cr3t-value', 'you sent [credential]'],
    ['nothing of it', 'nothing of it'],
  ])('are not shown in part where an answer was cut: %s', (text, shown) => {
    expect(cutWithoutCredential(text, { header: 'authorization', value })).toBe(shown);
    expect(cutWithoutCredential(text, undefined)).toBe(text);
  });

  test('a wrong variable is named, and no key is repeated', () => {
    expect(credentialKeysFrom({})).toBeUndefined();
    expect(() => keysOf('one:c2hvcnQ=')).toThrow(/^SPENDLOCK_TOOL_KEYS: entry 1 (?!.*c2hvcnQ)/);
  });
});
