/** What the routes of keys take and give. */
import { z } from '@hono/zod-openapi';
import { author, ofTenant } from '../http/schemas';
import { plainText } from '../http/text';

export const currentKeyView = z.object({
  tenantId: z.string().nullable().openapi({ description: 'Null for a key of the administration.' }),
  links: z
    .object({ workflow: z.string().optional(), trace: z.string().optional() })
    .openapi({ description: 'Addresses with {workflowId} or {traceId} in them.' }),
});

export const createKeyBody = z.strictObject({
  ...ofTenant,
  label: z.union([z.literal(''), plainText(200).trim()]).default(''),
  author,
});
export const revokeKeyBody = z.strictObject({ ...ofTenant, author });
export const rotateKeyBody = z.strictObject({
  ...ofTenant,
  graceSeconds: z
    .number()
    .int()
    .min(0)
    .max(2_592_000)
    .default(3_600)
    .openapi({ description: 'How long the old key is still taken.' }),
  author,
});
export const keyView = z.object({
  apiKeyId: z.string(),
  tenantId: z.string().nullable().openapi({ description: 'Null for a key of the administration.' }),
  label: z.string(),
  createdAt: z.string(),
  revokedAt: z.string().nullable().openapi({ description: 'From when on it is refused.' }),
});
export const newKeyView = z.object({
  apiKeyId: z.string(),
  apiKey: z.string().openapi({ description: 'Shown only now.' }),
});
export const rotatedKeyView = newKeyView.extend({ old: keyView });
