/** What the routes of tenants and their quotas take and give. */
import { z } from '@hono/zod-openapi';
import { isLabelKey } from '../../core/label-query';
import { operationIdSchema, tenantIdSchema, userIdSchema } from '../http/ids';
import { labelQuery } from '../http/labels';
import { pageFields, pageQuery } from '../http/pages';
import { amount, amountAboveZero, author, coveredSchema, quotaFigures, reason, roleSchema } from '../http/schemas';
import { plainText, plainWords } from '../http/text';
import { shownReservation } from '../reservations/schemas';

export const createTenantBody = z.strictObject({
  tenantId: tenantIdSchema,
  name: z.union([z.literal(''), plainText(200)]).optional(),
});

export const quotaView = z.object({
  ...quotaFigures,
  topupUsd: z.string().openapi({ description: 'What the limit is topped up by.' }),
  expiringTopups: z.array(z.object({ amountUsd: z.string(), expiresAt: z.string() })).openapi({
    description: 'What of it expires by itself, the first to expire first; each takes what is unused of it then.',
  }),
  inEnvelopesUsd: z.string().optional().openapi({
    description:
      'Of what is reserved, what envelopes and their parts hold: of limits that bind, in their list and the overview. Absent where there is none.',
  }),
  warningThreshold: z.number(),
  moreWarningThresholds: z.array(z.number()),
  resetsAt: z.string().nullable().openapi({ description: 'Null when it never resets.' }),
});

/** What names a quota among others of one order. */
interface Named {
  scope?: string;
  scopeId?: string | undefined;
  resourceType: string;
  period: string;
  enforced?: boolean | undefined;
}
const nameOf = ({ scope, scopeId, resourceType, period, enforced = true }: Named): string =>
  `the ${enforced ? '' : 'watched '}${resourceType} quota${scope === 'user' || scope === 'label' ? ` of ${scope} ${scopeId}` : ''} per ${period}`;

/** Limits that an order sets. One that comes twice is a mistake, and nobody could say which of the two is meant. */
export const limitsOnce = <S extends z.ZodType<Named>>(limit: S) =>
  z.array(limit).superRefine((quotas, context) => {
    const names = quotas.map(nameOf);
    const twice = names.find((name, at) => names.indexOf(name) < at);
    if (twice !== undefined) context.addIssue({ code: 'custom', message: `${twice} is in it twice` });
  });

/** Kept with four decimals. */
const share = z.number().gte(0.0001).lte(1);
/** Whose quota it is. */
const ofWhom = {
  scope: z.enum(['tenant', 'user', 'label']).default('tenant'),
  scopeId: userIdSchema.optional().openapi({
    description:
      'The user, of scope `user`; of scope `label` such as `team:search`. Of scope `tenant` it is the tenant, and may be absent.',
  }),
};
/** What a quota limits, and when it warns. */
const limits = {
  resourceType: coveredSchema,
  period: z.enum(['day', 'week', 'month', 'lifetime']).default('month'),
  limitUsd: amount,
  warningThreshold: share.optional(),
  moreWarningThresholds: z.array(share).max(10).optional(),
};

/** A limit that is only tried. */
export const triedLimit = z.strictObject({
  ...ofWhom,
  resourceType: limits.resourceType,
  period: limits.period,
  limitUsd: limits.limitUsd,
});

const enforced = z.boolean().optional().openapi({
  description:
    'Whether it binds, which it does unless this says `false`: then it counts and raises alerts, and refuses nothing. Both may be there at once.',
});
export const setQuotasBody = z.strictObject({
  quotas: limitsOnce(z.strictObject({ ...ofWhom, ...limits, enforced }))
    .min(1)
    .max(100),
  reason: reason.optional(),
  author,
});

export const quotasQuery = z.strictObject({
  userId: userIdSchema.optional().openapi({ description: 'The tenant and this user alone.' }),
  label: labelQuery.optional(),
});
export const moreQuotas = {
  moreUserQuotas: z.number().int().openapi({
    description: 'Quotas of users beyond the 500 quotas that are shown; `userId` shows those of one user.',
  }),
  moreLabelQuotas: z.number().int().openapi({ description: 'The same of labels; `label` shows those of one.' }),
};

/** Limits beside those that bind. */
export const shadowQuotas = {
  shadowQuotas: z.array(quotaView).openapi({
    description: 'Limits that are watched and refuse nothing, set with `enforced: false`; the first 500.',
  }),
};

/** Who may not reserve for now. */
export const frozenFields = {
  frozenReason: z
    .string()
    .nullable()
    .openapi({ description: 'Why the tenant may not reserve for now; null when it may.' }),
  frozenUsers: z
    .array(z.object({ userId: z.string(), reason: z.string() }))
    .openapi({ description: 'Users that are frozen themselves, the first hundred by name.' }),
};

export const quotasView = z.object({
  tenantId: z.string(),
  quotas: z.array(quotaView),
  ...shadowQuotas,
  ...moreQuotas,
  ...frozenFields,
});
export const newTenantView = z.object({
  tenantId: z.string(),
  name: z.string(),
  quotas: z.array(quotaView),
  apiKey: z.string().openapi({ description: 'Shown once.' }),
  role: roleSchema.openapi({ description: 'What this key may do.' }),
});

const platformQuotaView = quotaView.extend({
  leasedUsd: z.string().openapi({ description: 'What tenants have drawn of it, spent or not.' }),
});
export const platformQuotasView = z.object({ quotas: z.array(platformQuotaView) });
export const setPlatformQuotasBody = z.strictObject({
  quotas: limitsOnce(z.strictObject(limits)).min(1).max(12),
  reason: reason.optional(),
  author,
});
/** The quotas as they are after a change, and what of it cannot have the effect that it seems to have. */
export const setQuotasView = quotasView.extend({
  warnings: z.array(z.string()).openapi({ description: 'Limits above that of a quota which covers them.' }),
});
const quotaKey = {
  ...ofWhom,
  resourceType: coveredSchema.default('all'),
  period: z.enum(['day', 'week', 'month', 'lifetime']).default('month'),
};
export const topUpBody = z.strictObject({
  ...quotaKey,
  amountUsd: amountAboveZero,
  expiresAt: z.iso.datetime({ offset: true }).optional().openapi({
    description:
      'When what is unused of it is taken back, at most 366 days from now; in a later period than this, what is left goes on until then. When the period ends where nothing is said.',
  }),
  reason,
  author,
});
export const topUpView = z.object({
  tenantId: z.string(),
  scope: quotaKey.scope.unwrap(),
  scopeId: z.string(),
  resourceType: quotaKey.resourceType.unwrap(),
  period: quotaKey.period.unwrap(),
  amountUsd: z.string(),
  expiresAt: z.string().nullable().openapi({ description: 'Null when it is with the period.' }),
});
export const enforcementBody = z.strictObject({ ...quotaKey, reason, author });
const warningsOfChange = z.array(z.string()).openapi({
  description: 'What nothing of the tenant covers any more, and what its tools are billed as from now on.',
});
export const enforcementView = z.object({
  tenantId: z.string(),
  scope: quotaKey.scope.unwrap(),
  scopeId: z.string(),
  resourceType: quotaKey.resourceType.unwrap(),
  period: quotaKey.period.unwrap(),
  limitUsd: z.string(),
  topupUsd: z.string().openapi({ description: 'What the limit is topped up by until its period ends.' }),
  enforced: z.boolean(),
  replacedUsd: z.string().optional().openapi({ description: 'The limit that was there, whose place it took.' }),
  warnings: warningsOfChange,
});
export const removeQuotaBody = z.strictObject({ ...quotaKey, enforced, reason, author });
export const removedQuotaView = z.object({
  tenantId: z.string(),
  scope: quotaKey.scope.unwrap(),
  scopeId: z.string(),
  resourceType: quotaKey.resourceType.unwrap(),
  period: quotaKey.period.unwrap(),
  removed: z.literal(true),
  warnings: warningsOfChange,
});
const platformQuotaKey = { resourceType: quotaKey.resourceType, period: quotaKey.period };
export const removePlatformQuotaBody = z.strictObject({ ...platformQuotaKey, reason, author });
export const removedPlatformQuotaView = removedQuotaView.pick({ resourceType: true, period: true, removed: true });
export const freezeBody = z.strictObject({ userId: userIdSchema.optional(), reason, author });
export const unfreezeBody = z.strictObject({ userId: userIdSchema.optional(), reason: reason.optional(), author });
export const frozenView = z.object({
  tenantId: z.string(),
  userId: z.string().optional().openapi({ description: 'The tenant itself when absent.' }),
  frozen: z.boolean(),
  reasonBefore: z
    .string()
    .nullable()
    .openapi({ description: 'Why it was frozen before this order; null when it was not, so that nothing was lifted.' }),
});
const policy = {
  onUnavailable: z.enum(['wait', 'deny', 'allow']),
  answerTimeoutMs: z.number().int().min(100).max(600_000).default(5_000),
};
export const policyBody = z.strictObject({ ...policy, reason: reason.optional(), author });
export const policyView = z.object({
  tenantId: z.string(),
  ...policy,
  answerTimeoutMs: policy.answerTimeoutMs.unwrap(),
});
const userDefaults = limitsOnce(
  z.strictObject({
    resourceType: quotaKey.resourceType,
    period: quotaKey.period,
    limitUsd: amount,
    warningThreshold: share.default(0.8),
  }),
).max(20);
export const userDefaultsBody = z.strictObject({ quotas: userDefaults, reason: reason.optional(), author });
export const userDefaultsView = z.object({
  tenantId: z.string(),
  quotas: z.array(
    z.object({
      resourceType: quotaKey.resourceType.unwrap(),
      period: quotaKey.period.unwrap(),
      limitUsd: z.string(),
      warningThreshold: z.number(),
    }),
  ),
});
const labelDefault = {
  key: z.string().refine(isLabelKey, { error: 'must be the key of labels, such as team' }),
  resourceType: quotaKey.resourceType,
  period: quotaKey.period,
  limitUsd: amount,
  warningThreshold: share.default(0.8),
};
export const labelDefaultsBody = z.strictObject({
  quotas: z
    .array(z.strictObject(labelDefault))
    .max(20)
    .superRefine((quotas, context) => {
      const names = quotas.map(({ key, resourceType, period }) => `the ${resourceType} quota of ${key} per ${period}`);
      const twice = names.find((name, at) => names.indexOf(name) < at);
      if (twice !== undefined) context.addIssue({ code: 'custom', message: `${twice} is in it twice` });
    }),
  reason: reason.optional(),
  author,
});
export const labelDefaultsView = z.object({
  tenantId: z.string(),
  quotas: z.array(
    z.object({
      key: z.string(),
      resourceType: quotaKey.resourceType.unwrap(),
      period: quotaKey.period.unwrap(),
      limitUsd: z.string(),
      warningThreshold: z.number(),
    }),
  ),
});
export const adjustmentBody = z.strictObject({
  operationId: operationIdSchema,
  costUsd: amount.openapi({ description: 'What the operation really cost, in all.' }),
  reason,
  author,
});
export const adjustmentView = z.object({
  tenantId: z.string(),
  operationId: z.string(),
  costUsd: z.string(),
  differenceUsd: z.string(),
});
export const holdsQuery = z.object({ unverified: z.enum(['true', 'false']).optional(), ...pageQuery });
export const holdsView = z.object({ tenantId: z.string(), holds: z.array(shownReservation), ...pageFields });
export const releaseHoldBody = z.strictObject({ reason, author });

export const deleteTenantBody = z.strictObject({
  confirm: tenantIdSchema.openapi({ description: 'The tenant once more: what is deleted does not come back.' }),
  reason: plainWords(1_000),
  author,
});
export const deletedView = z.object({ tenantId: z.string(), deleted: z.literal(true) });
