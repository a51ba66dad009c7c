/** What the routes of requests for money take and give. */
import { z } from '@hono/zod-openapi';
import { moneyRequestStatuses } from '../../store/money-requests';
import { bindingQuotaView } from '../http/denials';
import { labelsView } from '../http/labels';
import { pageFields } from '../http/pages';
import { amountAboveZero, author, ofTenant, reason, roleSchema } from '../http/schemas';

export const moneyAnswerBody = z
  .strictObject({
    ...ofTenant,
    decision: z.enum(['grant', 'refuse']),
    amountUsd: amountAboveZero.optional().openapi({
      description:
        'By how much more what its limits allow is to be; `askedUsd` when absent. Each limit that would stand in the way is topped up for that, of the tenant, the user and labels.',
    }),
    expiresAt: z.iso.datetime({ offset: true }).optional().openapi({
      description:
        'When what is unused of it is taken back, at most 366 days from now. When the period ends where nothing is said.',
    }),
    reason: reason.optional(),
    author,
  })
  .refine(({ decision, amountUsd }) => decision === 'grant' || amountUsd === undefined, {
    path: ['amountUsd'],
    error: 'must not be there where nothing is granted',
  })
  .refine(({ decision, expiresAt }) => decision === 'grant' || expiresAt === undefined, {
    path: ['expiresAt'],
    error: 'must not be there where nothing is granted',
  });
export type MoneyAnswerBody = z.infer<typeof moneyAnswerBody>;

export const moneyRequestView = z.object({
  requestId: z.string(),
  runId: z.string().nullable().openapi({ description: 'Null for a workflow of your own.' }),
  workflowId: z.string(),
  userId: z.string().nullable(),
  kind: z.string().openapi({ description: 'What the denied step is for, such as `llm.call`.' }),
  resource: z.string(),
  labels: labelsView.nullable(),
  quota: bindingQuotaView.openapi({ description: 'The limit that refused, as it was then.' }),
  lacksUsd: z.string().openapi({ description: 'What its limits lacked for the step. With less it asks again.' }),
  askedUsd: z.string().openapi({ description: 'Room for all of the step, and for one more like it, in whole cents.' }),
  steps: z
    .number()
    .nullable()
    .openapi({ description: 'The paid steps of the run before; null of a workflow of your own.' }),
  costUsd: z.string().nullable().openapi({ description: 'What those cost.' }),
  lastAnswer: z
    .object({
      status: z.enum(['granted', 'refused', 'withdrawn', 'expired']),
      grantedUsd: z.string().nullable(),
      reason: z.string().nullable(),
      decidedBy: z.string().nullable(),
    })
    .nullable()
    .openapi({ description: 'What the request before this one came to.' }),
  status: z.enum(moneyRequestStatuses).openapi({
    description:
      '`withdrawn`: nobody waits any more, since it got money otherwise, was cancelled or ended. `expired`: nobody answered until `waitsUntil`.',
  }),
  grantedUsd: z.string().nullable().openapi({ description: 'By how much more what its limits allow is.' }),
  lifted: z
    .array(
      z.object({
        scope: z.enum(['tenant', 'user', 'label']),
        scopeId: z.string(),
        resourceType: z.string(),
        period: z.enum(['day', 'week', 'month', 'lifetime']),
        amountUsd: z.string(),
      }),
    )
    .nullable()
    .openapi({ description: 'The limits that were topped up for that, each by its amount.' }),
  expiresAt: z
    .string()
    .nullable()
    .openapi({ description: 'When what is unused of the grant goes; null for the period’s end.' }),
  reason: z.string().nullable(),
  decidedBy: z.string().nullable(),
  decidedByKeyId: z.string().nullable().openapi({ description: 'Null for a signal from Temporal.' }),
  decidedByRole: roleSchema.nullable(),
  createdAt: z.string(),
  waitsUntil: z.string(),
  mayAnswer: z.array(roleSchema).openapi({
    description: 'The roles whose keys may answer. An agent’s is none of them: who spends does not also grant.',
  }),
  decidedAt: z.string().nullable(),
});
export type MoneyRequestView = z.infer<typeof moneyRequestView>;
export const moneyRequestsView = z.object({ requests: z.array(moneyRequestView), ...pageFields });
