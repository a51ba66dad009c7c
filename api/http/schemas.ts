/** What several rooms of the API take or give, as zod schemas: they check requests and make the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { ErrorCode } from '../../core/errors';
import { MoneyError, parseAmountUsd } from '../../core/money';
import { allResources, resourcePattern, resourceWords } from '../../core/resources';
import { roles } from '../../core/roles';
import { tenantIdSchema } from './ids';
import { plainText, plainWords } from './text';

/** A plain decimal of US dollars, as a string: JSON numbers lose digits. */
export const amount = z
  .string({ error: 'must be a decimal string of US dollars, such as "0.25" (a JSON number would lose digits)' })
  .superRefine((text, context) => {
    const refuse = (message: string): void =>
      context.addIssue({ code: 'custom', message, params: { code: 'invalid_amount' satisfies ErrorCode } });
    try {
      if (parseAmountUsd(text) >= 10n ** 24n) refuse('must be below 1000000000000 US dollars');
    } catch (error) {
      refuse(error instanceof MoneyError ? error.message : 'is no amount');
    }
  })
  .openapi({ example: '12.50' });

export const amountAboveZero = amount.refine((text) => Number(text) !== 0, {
  error: 'must be above zero',
  params: { code: 'invalid_amount' satisfies ErrorCode },
});

/** What a call is billed as. */
export const resourceSchema = z
  .string()
  .regex(resourcePattern, { error: `must be a name such as llm, e2b or geocoding: ${resourceWords}` })
  .refine((name) => name !== allResources, { error: `must not be ${allResources}, which is for limits` })
  .openapi({
    description:
      '`llm` for models, `e2b` for sandboxes, or another by name: limits of that resource and of `all` bind it.',
    example: 'geocoding',
  });
/** What a limit covers. */
export const coveredSchema = z
  .string()
  .regex(resourcePattern, { error: `must be all, or a name such as llm, e2b or geocoding: ${resourceWords}` })
  .openapi({ description: '`all`, or what calls are billed as, such as `llm`, `e2b` or `geocoding`.', example: 'all' });

/** Which quota it is, and how it stands. */
export const quotaFigures = {
  scope: z.enum(['platform', 'tenant', 'user', 'label']),
  scopeId: z.string().openapi({ description: 'Of a label such as `team:search`.' }),
  resourceType: z.string().openapi({ description: 'What it covers: `llm`, `e2b`, another by name, or `all`.' }),
  period: z.enum(['day', 'week', 'month', 'lifetime']),
  limitUsd: z.string(),
  spentUsd: z.string(),
  reservedUsd: z.string(),
  remainingUsd: z.string(),
};

/** A moment of these centuries: others are mistakes, and not all of them can be kept. */
const isOfTheseCenturies = (text: string): boolean => {
  const year = new Date(text).getUTCFullYear();
  return year >= 1970 && year <= 9999;
};
const centuries = { error: 'must be of the years 1970 to 9999' };
const isMoment = (text: string): boolean => z.iso.datetime({ offset: true }).safeParse(text).success;
const moments = {
  error: 'must be a moment such as 2026-12-01T08:00:00Z, or a day such as 2026-12-01 for its beginning in UTC',
};
/** A day stands for its beginning: invoices are made by days. */
export const moment = z
  .string(moments)
  .overwrite((text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text))
  .refine(isMoment, { ...moments, abort: true })
  .refine(isOfTheseCenturies, centuries)
  .openapi({ format: 'date-time' });
export const day = z.iso.date().refine(isOfTheseCenturies, centuries);

export const author = plainText(200).trim().optional().openapi({ description: 'The person behind the key.' });

export const reason = plainWords(500);

/** Of the file that comes with a run or a conversation. */
export const fileBytesMax = 20 * 1024 * 1024;
/** Of a task, and of a message. */
export const taskCharsMax = 100_000;

export const modelName = plainText(128);

/** What a key may do. */
export const roleSchema = z.enum(roles);

/** Which tenant a request is about. */
export const ofTenant = {
  tenantId: tenantIdSchema.optional().openapi({ description: 'With an administration key only.' }),
};
/** The same, of a request without a body: that has it in its query. */
export const tenantQuery = z.object(ofTenant);
/** Of one that has a body now, and still takes it there. */
export const formerTenantQuery = z.object({
  tenantId: tenantIdSchema.optional().openapi({ param: { deprecated: true, description: 'Send it in the body.' } }),
});

export const errorView = z
  .object({
    error: z.string().openapi({ description: 'A code of the catalogue of errors.', example: 'invalid_request' }),
    message: z.string(),
    action: z.string().openapi({ description: 'What the reader can do.' }),
    requestId: z.string().openapi({ description: 'The same as in the header X-Request-Id, and in the log.' }),
    operationId: z.string().optional().openapi({ description: 'The refused operation, when the caller named one.' }),
    runId: z.string().optional().openapi({ description: 'The run that is stored, and may have begun.' }),
    conversationId: z
      .string()
      .optional()
      .openapi({ description: 'The conversation that is stored, and may have begun.' }),
    retryAfter: z.number().optional().openapi({ description: 'Seconds until the same request may be taken.' }),
  })
  .openapi('Error');

export const cacheSavedUsd = z.string().openapi({
  description: 'What it would have cost more without caches of prompts; below 0 where writing to them cost more.',
});
