/** What the route of what-if takes and gives. */
import { z } from '@hono/zod-openapi';
import { moment } from '../http/schemas';
import { triedPrice } from '../prices/schemas';
import { limitsOnce, triedLimit } from '../tenants/schemas';

export const whatIfBody = z.strictObject({
  from: moment.optional().openapi({ description: 'Thirty days before `to` when absent.' }),
  to: moment.optional().openapi({ description: 'Now when absent.' }),
  limits: limitsOnce(triedLimit).max(100).default([]).openapi({
    description: 'Limits in place of those on record, or beside them. Without any, the record is only reproduced.',
  }),
  prices: z
    .array(triedPrice)
    .max(1_000)
    .optional()
    .openapi({ description: 'Prices by which the usage of the span is priced anew, one of each model.' }),
});

const limitView = z.object({
  scope: z.enum(['platform', 'tenant', 'user', 'label']),
  scopeId: z.string(),
  resourceType: z.string(),
  period: z.enum(['day', 'week', 'month', 'lifetime']),
  limitUsd: z.string(),
});
const requestView = z.object({
  operationId: z.string(),
  at: z.string(),
  userId: z.string().nullable(),
  resource: z.string(),
  askedUsd: z.string(),
  grantedUsd: z.string().nullable().openapi({ description: 'On record; null where it was refused.' }),
  wouldBeUsd: z.string().nullable().openapi({ description: 'What it would have been granted; null for nothing.' }),
  limit: limitView.nullable().openapi({ description: 'The limit that has the least left for it.' }),
});
const otherwise = {
  denied: z.int().openapi({ description: 'Granted, and would have been refused.' }),
  deniedUsd: z.string(),
  shrunk: z.int().openapi({ description: 'Granted, and would have got less; `shrunkUsd` is by how much.' }),
  shrunkUsd: z.string(),
  raised: z.int().openapi({
    description:
      'Refused or shrunk, and would have got more; `raisedUsd` is by how much. A step of a run that was refused and asked again counts once; what others ask again for counts each time.',
  }),
  raisedUsd: z.string(),
};
const sums = { operations: z.int(), recordedUsd: z.string() };

export const whatIfView = z.object({
  from: z.string(),
  to: z.string(),
  since: z.string().nullable().openapi({
    description: 'Where the order of decisions is on record only from later than `from` on: from when.',
  }),
  record: z
    .object({
      played: z.int().openapi({
        description: 'Requests that were decided once more. Of the others nothing is said by limits that are tried.',
      }),
      reproduced: z
        .int()
        .openapi({ description: 'Of them those that got the answer on record, by the limits that there were.' }),
      unlike: z.array(requestView).openapi({ description: 'The first that did not. There should be none.' }),
      notReplayed: z.array(z.object({ why: z.string(), requests: z.int() })).openapi({
        description: 'Requests that limits did not decide, or that have no place in the order. What they spent counts.',
      }),
    })
    .openapi({ description: 'The record, decided once more by the limits that there were.' }),
  limits: z.array(limitView).openapi({ description: 'Those that were tried.' }),
  ...otherwise,
  costs: z.object({ recordedUsd: z.string(), wouldBeUsd: z.string() }).openapi({
    description: 'What ended in the span cost, and would have cost.',
  }),
  byLimit: z.array(z.object({ limit: limitView.nullable(), firstAt: z.string(), ...otherwise })),
  byDay: z.array(z.object({ day: z.string(), ...otherwise })),
  first: z.array(requestView).openapi({ description: 'The first ten that would have been answered otherwise.' }),
  prices: z
    .object({
      recordedUsd: z.string(),
      wouldCostUsd: z.string().openapi({ description: 'With what could not be priced anew at what it cost.' }),
      byModel: z.array(z.object({ model: z.string(), ...sums, wouldCostUsd: z.string() })),
      leftOut: z.array(z.object({ why: z.string(), ...sums })),
    })
    .nullable(),
});
