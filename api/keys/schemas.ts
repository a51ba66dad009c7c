/** What the routes of keys take and give. */
import { z } from '@hono/zod-openapi';
import { tenantRoles } from '../../core/roles';
import { author, ofTenant, roleSchema } from '../http/schemas';
import { keyIdSchema } from '../http/ids';
import { labelsSchema, labelsView } from '../http/labels';
import { pageFields } from '../http/pages';
import { plainText } from '../http/text';

export const currentKeyView = z.object({
  apiKeyId: z.string(),
  tenantId: z.string().nullable().openapi({ description: 'Null for a key of the administration.' }),
  role: roleSchema,
  links: z
    .object({ workflow: z.string().optional(), trace: z.string().optional() })
    .openapi({ description: 'Addresses with {workflowId} or {traceId} in them.' }),
});

export const createKeyBody = z
  .strictObject({
    ...ofTenant,
    role: z
      .enum(['administration', ...tenantRoles])
      .optional()
      .openapi({
        description:
          'Of a tenant’s key; `agent` when absent. A key without a tenant is the administration’s, which has to be said.',
      }),
    label: z.union([z.literal(''), plainText(200).trim()]).default(''),
    labels: labelsSchema.optional(),
    author,
  })
  .refine(({ tenantId, role }) => (tenantId === undefined) === (role === 'administration'), {
    path: ['role'],
    error:
      'a key without tenantId is one of the administration, which may do everything to every tenant: name the tenant, or say role "administration", and not both',
  });
export const revokeKeyBody = z.strictObject({
  ...ofTenant,
  confirm: keyIdSchema.optional().openapi({
    description: 'The key once more: without it the last key of the administration is not revoked.',
  }),
  author,
});
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
  role: roleSchema,
  label: z.string(),
  labels: labelsView,
  createdAt: z.string(),
  revokedAt: z.string().nullable().openapi({ description: 'From when on it is refused.' }),
});
export const keysView = z.object({ keys: z.array(keyView), ...pageFields });
export const newKeyView = z.object({
  apiKeyId: z.string(),
  apiKey: z.string().openapi({ description: 'Shown only now.' }),
  role: roleSchema,
});
export const rotatedKeyView = newKeyView.extend({ old: keyView });
