/**
 * Ids, and the one spelling that each has.
 *
 * Everything that Postgres keeps as `uuid` (operations, runs, conversations, turns, approvals, keys, claims) has the spelling that
 * Postgres writes: lower-case digits in groups of 8-4-4-4-12. Postgres reads more than it writes: capitals, braces, and hyphens
 * left out or put after any group of four. Those name the same row, so they are the same id, and whatever comes from outside
 * is brought to the one spelling where it comes in: in the API's schemas, and in the decision for signals, which anybody may send.
 * What Postgres would not read is no id and is refused.
 *
 * Ids of tenants and users are their callers' own text. They are kept and compared as they are: `acme` and `Acme` are two.
 */

const asWritten = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const asRead = /^(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}$/i;

/** Whether a text is a UUID as the database writes it. */
export const isUuid = (text: string): boolean => asWritten.test(text);

/** The one spelling of a UUID; undefined for what Postgres would not read as one. */
export function parseUuid(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined;
  if (asWritten.test(text)) return text;
  const bare = text.startsWith('{') && text.endsWith('}') ? text.slice(1, -1) : text;
  if (!asRead.test(bare)) return undefined;
  const digits = bare.replaceAll('-', '').toLowerCase();
  return [
    [0, 8],
    [8, 12],
    [12, 16],
    [16, 20],
    [20, 32],
  ]
    .map(([from, to]) => digits.slice(from, to))
    .join('-');
}

/** The one spelling where there is one; any other text as it is, for those who say of it that there is no such thing. */
export const inOneSpelling = (text: string): string => parseUuid(text) ?? text;

/** How a tenant may be called. The schema of the database says the same. */
export const tenantIdPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Characters of the longest id of a user. */
export const userIdCharsMax = 128;
