/**
 * How lists are paged, all of them: `limit` says how much one answer has, `nextCursor` of the answer is the `cursor` of the next,
 * and null in the last. What a cursor has in it is nobody's business but the list's.
 */
import { z } from '@hono/zod-openapi';
import { ApiError } from './errors';

const limitMax = 1_000;

/** The parameters of a list. */
export const pageQuery = {
  cursor: z
    .string()
    .min(1)
    .max(500)
    .optional()
    .openapi({ description: 'The `nextCursor` of the page before. The first page when absent.' }),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(limitMax)
    .default(100)
    .openapi({ description: 'How much a page has at most. Where its entries are large it may have less.' }),
};
/** What every page says beside its entries. */
export const pageFields = {
  nextCursor: z.string().nullable().openapi({ description: 'The `cursor` of the next page; null in the last.' }),
};

/** Where a page begins: what the list sorts by, of the entry before it. */
export type Place = readonly (string | number)[];

/** Of a list that is numbered. */
export const numberedPlace = z.tuple([z.string().regex(/^\d{1,18}$/)]);

export const cursorOf = (place: Place | undefined): string | null =>
  place === undefined ? null : Buffer.from(JSON.stringify(place)).toString('base64url');

/** @throws ApiError for what no list of these entries gave out. */
export function placeOf<P extends z.ZodType<Place>>(cursor: string | undefined, schema: P): z.output<P> | undefined {
  if (cursor === undefined) return undefined;
  const { data, success } = schema.safeParse(parsed(cursor));
  if (success) return data;
  throw new ApiError(
    'invalid_request',
    'cursor: must be the `nextCursor` of a page of the same list. Nothing was done.',
  );
}

function parsed(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A page out of rows of which one more was read than it has. */
export function pageOf<Row>(
  rows: readonly Row[],
  { limit, place }: { limit: number; place: (row: Row) => Place },
): { rows: Row[]; nextCursor: string | null } {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return { rows: page, nextCursor: cursorOf(rows.length > limit && last !== undefined ? place(last) : undefined) };
}
