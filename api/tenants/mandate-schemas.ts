/** What the routes of a tenant's mandate take and give. */
import { z } from '@hono/zod-openapi';
import { whyNotDirectCodes } from '../../store/mandate-reasons';
import { author, reason } from '../http/schemas';

const moment = (description: string) => z.iso.datetime().nullable().openapi({ description });

export const mandateView = z.object({
  tenantId: z.string(),
  openUntil: moment('Until when processes that ask may decide, by the clock of Postgres; null while it is closed.'),
  rules: z.string().nullable().openapi({
    description: 'By which rules: their version, and what is enforced. Null before there was a mandate.',
    example: '1 e2b=on llm=on',
  }),
  recalledAt: moment('Since when it is recalled; null when it is not.'),
  recalledReason: z.string().nullable(),
  recalledBy: z.string().nullable(),
  granted: z.number().int().openapi({ description: 'Reserves that were granted directly, from the beginning on.' }),
  denied: z.number().int(),
  grantedUsd: z
    .string()
    .openapi({ example: '12.5', description: 'What they got; a part of an envelope is in what that got.' }),
  unseenSince: moment(
    'Since when there are direct decisions that the authority has not seen; null when it has seen all.',
  ),
  neededSince: moment(
    'Since when a direct decision left something for the authority to do; null when nothing is left.',
  ),
  notDirect: z.array(z.object({ code: z.enum(whyNotDirectCodes), message: z.string() })).openapi({
    description: 'Why the process that answers decides nothing of the tenant by itself now. Empty where it does.',
  }),
});
export const orderedMandateView = mandateView.extend({
  wasRecalled: z.boolean().openapi({ description: 'Whether it was recalled before this order.' }),
});
export const mandateBody = z.strictObject({ reason: reason.optional(), author });
