/** A refused request as callers see it: requirements C1 to C3. */
import { z } from '@hono/zod-openapi';
import type { BindingQuota, Resource } from '../../core/budget/commands';
import { parseUsd, usdToNumber } from '../../core/money';
import { utilizationPercent } from '../../core/budget/quotas';

/** C1. Its amounts are JSON numbers, as clients of this format expect; they are for display. */
export const quotaDetailsView = z.object({
  scope: z.enum(['platform', 'tenant', 'user']),
  scopeId: z.string(),
  resourceType: z.enum(['llm', 'e2b', 'all']),
  limitUsd: z.number(),
  currentSpendUsd: z.number(),
  estimatedCostUsd: z.number().optional(),
  remainingUsd: z.number(),
  period: z.enum(['day', 'week', 'month', 'lifetime']),
  utilizationPercent: z.number(),
});
export type QuotaDetails = z.infer<typeof quotaDetailsView>;

/** C2. */
export const denialView = z.object({
  error: z.literal('quota_exceeded'),
  message: z.string(),
  resourceType: z.enum(['llm', 'e2b']),
  quotaDetails: quotaDetailsView.optional(),
  retryAfter: z.number().optional().openapi({
    description: 'Seconds until the same request may fit. Absent where waiting cannot help.',
  }),
  operationId: z.string().optional().openapi({ description: 'The refused operation, when the caller named one.' }),
});
export type DenialBody = z.infer<typeof denialView>;

/** A request that money was refused for. */
export class Denied extends Error {
  constructor(readonly body: DenialBody) {
    super(body.message);
  }
}

export function quotaDetails(quota: BindingQuota): QuotaDetails {
  const number = (text: string): number => usdToNumber(parseUsd(text));
  return {
    scope: quota.scope,
    scopeId: quota.scopeId,
    resourceType: quota.resourceType,
    limitUsd: number(quota.limitUsd),
    currentSpendUsd: number(quota.spentUsd),
    ...(parseUsd(quota.estimatedUsd) === 0n ? {} : { estimatedCostUsd: number(quota.estimatedUsd) }),
    remainingUsd: number(quota.remainingUsd),
    period: quota.period,
    utilizationPercent: utilizationPercent({ spentUsd: parseUsd(quota.spentUsd), limitUsd: parseUsd(quota.limitUsd) }),
  };
}

export interface Denial {
  message: string;
  resource: Resource;
  quota?: BindingQuota | undefined;
  retryAfterSeconds?: number | undefined;
}

export const denialBody = ({ message, resource, quota, retryAfterSeconds }: Denial): DenialBody => ({
  error: 'quota_exceeded',
  message,
  resourceType: resource,
  ...(quota ? { quotaDetails: quotaDetails(quota) } : {}),
  ...(retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds }),
});

/** One server-sent event. */
export const sseEvent = ({ event, data, id }: { event: string; data: unknown; id?: number }): string =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/** C3, and the end of a stream whose run was denied midway (C5). */
export const denialEvents = (body: DenialBody): string =>
  sseEvent({ event: 'error', data: body }) + sseEvent({ event: 'done', data: { status: 'quota_exceeded' } });
