/**
 * Text from outside as Postgres can keep it. A model, a program or a file may say what no text column and no JSON column takes:
 * the character U+0000, and half of a pair of surrogates (a cut through a character leaves one). Each becomes U+FFFD, which says
 * that something stood there, so that lengths and positions stay as they were.
 */

export const replacementCharacter = '\ufffd';

// With the flag `u` a whole pair is one character, so only halves are surrogates.
const unstorable = /\p{Surrogate}|\0/gu;

/** The text with U+FFFD for each character that cannot be stored. */
export const storableText = (text: string): string => text.replace(unstorable, replacementCharacter);

/** The same for all of a JSON value: its texts and its keys, however deep. */
export function storable<T>(value: T): T {
  if (typeof value === 'string') return storableText(value) as T;
  if (Array.isArray(value)) return value.map((item: unknown) => storable(item)) as T;
  if (value === null || typeof value !== 'object') return value;
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [storableText(key), storable(item as unknown)]),
  ) as T;
}

/** How many characters of a text cannot be stored. */
export const unstorableIn = (text: string): number => text.match(unstorable)?.length ?? 0;

/**
 * Where a text may be cut at most so that no pair of surrogates is parted: the given place, or one before it.
 */
export function cutAt(text: string, length: number): number {
  const last = text.charCodeAt(length - 1);
  return length > 0 && length < text.length && last >= 0xd800 && last <= 0xdbff ? length - 1 : length;
}
