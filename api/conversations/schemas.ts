/** What the routes of conversations and approvals take and give. */
import { z } from '@hono/zod-openapi';
import { turnIdSchema } from '../http/ids';
import { labelsView } from '../http/labels';
import { pageFields } from '../http/pages';
import { amount, author, cacheSavedUsd, ofTenant, roleSchema } from '../http/schemas';
import { plainText } from '../http/text';
import { lastCall, runOptions, stoppedBy } from '../runs/schemas';
import { failureView, stateView, waitingForView } from '../runs/states';
import { fileView, messageView } from '../runs/transcripts';

/** The limits of a conversation hold for each of its turns. */
const title = plainText(200).trim().openapi({ example: 'Sales in the first quarter' });

export const startConversationBody = z.strictObject({
  ...runOptions,
  title: title.optional().openapi({ description: 'When absent, the beginning of its first message stands for it.' }),
  limits: z
    .strictObject({
      maxSteps: z.number().int().min(1).max(200).default(25),
      maxCostUsd: amount.optional(),
      lastCall,
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

export const messageBody = z.strictObject({
  ...ofTenant,
  message: z.string().trim().min(1),
  interruptOnDisconnect: z
    .boolean()
    .default(false)
    .openapi({ description: 'With a streamed answer: stop the turn when the client goes away.' }),
});

export const interruptBody = z.strictObject({ ...ofTenant, turnId: turnIdSchema.optional() });
export const closeBody = z.strictObject(ofTenant);
export const titleBody = z.strictObject({ ...ofTenant, title });

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
  failure: failureView.nullable(),
  stoppedBy,
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
  title: z.string().nullable().openapi({
    description: 'As it was given, or the beginning of its first message. Null before that, and once it is forgotten.',
  }),
  status: stateView.openapi({
    description:
      '`running` while messages are taken, also while it waits for one (`waitingFor`); `completed` once it was closed.',
  }),
  waitingFor: waitingForView.nullable(),
  model: z.string(),
  labels: labelsView,
  file: fileView,
  costUsd: z.string(),
  cacheSavedUsd,
  failure: failureView.nullable(),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
  forgottenAt: z
    .string()
    .nullable()
    .openapi({ description: 'When what was said and printed was deleted, as the retention says.' }),
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
  decidedByKeyId: z
    .string()
    .nullable()
    .openapi({ description: 'The API key that decided; null where it was a signal from Temporal’s UI.' }),
  decidedByRole: roleSchema.nullable(),
  createdAt: z.string(),
  decidedAt: z.string().nullable(),
});
export type ApprovalView = z.infer<typeof approvalView>;
export const approvalsView = z.object({ approvals: z.array(approvalView), ...pageFields });

export const conversationsView = z.object({ conversations: z.array(conversationView), ...pageFields });
export const openedView = z.object({
  conversationId: z.string(),
  workflowId: z.string(),
  status: z.literal('running'),
});
export const closingView = z.object({ conversationId: z.string(), status: z.literal('closing') });
export const sentMessageView = z.object({
  turnId: z.string(),
  status: turnView.shape.status,
  number: z.number(),
  lastEventId: z.number().openapi({ description: 'The last event before it.' }),
});
export const interruptedView = z.object({ interrupted: z.enum(['queued', 'asked']) });
/** What was said. */
export const messagesView = z.object({
  messages: z.array(messageView),
  turns: z
    .array(turnView)
    .openapi({ description: 'As many as fit; a page has those after the ones of the page before.' }),
  ...pageFields,
});
