/** What the routes share in describing themselves. */
import { z } from '@hono/zod-openapi';
import { pathIdSchema } from './ids';
import * as schemas from './schemas';

export const json = (schema: z.ZodType, description: string) => ({
  content: { 'application/json': { schema } },
  description,
});
/** A request's body, which has to be there. */
export const body = (schema: z.ZodType) => ({ required: true, content: { 'application/json': { schema } } });
export const failures = { default: json(schemas.errorView, 'What went wrong, what was kept, and what to do') };
export const idParam = (description: string) => z.object({ id: z.string().openapi({ description }) });
/** Of what has a UUID. */
export const uuidParam = (description: string) => z.object({ id: pathIdSchema(description) });
export const idempotencyHeader = z.object({
  'idempotency-key': z
    .string()
    .optional()
    .openapi({ description: 'A repeat with the same key gets the first answer.' }),
});
export const security = [{ bearer: [] }];

/** An answer that goes on: server-sent events. */
export const eventStream = (description: string) => ({
  content: { 'text/event-stream': { schema: z.string() } },
  description,
});
export const streamHeaders = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' };
