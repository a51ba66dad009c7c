/** What the routes of the audit and of alerts take and give. */
import { z } from '@hono/zod-openapi';
import { pageFields, pageQuery } from '../http/pages';
import { tenantQuery } from '../http/schemas';
import { plainText } from '../http/text';

export const auditQuery = tenantQuery.extend({ ...pageQuery, action: plainText(100).optional() });
export const auditView = z.object({
  entries: z.array(
    z.object({
      auditEntryId: z.string(),
      tenantId: z.string().nullable().openapi({
        description: 'Null for what is of no tenant: prices, platform quotas, keys of the administration.',
      }),
      action: z.string(),
      details: z.record(z.string(), z.unknown()).openapi({ description: 'What was ordered, and why.' }),
      author: z.string().nullable(),
      apiKeyId: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
  ...pageFields,
});

export const alertsQuery = tenantQuery.extend(pageQuery);
export const alertView = z.object({
  alertId: z.string(),
  kind: z.enum(['quota_warning', 'quota_exceeded', 'overrun', 'money_request']),
  threshold: z.number().nullable(),
  details: z.record(z.string(), z.unknown()),
  raisedAt: z.string(),
  sentAt: z.string().nullable(),
});
export const alertsView = z.object({ alerts: z.array(alertView), ...pageFields });
