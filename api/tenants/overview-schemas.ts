/** How a tenant stands, as the dashboard is told. */
import { z } from '@hono/zod-openapi';
import { pageFields } from '../http/pages';
import { alertView } from '../records/schemas';
import { allowedUsd, askingWorkflow, ofEnvelopeFields, unreserved } from '../reservations/schemas';
import { usageView } from '../usage/schemas';
import { frozenFields, moreQuotas, quotaView, shadowQuotas } from './schemas';

const usageLines = usageView.shape.lines;
const at = z.string();
/** What an operation was for, and whose. */
const operationFields = {
  operationId: z.string(),
  runId: z.string().nullable(),
  workflowId: askingWorkflow,
  userId: z.string().nullable(),
  kind: z.string(),
  resource: z.string(),
  model: z.string().nullable(),
};
/** A tenant in a list of them, with its monthly quota for everything. Amounts are decimal strings. */
export const tenantSummary = z.object({
  tenantId: z.string(),
  name: z.string(),
  frozenReason: z.string().nullable(),
  limitUsd: z.string().nullable(),
  spentUsd: z.string().nullable(),
  reservedUsd: z.string().nullable(),
  createdAt: at,
});
export const tenantsView = z.object({ tenants: z.array(tenantSummary), ...pageFields });

/** How a tenant stands. */
export const overviewView = z.object({
  tenantId: z.string(),
  name: z.string(),
  ...frozenFields,
  ...moreQuotas,
  ...shadowQuotas,
  quotas: z.array(
    quotaView.extend({
      forecast: z
        .object({ projectedUsd: z.string(), exhaustedAt: z.string().nullable() })
        .nullable()
        .openapi({ description: 'Where its spend is heading; null in the first hour of its period.' }),
    }),
  ),
  spend: z.object({
    from: at,
    byDay: usageLines,
    byModel: usageLines,
    byUser: usageLines,
    byKind: usageLines,
    byResource: usageLines,
    labelKeys: z
      .array(z.string())
      .openapi({ description: 'The keys of its labels, a hundred at most: what usage can be asked by.' }),
  }),
  denials: z.array(
    z.object({
      ...operationFields,
      requestedUsd: z.string(),
      reason: z.string(),
      quota: z
        .looseObject({ scope: z.string(), scopeId: z.string(), resourceType: z.string(), period: z.string() })
        .nullable(),
      deniedAt: at,
    }),
  ),
  alerts: z.array(alertView),
  holds: z.array(
    z.object({
      ...operationFields,
      claimed: z.boolean(),
      heldUsd: z.string(),
      unreserved,
      allowedUsd,
      ...ofEnvelopeFields,
      decidedAt: at,
      expiresAt: at.nullable(),
    }),
  ),
  waiting: z
    .array(
      z.object({
        workflowId: z.string(),
        runId: operationFields.runId,
        userId: operationFields.userId,
        resource: operationFields.resource,
        neededUsd: z.string(),
        since: at,
      }),
    )
    .openapi({
      description:
        'Steps that were denied and wait for money, of runs and of workflows of your own (`runId` null), in the order in which it comes to them. At most 100.',
    }),
  open: z.object({
    runs: z.number(),
    conversations: z.number(),
    waitingForMoney: z.number(),
    sandboxes: z.number(),
    approvals: z.number(),
  }),
});
export type OverviewView = z.infer<typeof overviewView>;
