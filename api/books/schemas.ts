/** What the routes of a tenant's books take and give. */
import { z } from '@hono/zod-openapi';
import { author, reason } from '../http/schemas';

export const repairBody = z.strictObject({ reason, author });

const difference = z.object({
  check: z.enum(['balance', 'reservation', 'labels', 'day', 'lease', 'request']),
  name: z.string().openapi({ description: 'Which quota, operation or day.' }),
  says: z.string(),
});
const mended = z.object({
  what: z.enum(['reservation', 'balance', 'day']),
  name: z.string(),
  from: z.string(),
  to: z.string(),
});
export const booksView = z.object({
  tenantId: z.string(),
  differences: z.array(difference).openapi({ description: 'What does not agree; at most 200 are told.' }),
  changes: z.array(mended).openapi({ description: 'What a mending changes. What is left over needs a person.' }),
});
