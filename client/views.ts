/** What the API takes and gives, as types; and how an order travels. */
import type { z } from '@hono/zod-openapi';
import type { RequestOptions } from './http';

/** What a schema describes, once it was read. */
export type Of<S extends z.ZodType> = z.infer<S>;
/** What a schema takes: what has a default may be left out. */
export type Given<S extends z.ZodType> = z.input<S>;

/** An order, and the key under which a repeat of it does nothing a second time. One is made up when it is absent. */
export type Ordered<B extends object> = B & Pick<RequestOptions, 'idempotencyKey'>;

/** The body of an order, and what is said beside it. */
export const withoutKey = <B extends object>({
  idempotencyKey,
  ...body
}: Ordered<B>): [body: object, options: RequestOptions] => [body, { idempotencyKey }];
