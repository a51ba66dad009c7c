/** How a run or a conversation stands, in the one vocabulary of both. */
import { z } from '@hono/zod-openapi';
import { runStates } from '../../store/run-states';
import type { Run } from '../../store/runs';
import { bindingQuotaView } from '../http/denials';

export const stateView = z.enum(runStates);

/** What it waits for before its next step. */
export const waitingForView = z
  .discriminatedUnion('kind', [
    z
      .object({
        kind: z.literal('money'),
        since: z.string(),
        resource: z.string(),
        quota: bindingQuotaView,
        retryAfterSeconds: z.number().optional().openapi({ description: 'Absent where waiting alone cannot help.' }),
        asks: z
          .object({ requestId: z.string(), askedUsd: z.string(), waitsUntil: z.string() })
          .optional()
          .openapi({ description: 'What people are asked for; `POST /v1/money-requests/{id}` answers it.' }),
      })
      .openapi('WaitingForMoney'),
    z
      .object({
        kind: z.literal('approval'),
        since: z.string(),
        approvals: z
          .array(z.object({ approvalId: z.string(), tool: z.string(), kind: z.enum(['approval', 'question']) }))
          .openapi({ description: 'What people are asked; `POST /v1/approvals/{id}` decides it.' }),
      })
      .openapi('WaitingForApproval'),
    z
      .object({ kind: z.literal('message'), since: z.string() })
      .openapi('WaitingForMessage', { description: 'A conversation that has nothing to do. Its status is `running`.' }),
  ])
  .openapi('WaitingFor');
export type WaitingFor = z.infer<typeof waitingForView>;

export function waitingForOf({ state, waiting, awaited, idleSince }: Run): WaitingFor | null {
  if (state === 'waiting_for_money' && waiting) return { kind: 'money', ...waiting, since: isoOf(waiting.since) };
  if (state === 'running' && idleSince) return { kind: 'message', since: idleSince.toISOString() };
  if (state !== 'waiting_for_approval' || !awaited) return null;
  return { kind: 'approval', ...awaited, since: isoOf(awaited.since) };
}

/** Postgres writes moments in JSON in a way of its own. */
const isoOf = (moment: string): string => new Date(moment).toISOString();

/** Why it did not complete. */
export const failureView = z
  .looseObject({
    code: z.string().openapi({ description: 'A code of the catalogue of errors.' }),
    message: z.string(),
    resource: z.string().optional(),
    quota: bindingQuotaView.optional(),
    retryAfterSeconds: z.number().optional(),
  })
  .openapi('Failure');
