/** What the routes of reservations take and give. */
import { z } from '@hono/zod-openapi';
import { claimTokenSchema, operationIdSchema, runIdSchema, userIdSchema } from '../http/ids';
import { amount, author, ofTenant, reason, resourceSchema } from '../http/schemas';
import { labelsSchema, labelsView } from '../http/labels';
import { plainly, plainText } from '../http/text';
import { resourcesMax } from '../../core/resources';

/** What a call is for. */
const request = {
  userId: userIdSchema.optional(),
  runId: runIdSchema.optional().openapi({
    description:
      'The run, conversation or workflow of your own (by the run id of its first execution) that the call belongs to: its limit, and those of what it belongs to, bind the call too; of a conversation that of the turn that it is in, or was in last.',
  }),
  resource: resourceSchema,
  kind: plainText(100).default('external.call'),
  model: plainText(128).optional(),
  priceVersion: plainly(z.string().max(200)).default('caller'),
  labels: labelsSchema.optional(),
};

/** Money that a caller outside Temporal asks for. The caller chooses the operation id, and repeats it when it asks again. */
export const reserveBody = z.strictObject({
  operationId: operationIdSchema,
  ...ofTenant,
  ...request,
  amountUsd: amount,
  minimumUsd: amount
    .optional()
    .openapi({ description: 'The least of use: when less than all fits, the rest is granted.' }),
  ttlSeconds: z.number().gt(0).lte(604_800).default(300),
  onExpiry: z
    .enum(['release', 'settle'])
    .optional()
    .openapi({ description: 'What running out means. When absent: release, or settle once claimed.' }),
  envelope: z.boolean().optional().openapi({
    description:
      'Reserves the amount for what is to come: it is spent in parts, each a reservation with its operation id as `parentOperationId`. It is extended and released as others are, and neither claimed nor committed.',
  }),
  resources: z.array(resourceSchema).min(1).max(resourcesMax).optional().openapi({
    description: 'With `envelope`: what its parts may be, beside its `resource`. The limits of each hold the amount.',
  }),
  parentOperationId: operationIdSchema.optional().openapi({
    description:
      'The envelope that this is a part of, of the same user and labels, and of the same `runId` where it names one: what is in it is denied for no want of money, and beyond it the part is refused (`envelope_exceeded`).',
  }),
  orBeyond: z.boolean().optional().openapi({
    description:
      'With `parentOperationId`: what the envelope has no room for, or an envelope that has ended, is asked of the limits, as if none was named.',
  }),
});
export type ReserveBody = z.output<typeof reserveBody>;
export const grantView = z.object({
  operationId: z.string(),
  decision: z.literal('granted'),
  grantedUsd: z.string(),
  partial: z.boolean(),
  expiresAt: z.string(),
  parentOperationId: z.string().optional().openapi({ description: 'The envelope that the money came from.' }),
  unreserved: z.literal(true).optional().openapi({
    description:
      "Let through without a grant: the authority did not answer, and the tenant's policy allows it. `grantedUsd` is what was asked for, or the least limit that covers the call where that is less and at least the `minimumUsd`.",
  }),
});
export type GrantView = z.infer<typeof grantView>;

const claimToken = claimTokenSchema.optional();
export const claimBody = z.strictObject(ofTenant);
export const claimView = z.object({ operationId: z.string(), claimToken: z.string() });
/** Of JSON that says what a call used. */
export const usageBytesMax = 16 * 1024;
export const commitBody = z.strictObject({
  ...ofTenant,
  costUsd: amount,
  claimToken,
  usage: z.unknown().optional().openapi({
    description: 'What the call used, for the ledger. More than 16 KiB of it is left out; the cost is taken.',
  }),
  confirm: z.boolean().optional().openapi({
    description:
      'That the cost was billed so, where it is above $1 and at least 100 times what was granted: refused otherwise (422 `cost_unconfirmed`). With a key of an operator or of the administration only, whose word needs no `claimToken`, whatever the cost, and stands in the audit with its `reason`.',
  }),
  reason: reason.optional().openapi({
    description: 'Why it is confirmed, for the audit. With `confirm`, which needs it, and only with that.',
  }),
  author,
  unreserved: z
    .strictObject({
      ...request,
      amountUsd: amount.optional().openapi({
        description:
          'What it would have reserved. A cost of 100 times that has to be confirmed, or of 100 times the least limit that covers the call.',
      }),
    })
    .optional()
    .openapi({
      description:
        'What the call was, when it was made without a reservation since nobody answered. Taken from tenants whose policy is `allow`.',
    }),
});
export type CommitBody = z.output<typeof commitBody>;
export const committedView = z.object({
  operationId: z.string(),
  status: z.literal('committed'),
  confirmedBefore: z.literal(true).optional().openapi({
    description: 'Its cost was confirmed before: the audit keeps who did and why, and this reason is not noted.',
  }),
});
export type CommittedView = z.infer<typeof committedView>;

export const releaseBody = z.strictObject({ ...ofTenant, claimToken });
export const releasedView = z.object({ operationId: z.string(), status: z.literal('released') });
export const extendBody = z.strictObject({ ...ofTenant, ttlSeconds: z.number().gt(0).lte(604_800) });
export const extendedView = z.object({ operationId: z.string(), expiresAt: z.string() });

/** Who asked for an operation, where that is no run. */
export const askingWorkflow = z
  .string()
  .nullable()
  .openapi({ description: 'The id of the workflow that asked, where it is one of your own; else null.' });

export const unreserved = z.boolean().openapi({
  description: 'Let through without a grant, since its authority did not answer: it holds nothing.',
});
export const allowedUsd = z.string().nullable().openapi({ description: 'What it may spend then; else null.' });

/** A reservation as it stands. */
const reservationView = z.object({
  operationId: z.string(),
  userId: z.string().nullable(),
  runId: z.string().nullable(),
  workflowId: askingWorkflow,
  resource: z.string(),
  kind: z.string(),
  model: z.string().nullable(),
  labels: labelsView,
  status: z.enum(['granted', 'denied', 'rejected', 'committed', 'released', 'expired']),
  refused: z
    .object({ code: z.string(), message: z.string() })
    .nullable()
    .openapi({ description: 'Why it was denied or rejected, as its caller was told; else null.' }),
  requestedUsd: z.string(),
  grantedUsd: z.string().nullable(),
  unreserved,
  allowedUsd,
  committedUsd: z.string().nullable(),
  overrunUsd: z.string().nullable(),
  settlement: z.enum(['actual', 'unverified', 'released', 'expired']).nullable(),
  claimed: z.boolean(),
  outcome: z.enum(['billed', 'not_billed']).nullable().openapi({
    description:
      'What was told of its call, at once; `status` stays `granted` until that is counted in the balances, moments later.',
  }),
  outcomeUsd: z
    .string()
    .nullable()
    .openapi({ description: 'What the call was told to have cost; null where nothing was.' }),
  decidedAt: z.string(),
  expiresAt: z.string().nullable(),
  endedAt: z.string().nullable(),
});

/** What a reservation has to do with envelopes. */
export const ofEnvelopeFields = {
  parentOperationId: z.string().nullable().openapi({ description: 'The envelope that it is a part of; else null.' }),
  envelope: z
    .object({
      resources: z.array(z.string()),
      amountUsd: z.string(),
      restUsd: z.string().openapi({ description: 'What no part has taken; of one that has ended, what it freed.' }),
      partsHoldUsd: z.string(),
      partsSpentUsd: z.string().openapi({
        description: 'What its parts have cost of it; of those that ended after it, what they had taken.',
      }),
    })
    .nullable()
    .openapi({ description: 'How an envelope stands, which itself holds its rest; null for other reservations.' }),
};

/** The same with what it has to do with envelopes. */
export const shownReservation = reservationView.extend(ofEnvelopeFields);
