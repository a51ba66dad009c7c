/** What the routes of usage, of the ledger and of quota checks take and give. */
import { z } from '@hono/zod-openapi';
import { isUsageGrouping, usageGroups } from '../../core/usage-groups';
import { operationIdSchema, runIdSchema, tenantIdSchema, userIdSchema } from '../http/ids';
import { labelQuery, labelsSchema, labelsView } from '../http/labels';
import { pageFields, pageQuery } from '../http/pages';
import { amount, cacheSavedUsd, modelName, moment, ofTenant, resourceSchema } from '../http/schemas';
import { plainText } from '../http/text';
import { quotaView } from '../tenants/schemas';

/** What is going to be done, for the gate: a sum, a model call, or a sandbox. */
export const quotaCheckBody = z
  .strictObject({
    ...ofTenant,
    userId: userIdSchema.optional(),
    labels: labelsSchema.optional(),
    runId: runIdSchema.optional().openapi({
      description:
        'The run, conversation or workflow of your own that the call would belong to, as of a reservation: its labels and its limit count too, and the limits of what it belongs to.',
    }),
    resource: resourceSchema.default('llm'),
    amountUsd: amount.optional().openapi({ description: 'What it may cost at most, as a reservation says it.' }),
    estimatedUsd: amount.optional().openapi({ description: 'The former name of `amountUsd`.', deprecated: true }),
    call: z
      .strictObject({
        model: modelName,
        inputTokens: z.number().int().min(0).max(100_000_000),
        maxOutputTokens: z.number().int().min(0).max(100_000_000),
      })
      .optional(),
    sandbox: z
      .strictObject({ tier: z.string().default('standard'), seconds: z.number().int().min(1).max(86_400).default(300) })
      .optional(),
  })
  .superRefine(({ amountUsd, estimatedUsd }, context) => {
    if (amountUsd !== undefined && estimatedUsd !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['estimatedUsd'],
        message: 'is the former name of amountUsd: name one',
      });
  });
export type QuotaCheckBody = z.infer<typeof quotaCheckBody>;

export const quotaCheckView = z.object({
  allowed: z.literal(true),
  resourceType: z.string(),
  estimatedCostUsd: z.string().nullable(),
  quotas: z.array(quotaView),
});

export const costRecordsQuery = z.strictObject({
  tenantId: tenantIdSchema.optional(),
  from: moment.optional(),
  to: moment.optional(),
  userId: userIdSchema.optional(),
  runId: runIdSchema.optional(),
  conversationId: runIdSchema.optional(),
  operationId: operationIdSchema.optional(),
  model: modelName.optional(),
  kind: plainText(100).optional(),
  resource: resourceSchema.optional(),
  settlement: z.enum(['actual', 'unverified']).optional(),
  label: labelQuery.optional(),
  format: z.enum(['json', 'csv']).default('json').openapi({ description: 'csv: all that match.' }),
  ...pageQuery,
});

export const costRecordView = z.object({
  costRecordId: z.string(),
  operationId: z.string(),
  entry: z.string(),
  tenantId: z.string(),
  userId: z.string().nullable(),
  runId: z.string().nullable(),
  conversationId: z.string().nullable(),
  turnId: z.string().nullable(),
  kind: z.string(),
  resource: z.string(),
  model: z.string().nullable(),
  priceVersion: z.string().nullable(),
  amountUsd: z.string(),
  estimatedUsd: z.string().nullable(),
  settlement: z.enum(['actual', 'unverified']),
  usage: z.unknown(),
  postedAt: z.string(),
  recordedAt: z.string(),
  reason: z.string().nullable().openapi({ description: 'Why a person corrected it, of an entry `adjustment`.' }),
  labels: labelsView,
});
export type CostRecordView = z.infer<typeof costRecordView>;
export const costRecordsView = z.object({ records: z.array(costRecordView), ...pageFields });

/** Written out here, as the package's types are: it has no module of ours to name one from. */
const spelledGrouping = z.union([z.enum(usageGroups), z.templateLiteral(['label:', z.string()])]);
/** One of these, or a label by its key. */
const usageGrouping = z
  .custom<z.output<typeof spelledGrouping>>(
    (asked) => spelledGrouping.safeParse(asked).success && isUsageGrouping(asked as string),
    {
      error: `must be ${usageGroups.join(', ')} or a label such as label:team`,
    },
  )
  .openapi({
    type: 'string',
    description: `${usageGroups.join(', ')}, or a label by its key: label:team.`,
    example: 'label:team',
  });

export const usageQuery = z.strictObject({
  tenantId: tenantIdSchema.optional(),
  from: moment.optional(),
  to: moment.optional(),
  groupBy: usageGrouping.default('model'),
  thenBy: usageGrouping.optional().openapi({ description: 'Each group once more, by another thing.' }),
  label: labelQuery.optional(),
  format: z.enum(['json', 'csv']).default('json'),
});

export const usageView = z.object({
  from: z.string(),
  to: z.string(),
  groupBy: usageGrouping,
  thenBy: z.union([usageGrouping, z.null()]),
  costUsd: z.string().openapi({ description: 'Of all groups, also of those that `lines` leaves out.' }),
  groups: z.number().openapi({ description: 'How many there are.' }),
  isCut: z.boolean().openapi({ description: 'Whether `lines` has only the dearest 1,000; csv has all.' }),
  lines: z.array(
    z.object({
      group: z.string().openapi({
        description:
          'Empty for what has none. Of a label `other`: what is beyond its thousandth value, or the sets of a day.',
      }),
      thenGroup: z.string().optional().openapi({ description: 'With `thenBy`.' }),
      costUsd: z.string(),
      unverifiedUsd: z.string(),
      cacheSavedUsd,
      operations: z.number().openapi({
        description:
          'How many were charged as they ended. The cost of one that had ended without any, since it was released or ran out, and was told later, is in `costUsd` alone.',
      }),
    }),
  ),
});
