/**
 * Statements that a connection parses once. From its sixth execution on it may plan one for any tenant, so that it is for those alone which
 * find all that they read by a key. The types of what they answer are written out, or a migration of one would have it refused for as long
 * as the connection lasts (as of `hot-calls.ts`).
 */
import { createHash } from 'node:crypto';

/** @param text One of few: each has a name of its own on each connection. */
export const planned = (
  text: string,
  values: readonly unknown[],
): { name: string; text: string; values: unknown[] } => ({
  name: nameOf(text),
  text,
  values: [...values],
});

const names = new Map<string, string>();

/** Postgres knows a statement by 63 bytes. */
function nameOf(text: string): string {
  const known = names.get(text);
  if (known !== undefined) return known;
  const name = createHash('sha256').update(text).digest('hex').slice(0, 32);
  names.set(text, name);
  return name;
}
