/** What the routes of runs take and give. */
import { z } from '@hono/zod-openapi';
import { askDaysMax } from '../../core/budget/money-requests';
import { problemOfSchema } from '../../core/agent/answer-schema';
import { efforts, stopSequencesMax } from '../../core/agent/model-settings';
import { toolNames } from '../../core/agent/tools';
import { unstorableIn } from '../../core/storable';
import { cacheTtls } from '../../core/prices/usage';
import { sandboxDefaults } from '../../contracts/sandbox';
import { runIdSchema, tenantIdSchema, userIdSchema } from '../http/ids';
import { labelsSchema, labelsView } from '../http/labels';
import { pageFields, pageQuery } from '../http/pages';
import { amount, amountAboveZero, cacheSavedUsd, modelName, moment, ofTenant } from '../http/schemas';
import { fileName, plainText } from '../http/text';
import { allowedUsd, ofEnvelopeFields, unreserved } from '../reservations/schemas';
import { failureView, stateView, waitingForView } from './states';
import { fileView } from './transcripts';

/** Providers refuse one that is nothing but white space. */
const stopSequence = z
  .string()
  .max(100)
  .refine((text) => text.trim() !== '' && unstorableIn(text) === 0, {
    error: 'must have a letter or a sign in it, and no character that cannot be stored',
  });

/** What a run and a conversation have in common. */
export const runOptions = {
  ...ofTenant,
  userId: userIdSchema.optional(),
  model: modelName.optional(),
  labels: labelsSchema.optional(),
  fallbackModels: z
    .array(modelName)
    .max(5)
    .optional()
    .openapi({ description: 'Asked in this order when a provider cannot answer, each at its own price.' }),
  instructions: z.string().max(20_000).optional().openapi({ description: 'Added to the instructions of the model.' }),
  file: z
    .strictObject({
      name: fileName,
      contentBase64: z
        .string()
        .regex(/^[A-Za-z0-9+/]*={0,2}$/, {
          error: 'must be base64 of A-Z, a-z, 0-9, + and /, without line breaks, blanks or a prefix such as data:',
        })
        .openapi({
          description:
            'Text, in UTF-8 or an encoding that has ASCII in it. What is in UTF-16 with its mark is kept in UTF-8. Or an image (PNG, JPEG, WebP, GIF) or a PDF, which the model is shown, where it and the fallbackModels take that.',
        }),
    })
    .optional(),
  tools: z
    .array(
      z.strictObject({
        name: z
          .string()
          .min(1)
          .max(64)
          .openapi({ description: `${toolNames.join(', ')}, or one that is registered by POST /v1/tools.` }),
        requiresApproval: z.boolean().optional().openapi({ description: 'A person is asked before each use.' }),
        priceUsd: amount.optional().openapi({
          description: 'What each use costs, beside the sandbox. One that is registered has its own.',
        }),
      }),
    )
    .max(64)
    .optional()
    .openapi({
      description: `The tools that the model may use: of a server that is registered all, or by name one (server__tool). When absent: ${toolNames.join(', ')}, for a task all but ask_person.`,
    }),
  onUnavailable: z
    .enum(['wait', 'deny', 'allow'])
    .optional()
    .openapi({ description: 'When the budget authority does not answer. May only be stricter than the tenant.' }),
  onDenied: z.enum(['fail', 'wait', 'ask']).default('fail').openapi({
    description:
      'When money is refused: end, or hold nothing and wait until there is some; `ask` does that too, and asks people for what is lacking (`/v1/money-requests`).',
  }),
  askDays: z.number().gt(0).max(askDaysMax).optional().openapi({
    description: 'How many days one that asks for money waits for an answer before it ends. 3 when absent.',
  }),
  waitForHoldsSeconds: z.number().int().min(0).max(60).optional().openapi({
    description:
      'How long a step that ends it when money is refused waits before that, where only what others hold stands in its way. 15 when absent.',
  }),
  compaction: z
    .strictObject({
      enabled: z.boolean().default(true),
      contextTokens: z.number().int().min(1_000).max(10_000_000).optional(),
      atShare: z.number().gt(0).lte(1).optional(),
    })
    .prefault({})
    .openapi({ description: 'When a context that has grown is summed up: at a share of what the model takes.' }),
  promptCaching: z
    .enum([...cacheTtls, 'off'])
    .optional()
    .openapi({
      description:
        'How long Anthropic is asked to keep a prompt for the calls that go on from it, each of which begins that time anew: writing it costs more, reading it a tenth. 5m when absent, but off for a task without tools, which is one call. Other providers cache by themselves.',
    }),
  settings: z
    .strictObject({
      effort: z.enum(efforts).optional().openapi({ description: 'How hard the model thinks.' }),
      thinkingBudgetTokens: z.number().int().min(0).max(64_000).optional().openapi({
        description:
          'How many tokens of an answer may be thoughts, 0 for none, where a model is told that and no effort: less than limits.maxOutputTokens, since thoughts are paid as output.',
      }),
      temperature: z.number().min(0).max(2).optional(),
      stopSequences: z
        .array(stopSequence)
        .min(1)
        .max(stopSequencesMax)
        .optional()
        .openapi({ description: 'An answer ends before the first of these texts.' }),
    })
    .refine(({ effort, thinkingBudgetTokens }) => effort === undefined || thinkingBudgetTokens === undefined, {
      path: ['thinkingBudgetTokens'],
      error: 'must not be there beside effort: they are two ways to say how much the model thinks',
    })
    .optional()
    .openapi({
      description:
        'How the model is to answer. What the model, or one of the fallbackModels, does not take is refused with what it takes.',
    }),
  answerSchema: z
    .record(z.string(), z.unknown())
    .superRefine((schema, context) => {
      const problem = problemOfSchema(schema);
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
    })
    .optional()
    .openapi({
      description:
        'A JSON Schema that each answer has to fit. One that does not is asked for once more, with what is wrong; after that the run, or the turn, fails (`answer_invalid`).',
    }),
  sandbox: z
    .strictObject({
      tier: z.string().default('standard'),
      template: plainText(128).optional(),
      windowSeconds: z.number().int().min(10).max(3_600).default(sandboxDefaults.windowSeconds),
      executionSeconds: z.number().int().min(1).max(3_600).default(sandboxDefaults.executionSeconds),
      pauseAfterSeconds: z.number().int().min(1).max(3_600).default(sandboxDefaults.idle.pauseSeconds),
      killAfterSeconds: z.number().int().min(1).max(2_592_000).default(sandboxDefaults.idle.killSeconds),
    })
    .prefault({}),
};

export const lastCall = z.boolean().optional().openapi({
  description:
    'With maxCostUsd: the model is told what is left of it, and money for a last answer without tools is held from the start. When the next step does not fit, it says what it has found, and the run is completed (stoppedBy: budget).',
});

export const startRunBody = z.strictObject({
  ...runOptions,
  task: z.string().trim().min(1),
  parentRunId: runIdSchema.optional().openapi({
    description:
      'The run, or the conversation in its turn, that this one belongs to: what it costs counts for the limit of that too, beside one of its own. That has to go on and to have a limit.',
  }),
  limits: z
    .strictObject({
      maxSteps: z.number().int().min(1).max(100).default(12),
      maxCostUsd: amount.optional(),
      guaranteedUsd: amountAboveZero.optional().openapi({
        description:
          'What it may surely spend, at most maxCostUsd: it is held for the run before its first step, on the limits of llm and, as far as there are some, of e2b and, with tools that have a price, tool; and no step that fits what is left of it is denied for want of money. What is beyond it is asked of the limits. A run that cannot have it does as onDenied says.',
      }),
      lastCall,
      timeoutSeconds: z.number().int().min(1).max(86_400).default(1_800),
      maxOutputTokens: z.number().int().min(1).max(64_000).default(4_096),
    })
    .prefault({}),
});
export type StartRunBody = z.infer<typeof startRunBody>;

const runStep = z.object({
  operationId: z.string(),
  kind: z.string(),
  resource: z.string(),
  step: z.number().optional(),
  attempt: z.number().optional(),
  status: z.string(),
  requestedUsd: z.string(),
  reservedUsd: z
    .string()
    .nullable()
    .openapi({ description: 'What it was granted; of an envelope its rest, what no part has taken.' }),
  ...ofEnvelopeFields,
  unreserved,
  allowedUsd,
  committedUsd: z.string().nullable(),
  settlement: z.string().nullable(),
  decidedAt: z.string(),
  claimedAt: z.string().nullable().openapi({ description: 'When its money was first used.' }),
  endedAt: z.string().nullable().openapi({ description: 'When its call was over, or its money came back.' }),
  traceId: z.string().nullable(),
});

export const stoppedBy = z.enum(['budget']).nullable().openapi({
  description: 'Its answer is what it had when its money was used up. Null where it came to its own end.',
});

export const runView = z.object({
  runId: z.string(),
  tenantId: z.string(),
  workflowId: z.string(),
  status: stateView,
  waitingFor: waitingForView.nullable(),
  model: z.string(),
  labels: labelsView,
  task: z
    .string()
    .nullable()
    .openapi({ description: 'What was asked. Null of a conversation, and once it is forgotten.' }),
  instructions: z.string().nullable().openapi({ description: 'What was added to the instructions of the model.' }),
  settings: z
    .record(z.string(), z.unknown())
    .nullable()
    .openapi({ description: 'How the model was asked to answer. Null where nothing was said.' }),
  answerSchema: z
    .record(z.string(), z.unknown())
    .nullable()
    .openapi({ description: 'The JSON Schema that the answer has to fit. Null where there is none.' }),
  file: fileView,
  answer: z.string().nullable(),
  answerJson: z.unknown().openapi({
    description:
      'The answer as JSON, where it has to fit a schema (answerSchema). Null where there is none. Its numbers are doubles, as JSON’s are in JavaScript: `answer` has all their digits.',
  }),
  failure: failureView.nullable(),
  stoppedBy,
  costUsd: z.string(),
  guaranteedUsd: z.string().nullable().openapi({
    description:
      'What was guaranteed to it (limits.guaranteedUsd); how that stands, its envelope among the steps says. Null where nothing was.',
  }),
  cacheSavedUsd,
  tree: z
    .array(
      z.object({
        runId: z.string(),
        parentRunId: z.string().nullable(),
        limitUsd: z.string().nullable(),
        spentUsd: z.string(),
        reservedUsd: z.string(),
      }),
    )
    .openapi({
      description:
        'Its limit, those of what it belongs to and of what belongs to it, from the top: what each spent and holds with all that belongs to it. Of a conversation those of its turns. At most 200; empty where none is limited.',
    }),
  quota: z
    .object({ limitUsd: z.string(), topupUsd: z.string(), spentUsd: z.string(), reservedUsd: z.string() })
    .nullable(),
  steps: z.array(runStep),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
  forgottenAt: z
    .string()
    .nullable()
    .openapi({ description: 'When what was asked, said and printed was deleted, as the retention says.' }),
});
export type RunView = z.infer<typeof runView>;

export const runsQuery = z.strictObject({
  tenantId: tenantIdSchema.optional(),
  type: z.enum(['task', 'conversation']).default('task'),
  status: stateView.optional(),
  userId: userIdSchema.optional(),
  before: moment.optional().openapi({ description: 'Begun before this moment.' }),
  ...pageQuery,
});
/** What was said in it, which a list leaves out. */
const leftOutOfWords = {
  answer: true,
  answerJson: true,
  task: true,
  instructions: true,
  stoppedBy: true,
  settings: true,
  answerSchema: true,
} as const;
/** A run without its steps. */
const leftOut = { steps: true, tree: true, quota: true, guaranteedUsd: true, ...leftOutOfWords } as const;
export const runSummary = runView.omit(leftOut).extend({
  userId: z.string().nullable(),
});
export const runsView = z.object({ runs: z.array(runSummary), ...pageFields });
export const startedRunView = z.object({ runId: z.string(), workflowId: z.string(), status: z.literal('running') });
export type StartedRun = z.infer<typeof startedRunView>;
export const cancelBody = z.strictObject(ofTenant);
export type CancelBody = z.infer<typeof cancelBody>;
export const cancelledRunView = z.object({ runId: z.string(), status: z.literal('cancelling') });
