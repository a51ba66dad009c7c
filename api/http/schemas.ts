/** What the API takes and gives, as zod schemas: they check requests and make the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { ErrorCode } from '../../core/errors';
import { MoneyError, parseAmountUsd } from '../../core/money';
import { ratePattern } from '../../core/prices/prices';
import { usageGroups } from '../../store/usage';
import { toolNames } from '../../contracts/messages';
import { claimTokenSchema, operationIdSchema, runIdSchema, tenantIdSchema, turnIdSchema, userIdSchema } from './ids';
import { plainText } from './text';

export { tenantIdSchema } from './ids';

/** A plain decimal of US dollars, as a string: JSON numbers lose digits. */
const amount = z
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

/** A moment of these centuries: others are mistakes, and not all of them can be kept. */
const isOfTheseCenturies = (text: string): boolean => {
  const year = new Date(text).getUTCFullYear();
  return year >= 1970 && year <= 9999;
};
const centuries = { error: 'must be of the years 1970 to 9999' };
export const moment = z.iso.datetime({ offset: true }).refine(isOfTheseCenturies, centuries);
const day = z.iso.date().refine(isOfTheseCenturies, centuries);

export const createTenantBody = z.strictObject({
  tenantId: tenantIdSchema,
  name: z.union([z.literal(''), plainText(200)]).optional(),
});

export const quotaView = z.object({
  scope: z.enum(['platform', 'tenant', 'user']),
  scopeId: z.string(),
  resourceType: z.enum(['llm', 'e2b', 'all']),
  period: z.enum(['day', 'week', 'month', 'lifetime']),
  limitUsd: z.string(),
  spentUsd: z.string(),
  reservedUsd: z.string(),
  topupUsd: z.string(),
  remainingUsd: z.string(),
  warningThreshold: z.number(),
  moreWarningThresholds: z.array(z.number()),
  resetsAt: z.string().nullable().openapi({ description: 'Null when it never resets.' }),
});

/** Kept with four decimals. */
const share = z.number().gte(0.0001).lte(1);
const author = plainText(200).trim().optional().openapi({ description: 'The person behind the key.' });
/** What a quota limits, and when it warns. */
const limits = {
  resourceType: z.enum(['llm', 'e2b', 'all']),
  period: z.enum(['day', 'week', 'month', 'lifetime']).default('month'),
  limitUsd: amount,
  warningThreshold: share.optional(),
  moreWarningThresholds: z.array(share).max(10).optional(),
};

export const setQuotasBody = z.strictObject({
  quotas: z
    .array(
      z.strictObject({
        scope: z.enum(['tenant', 'user']).default('tenant'),
        scopeId: userIdSchema.optional().openapi({ description: 'The user. The tenant itself when absent.' }),
        ...limits,
      }),
    )
    .min(1)
    .max(100),
});

export const quotasQuery = z.strictObject({
  userId: userIdSchema.optional().openapi({ description: 'The tenant and this user alone.' }),
});
export const moreUserQuotas = {
  moreUserQuotas: z.number().int().openapi({
    description: 'Quotas of users beyond the 500 quotas that are shown; `userId` shows those of one user.',
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

export const platformQuotaView = quotaView.extend({
  leasedUsd: z.string().openapi({ description: 'What tenants have drawn of it, spent or not.' }),
});
export const setPlatformQuotasBody = z.strictObject({
  quotas: z.array(z.strictObject(limits)).min(1).max(12),
  author,
});

const reason = z.string().trim().min(1).max(500);
const quotaKey = {
  scope: z.enum(['tenant', 'user']).default('tenant'),
  scopeId: userIdSchema.optional().openapi({ description: 'The user. The tenant itself when absent.' }),
  resourceType: z.enum(['llm', 'e2b', 'all']).default('all'),
  period: z.enum(['day', 'week', 'month', 'lifetime']).default('month'),
};
export const topUpBody = z.strictObject({ ...quotaKey, amountUsd: amount, reason, author });
export const freezeBody = z.strictObject({ userId: userIdSchema.optional(), reason, author });
export const unfreezeBody = z.strictObject({ userId: userIdSchema.optional(), author });
export const policyBody = z.strictObject({
  onUnavailable: z.enum(['wait', 'deny', 'allow']),
  answerTimeoutMs: z.number().int().min(100).max(600_000).default(5_000),
  author,
});
export const userDefaultsBody = z.strictObject({
  quotas: z
    .array(
      z.strictObject({
        resourceType: quotaKey.resourceType,
        period: quotaKey.period,
        limitUsd: amount,
        warningThreshold: share.default(0.8),
      }),
    )
    .max(20),
  author,
});
export const adjustmentBody = z.strictObject({
  operationId: operationIdSchema,
  costUsd: amount.openapi({ description: 'What the operation really cost, in all.' }),
  reason,
  author,
});
export const releaseHoldBody = z.strictObject({ reason, author });
export const repairBody = z.strictObject({ reason, author });

export const fileBytesMax = 20 * 1024 * 1024;
export const taskCharsMax = 100_000;

const modelName = plainText(128);
/** What a run and a conversation have in common. */
const runOptions = {
  tenantId: tenantIdSchema.optional().openapi({ description: 'With an administration key only.' }),
  userId: userIdSchema.optional(),
  model: modelName.optional(),
  fallbackModels: z
    .array(modelName)
    .max(5)
    .optional()
    .openapi({ description: 'Asked in this order when a provider cannot answer, each at its own price.' }),
  instructions: z.string().max(20_000).optional().openapi({ description: 'Added to the instructions of the model.' }),
  file: z
    .strictObject({
      name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}$/, {
        error: 'must be a plain file name of letters, digits, spaces, dots, hyphens and underscores',
      }),
      contentBase64: z
        .string()
        .regex(/^[A-Za-z0-9+/]*={0,2}$/, {
          error: 'must be base64 of A-Z, a-z, 0-9, + and /, without line breaks, blanks or a prefix such as data:',
        })
        .openapi({ description: 'Text, in UTF-8 or an encoding that has ASCII in it.' }),
    })
    .optional(),
  tools: z
    .array(
      z.strictObject({
        name: z.enum(toolNames),
        requiresApproval: z.boolean().optional().openapi({ description: 'A person is asked before each use.' }),
        priceUsd: amount.optional().openapi({ description: 'What each use costs, beside the sandbox.' }),
      }),
    )
    .max(toolNames.length)
    .optional()
    .openapi({ description: 'The tools that the model may use. When absent: all, and for a task all but ask_person.' }),
  onUnavailable: z
    .enum(['wait', 'deny', 'allow'])
    .optional()
    .openapi({ description: 'When the budget authority does not answer. May only be stricter than the tenant.' }),
  onDenied: z
    .enum(['fail', 'wait'])
    .default('fail')
    .openapi({ description: 'When money is refused: end, or hold nothing and wait until there is some.' }),
  compaction: z
    .strictObject({
      enabled: z.boolean().default(true),
      contextTokens: z.number().int().min(1_000).max(10_000_000).optional(),
      atShare: z.number().gt(0).lte(1).optional(),
    })
    .prefault({})
    .openapi({ description: 'When a context that has grown is summed up: at a share of what the model takes.' }),
  sandbox: z
    .strictObject({
      tier: z.string().default('standard'),
      template: plainText(128).optional(),
      windowSeconds: z.number().int().min(10).max(3_600).default(300),
      executionSeconds: z.number().int().min(1).max(3_600).default(120),
      pauseAfterSeconds: z.number().int().min(1).max(3_600).default(60),
      killAfterSeconds: z.number().int().min(1).max(2_592_000).default(86_400),
    })
    .prefault({}),
};

export const startRunBody = z.strictObject({
  ...runOptions,
  task: z.string().trim().min(1),
  limits: z
    .strictObject({
      maxSteps: z.number().int().min(1).max(100).default(12),
      maxCostUsd: amount.optional(),
      timeoutSeconds: z.number().int().min(1).max(86_400).default(1_800),
      maxOutputTokens: z.number().int().min(1).max(64_000).default(4_096),
    })
    .prefault({}),
});
export type StartRunBody = z.infer<typeof startRunBody>;

/** The limits of a conversation hold for each of its turns. */
export const startConversationBody = z.strictObject({
  ...runOptions,
  limits: z
    .strictObject({
      maxSteps: z.number().int().min(1).max(200).default(25),
      maxCostUsd: amount.optional(),
      timeoutSeconds: z
        .number()
        .int()
        .min(1)
        .max(86_400)
        .default(3_600)
        .openapi({ description: 'Of work; waiting for a person or for money does not count.' }),
      maxOutputTokens: z.number().int().min(1).max(64_000).default(4_096),
    })
    .prefault({}),
});
export type StartConversationBody = z.infer<typeof startConversationBody>;

const ofTenant = { tenantId: tenantIdSchema.optional().openapi({ description: 'With an administration key only.' }) };

export const messageBody = z.strictObject({
  ...ofTenant,
  message: z.string().trim().min(1),
  interruptOnDisconnect: z
    .boolean()
    .default(false)
    .openapi({ description: 'With a streamed answer: stop the turn when the client goes away.' }),
});
export type MessageBody = z.infer<typeof messageBody>;

export const interruptBody = z.strictObject({ ...ofTenant, turnId: turnIdSchema.optional() });
export const closeBody = z.strictObject(ofTenant);

export const approvalBody = z
  .strictObject({
    ...ofTenant,
    decision: z.enum(['approve', 'refuse', 'answer']),
    answer: z
      .string()
      .trim()
      .min(1)
      .max(20_000)
      .optional()
      .openapi({ description: 'The answer to a question, or why something is refused.' }),
    author,
  })
  .refine(({ decision, answer }) => decision !== 'answer' || answer !== undefined, {
    path: ['answer'],
    error: 'must be there to answer a question',
  });
export type ApprovalBody = z.infer<typeof approvalBody>;

export const turnView = z.object({
  turnId: z.string(),
  number: z.number(),
  message: z.string(),
  status: z.enum(['queued', 'running', 'completed', 'quota_exceeded', 'failed', 'interrupted', 'cancelled']),
  failure: z.record(z.string(), z.unknown()).nullable(),
  costUsd: z.string(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
});
export type TurnView = z.infer<typeof turnView>;

export const conversationView = z.object({
  conversationId: z.string(),
  tenantId: z.string(),
  userId: z.string().nullable(),
  workflowId: z.string(),
  status: z.enum(['open', 'waiting_for_money', 'closed', 'cancelled', 'failed']),
  waitingFor: z.record(z.string(), z.unknown()).nullable(),
  model: z.string(),
  costUsd: z.string(),
  failure: z.record(z.string(), z.unknown()).nullable(),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
});
export type ConversationView = z.infer<typeof conversationView>;

export const approvalView = z.object({
  approvalId: z.string(),
  runId: z.string().openapi({ description: 'The run or conversation.' }),
  turnId: z.string().nullable(),
  step: z.number(),
  tool: z.string(),
  kind: z.enum(['approval', 'question']),
  input: z.unknown(),
  status: z.enum(['pending', 'approved', 'refused', 'answered', 'withdrawn']),
  answer: z.string().nullable(),
  decidedBy: z.string().nullable(),
  createdAt: z.string(),
  decidedAt: z.string().nullable(),
});
export type ApprovalView = z.infer<typeof approvalView>;

/** What is going to be done, for the gate: a sum, a model call, or a sandbox. */
export const quotaCheckBody = z.strictObject({
  ...ofTenant,
  userId: userIdSchema.optional(),
  resource: z.enum(['llm', 'e2b']).default('llm'),
  estimatedUsd: amount.optional(),
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
});
export type QuotaCheckBody = z.infer<typeof quotaCheckBody>;

export const quotaCheckView = z.object({
  allowed: z.literal(true),
  resourceType: z.enum(['llm', 'e2b']),
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
  resource: z.enum(['llm', 'e2b']).optional(),
  settlement: z.enum(['actual', 'unverified']).optional(),
  format: z.enum(['json', 'csv']).default('json').openapi({ description: 'csv: all that match.' }),
  after: z
    .string()
    .regex(/^\d{1,18}$/, { error: 'must be the `next` of a page' })
    .optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
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
  resource: z.enum(['llm', 'e2b']),
  model: z.string().nullable(),
  priceVersion: z.string().nullable(),
  amountUsd: z.string(),
  estimatedUsd: z.string().nullable(),
  settlement: z.enum(['actual', 'unverified']),
  usage: z.unknown(),
  postedAt: z.string(),
  recordedAt: z.string(),
  reason: z.string().nullable().openapi({ description: 'Why a person corrected it, of an entry `adjustment`.' }),
});
export type CostRecordView = z.infer<typeof costRecordView>;

const runStep = z.object({
  operationId: z.string(),
  kind: z.string(),
  resource: z.enum(['llm', 'e2b']),
  step: z.number().optional(),
  attempt: z.number().optional(),
  status: z.string(),
  requestedUsd: z.string(),
  reservedUsd: z.string().nullable(),
  committedUsd: z.string().nullable(),
  settlement: z.string().nullable(),
  decidedAt: z.string(),
  claimedAt: z.string().nullable().openapi({ description: 'When its money was first used.' }),
  endedAt: z.string().nullable().openapi({ description: 'When its call was over, or its money came back.' }),
  traceId: z.string().nullable(),
});

export const runView = z.object({
  runId: z.string(),
  tenantId: z.string(),
  workflowId: z.string(),
  status: z.enum(['running', 'waiting_for_money', 'completed', 'quota_exceeded', 'failed', 'cancelled']),
  waitingFor: z.record(z.string(), z.unknown()).nullable(),
  model: z.string(),
  answer: z.string().nullable(),
  failure: z.record(z.string(), z.unknown()).nullable(),
  costUsd: z.string(),
  quota: z
    .object({ limitUsd: z.string(), topupUsd: z.string(), spentUsd: z.string(), reservedUsd: z.string() })
    .nullable(),
  steps: z.array(runStep),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
});
export type RunView = z.infer<typeof runView>;

export const usageQuery = z.strictObject({
  tenantId: tenantIdSchema.optional(),
  from: moment.optional(),
  to: moment.optional(),
  groupBy: z.enum(usageGroups).default('model'),
  format: z.enum(['json', 'csv']).default('json'),
});

export const usageView = z.object({
  from: z.string(),
  to: z.string(),
  groupBy: z.enum(usageGroups),
  costUsd: z.string().openapi({ description: 'Of all groups, also of those that `lines` leaves out.' }),
  groups: z.number().openapi({ description: 'How many there are.' }),
  isCut: z.boolean().openapi({ description: 'Whether `lines` has only the dearest 1,000; csv has all.' }),
  lines: z.array(
    z.object({ group: z.string(), costUsd: z.string(), unverifiedUsd: z.string(), operations: z.number() }),
  ),
});

const usageLines = usageView.shape.lines;
const at = z.string();
/** What an operation was for, and whose. */
const operationFields = {
  operationId: z.string(),
  runId: z.string().nullable(),
  userId: z.string().nullable(),
  kind: z.string(),
  resource: z.enum(['llm', 'e2b']),
  model: z.string().nullable(),
};
/** How a tenant stands. */
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
export const overviewView = z.object({
  tenantId: z.string(),
  name: z.string(),
  ...frozenFields,
  ...moreUserQuotas,
  quotas: z.array(
    quotaView.extend({
      forecast: z
        .object({ projectedUsd: z.string(), exhaustedAt: z.string().nullable() })
        .nullable()
        .openapi({ description: 'Where its spend is heading; null in the first hour of its period.' }),
    }),
  ),
  spend: z.object({ from: at, byDay: usageLines, byModel: usageLines, byUser: usageLines, byKind: usageLines }),
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
  alerts: z.array(
    z.object({
      alertId: z.string(),
      kind: z.enum(['quota_warning', 'quota_exceeded', 'overrun']),
      threshold: z.number().nullable(),
      details: z.record(z.string(), z.unknown()),
      raisedAt: at,
      sentAt: at.nullable(),
    }),
  ),
  holds: z.array(
    z.object({
      ...operationFields,
      claimed: z.boolean(),
      heldUsd: z.string(),
      decidedAt: at,
      expiresAt: at.nullable(),
    }),
  ),
  open: z.object({
    runs: z.number(),
    conversations: z.number(),
    waitingForMoney: z.number(),
    sandboxes: z.number(),
    approvals: z.number(),
  }),
});
export type OverviewView = z.infer<typeof overviewView>;

export const currentKeyView = z.object({
  tenantId: z.string().nullable().openapi({ description: 'Null for a key of the administration.' }),
  links: z
    .object({ workflow: z.string().optional(), trace: z.string().optional() })
    .openapi({ description: 'Addresses with {workflowId} or {traceId} in them.' }),
});

export const errorView = z.object({
  error: z.string(),
  message: z.string(),
  action: z.string().optional(),
  requestId: z.string().optional(),
});

/** What a call is for. */
const request = {
  userId: userIdSchema.optional(),
  resource: z.enum(['llm', 'e2b']),
  kind: z.string().min(1).max(100).default('external.call'),
  model: plainText(128).optional(),
  priceVersion: z.string().max(200).default('caller'),
};

/** Money that a caller outside Temporal asks for. The caller chooses the operation id, and repeats it when it asks again. */
export const reserveBody = z.strictObject({
  operationId: operationIdSchema,
  tenantId: tenantIdSchema.optional().openapi({ description: 'With an administration key only.' }),
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
});
export type ReserveBody = z.output<typeof reserveBody>;

const tenantOnly = { tenantId: tenantIdSchema.optional().openapi({ description: 'With an administration key only.' }) };
const claimToken = claimTokenSchema.optional();
export const claimBody = z.strictObject(tenantOnly);
/** Of JSON that says what a call used. */
export const usageBytesMax = 16 * 1024;
export const commitBody = z.strictObject({
  ...tenantOnly,
  costUsd: amount,
  claimToken,
  usage: z.unknown().optional().openapi({
    description: 'What the call used, for the ledger. More than 16 KiB of it is left out; the cost is taken.',
  }),
  unreserved: z.strictObject(request).optional().openapi({
    description:
      'What the call was, when it was made without a reservation since nobody answered. Taken from tenants whose policy is `allow`.',
  }),
});
export type CommitBody = z.output<typeof commitBody>;
export const releaseBody = z.strictObject({ ...tenantOnly, claimToken });
export const extendBody = z.strictObject({ ...tenantOnly, ttlSeconds: z.number().gt(0).lte(604_800) });

/** Six decimals per million tokens are a whole number of pico-dollars per token. */
const rate = z
  .string({ error: 'must be a decimal string of US dollars per million tokens' })
  .regex(ratePattern, {
    error: 'must be a plain decimal of 0 or more, below 1000000 and with at most six decimals',
  })
  .openapi({ example: '1.25' });
const optionalRate = rate
  .nullish()
  .openapi({ description: 'Null when there is no such thing to bill. "0" is free, which is something else.' });
const rates = {
  inputUsd: rate,
  outputUsd: rate,
  cacheReadUsd: optionalRate,
  cacheWrite5mUsd: optionalRate,
  cacheWrite1hUsd: optionalRate,
};
const factors = z.record(
  z.string().min(1).max(40),
  z.string().regex(/^(?!0*[.]?0*$)(0|[1-9][0-9]{0,3})([.][0-9]{1,6})?$/, { error: 'must be a decimal above 0' }),
);

const priceFields = {
  provider: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be lower case, such as anthropic' }),
  model: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/, { error: "must be the provider's exact name" }),
  ...rates,
  longContext: z
    .strictObject({ thresholdTokens: z.int().gt(0).lte(2_147_483_647), ...rates })
    .nullish()
    .openapi({ description: 'The rates of the whole request when its prompt has more tokens than the threshold.' }),
  webSearchPerThousandUsd: optionalRate,
  multipliers: z
    .strictObject({ serviceTier: factors.optional(), speed: factors.optional(), inferenceGeo: factors.optional() })
    .optional()
    .openapi({ description: 'Factors on every token rate.', example: { serviceTier: { batch: '0.5' } } }),
  notes: z.string().max(1_000).optional(),
  source: z.string().trim().min(1).max(500).openapi({ description: 'Who published the figures.' }),
  sourceDate: day.openapi({ description: 'The day on which the source said so.' }),
};
export const priceView = z.object({ priceVersion: z.string(), effectiveFrom: z.string(), ...priceFields });
export const addPricesBody = z.strictObject({
  prices: z
    .array(
      z.strictObject({
        ...priceFields,
        effectiveFrom: moment.optional().openapi({ description: 'Now when absent.' }),
      }),
    )
    .min(1)
    .max(1_000),
  author,
});

/** US dollars for each second: at most twelve decimals, below a dollar. */
const secondRate = z
  .string({ error: 'must be a decimal string of US dollars a second' })
  .regex(/^0([.][0-9]{1,12})?$/, {
    error: 'must be a plain decimal of 0 or more, below 1 and with at most twelve decimals',
  })
  .openapi({ example: '0.000014' });
const sandboxPriceFields = {
  provider: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be lower case, such as e2b' })
    .default('e2b'),
  tier: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be lower case, such as standard' }),
  vcpu: z.int().min(1).max(1_024),
  memoryMib: z.int().min(1).max(16_777_216),
  vcpuSecondUsd: secondRate,
  gibSecondUsd: secondRate,
  notes: z.string().max(1_000).optional(),
  source: z.string().trim().min(1).max(500).openapi({ description: 'Who published the figures.' }),
};
export const sandboxPriceView = z.object({
  priceVersion: z.string(),
  effectiveFrom: z.string(),
  ...sandboxPriceFields,
});
export const addSandboxPriceBody = z.strictObject({
  ...sandboxPriceFields,
  sourceDate: day.openapi({ description: 'The day on which the source said so.' }),
  effectiveFrom: moment.optional().openapi({ description: 'Now when absent.' }),
  author,
});

export const runsQuery = z.strictObject({
  tenantId: tenantIdSchema.optional(),
  type: z.enum(['task', 'conversation']).default('task'),
  status: z.enum(['running', 'completed', 'quota_exceeded', 'failed', 'cancelled']).optional(),
  userId: userIdSchema.optional(),
  before: moment.optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
});
/** A run without its steps. */
export const runSummary = runView.omit({ steps: true, quota: true, answer: true, waitingFor: true }).extend({
  userId: z.string().nullable(),
});

export const deleteTenantBody = z.strictObject({
  confirm: tenantIdSchema.openapi({ description: 'The tenant once more: what is deleted does not come back.' }),
  reason: z.string().trim().min(1).max(1_000),
  author,
});

export const createKeyBody = z.strictObject({
  ...ofTenant,
  label: z.union([z.literal(''), plainText(200).trim()]).default(''),
  author,
});
export const revokeKeyBody = z.strictObject({ ...ofTenant, author });
export const rotateKeyBody = z.strictObject({
  ...ofTenant,
  graceSeconds: z
    .number()
    .int()
    .min(0)
    .max(2_592_000)
    .default(3_600)
    .openapi({ description: 'How long the old key is still taken.' }),
  author,
});
export const keyView = z.object({
  apiKeyId: z.string(),
  tenantId: z.string().nullable().openapi({ description: 'Null for a key of the administration.' }),
  label: z.string(),
  createdAt: z.string(),
  revokedAt: z.string().nullable().openapi({ description: 'From when on it is refused.' }),
});
