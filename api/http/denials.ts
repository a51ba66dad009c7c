/** A refused request as callers see it: requirements C1 to C3. */
import { z } from '@hono/zod-openapi';
import type { BindingQuota, Rejection, Resource } from '../../core/budget/commands';
import { counted } from '../../core/counted';
import { omitUndefined } from '../../core/omit-undefined';
import { parseUsd, usdToNumber } from '../../core/money';
import { fitsWithoutHolds } from '../../core/budget/denials';
import { utilizationPercent } from '../../core/budget/quotas';
import { ApiError } from './errors';
import { quotaFigures } from './schemas';

/** C1. Its amounts are JSON numbers, as clients of this format expect; they are for display. */
export const quotaDetailsView = z.object({
  scope: z.enum(['platform', 'tenant', 'user', 'label']),
  scopeId: z.string(),
  resourceType: z.string(),
  limitUsd: z.number(),
  currentSpendUsd: z.number(),
  estimatedCostUsd: z.number().optional(),
  remainingUsd: z.number(),
  period: z.enum(['day', 'week', 'month', 'lifetime']),
  utilizationPercent: z.number(),
});
export type QuotaDetails = z.infer<typeof quotaDetailsView>;

/** The quota that stood in the way, its amounts exact. */
export const bindingQuotaView = z
  .object({
    ...quotaFigures,
    estimatedUsd: z.string().openapi({ description: 'What was asked for; "0" when that is not known yet.' }),
    resetsAt: z.string().openapi({ description: 'In a far future when it never resets.' }),
  })
  .openapi('BindingQuota');
export type BindingQuotaView = z.infer<typeof bindingQuotaView>;

/** C2. */
export const denialView = z
  .object({
    error: z.literal('quota_exceeded'),
    message: z.string(),
    action: z.string().openapi({ description: 'What the reader can do.' }),
    requestId: z.string().openapi({ description: 'The same as in the header X-Request-Id, and in the log.' }),
    resourceType: z.string().openapi({ description: 'What the request would have been billed as.' }),
    quotaDetails: quotaDetailsView
      .optional()
      .openapi({ description: 'The quota with amounts as numbers, for display.' }),
    quota: bindingQuotaView.optional().openapi({ description: 'The same quota with exact amounts.' }),
    retryAfter: z.number().optional().openapi({
      description: 'Seconds until the same request may fit. Absent where waiting cannot help.',
    }),
    operationId: z.string().optional().openapi({ description: 'The refused operation, when the caller named one.' }),
  })
  .openapi('Denial');
/** A denial, as far as whoever denies knows it. */
export type DenialBody = Omit<z.infer<typeof denialView>, 'action' | 'requestId'>;

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
  ...(quota ? { quotaDetails: quotaDetails(quota), quota } : {}),
  ...(retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds }),
});

/**
 * What a denial's header says where waiting by itself cannot help, which its body says by having no `retryAfter`: when to look
 * whether somebody has raised the quota. Clients of HTTP that find no header ask again within a second.
 */
export const hopelessSeconds = 3_600;

const orRaise = 'or raise the quota that the error names';

/** What whoever is denied can do, by what stands in the way: money that is only held, a period, or the limit itself. */
function actionOf({ quota, retryAfter }: DenialBody): string {
  const again = retryAfter === undefined ? undefined : `ask again after ${counted(retryAfter, 'second')}`;
  // Of the platform's money nobody is told who holds how much.
  const neededUsd = parseUsd(quota?.estimatedUsd ?? '0') || 1n;
  if (quota && quota.scope !== 'platform' && fitsWithoutHolds(quota, neededUsd))
    return `What is missing is only held, and may come back: ${again ?? 'ask again when it has'}, ${orRaise}.`;
  if (again !== undefined) return `A${again.slice(1)}, ${orRaise}.`;
  const why = quota?.period === 'lifetime' ? 'it never resets' : 'waiting does not help';
  return `Ask for less, ${orRaise}: ${why}. Look in an hour whether somebody has.`;
}

/** The same as it is answered. */
export const deniedAnswer = (body: DenialBody, requestId: string): z.infer<typeof denialView> => ({
  ...body,
  action: actionOf(body),
  requestId,
});

/** A reserve that was rejected: for good, or, where only what is held of a run's limit stands in its way, for now. */
export function rejected({
  code,
  message,
  operationId,
  retryAfterSeconds: retryAfter,
}: Pick<Rejection, 'code' | 'message' | 'retryAfterSeconds'> & { operationId?: string }): ApiError {
  const named = omitUndefined({ operationId });
  if (retryAfter === undefined) return new ApiError(code, message, named);
  const action = `What is missing is only held, and may come back: ask again after ${counted(retryAfter, 'second')}, a reservation under a new operation id, or start the run again with a higher limit.`;
  return new ApiError(code, message, { ...named, action, retryAfter });
}

/** One server-sent event. */
export const sseEvent = ({ event, data, id }: { event: string; data: unknown; id?: number }): string =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/** C3, and the end of a stream whose run was denied midway (C5). */
export const denialEvents = (body: DenialBody): string =>
  sseEvent({ event: 'error', data: body }) + sseEvent({ event: 'done', data: { status: 'quota_exceeded' } });
