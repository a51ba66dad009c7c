/** What the routes of conversations and approvals take and give. */
import { z } from '@hono/zod-openapi';
import { turnIdSchema } from '../http/ids';
import { amount, author, ofTenant, roleSchema } from '../http/schemas';
import { runOptions } from '../runs/schemas';

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
  decidedByKeyId: z
    .string()
    .nullable()
    .openapi({ description: 'The API key that decided; null where it was a signal from Temporal’s UI.' }),
  decidedByRole: roleSchema.nullable(),
  createdAt: z.string(),
  decidedAt: z.string().nullable(),
});
export type ApprovalView = z.infer<typeof approvalView>;
export const approvalsView = z.object({ approvals: z.array(approvalView) });

export const conversationsView = z.object({ conversations: z.array(conversationView) });
export const openedView = z.object({ conversationId: z.string(), workflowId: z.string(), status: z.literal('open') });
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
  messages: z.array(
    z.object({ sequence: z.number(), role: z.enum(['user', 'assistant']), content: z.array(z.unknown()) }),
  ),
  next: z.number().nullable().openapi({ description: 'The `after` of the next page.' }),
  turns: z.array(turnView),
});
