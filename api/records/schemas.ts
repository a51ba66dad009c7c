/** What the routes of the audit and of alerts take and give. */
import { z } from '@hono/zod-openapi';
import { tenantIdSchema } from '../http/ids';
import { plainText } from '../http/text';

const page = {
  tenantId: tenantIdSchema.optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
};
const next = z.string().nullable().openapi({ description: 'The `after` of the next page.' });
const mustBeNext = { error: 'must be the `next` of a page' };

export const auditQuery = z.strictObject({
  ...page,
  action: plainText(100).optional(),
  after: z
    .string()
    .regex(/^\d{1,18}$/, mustBeNext)
    .optional(),
});
export const auditView = z.object({
  entries: z.array(
    z.object({
      auditEntryId: z.string(),
      tenantId: z.string().nullable().openapi({
        description: 'Null for what is of no tenant: prices, platform quotas, keys of the administration.',
      }),
      action: z.string(),
      details: z.record(z.string(), z.unknown()),
      author: z.string().nullable(),
      apiKeyId: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
  next,
});

export const alertsQuery = z.strictObject({ ...page, after: z.uuid(mustBeNext).optional() });
export const alertView = z.object({
  alertId: z.string(),
  kind: z.enum(['quota_warning', 'quota_exceeded', 'overrun']),
  threshold: z.number().nullable(),
  details: z.record(z.string(), z.unknown()),
  raisedAt: z.string(),
  sentAt: z.string().nullable(),
});
export const alertsView = z.object({ alerts: z.array(alertView), next });
