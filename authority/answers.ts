/**
 * Answers to who waits elsewhere: activities are completed, processes that listen are notified. One that is gone (cancelled,
 * timed out, retried) is no error: the decision is on record, and whoever asks again is answered from it.
 */
import { ActivityNotFoundError, type Client } from '@temporalio/client';
import type { BudgetCommand, ReplyAddress, ReserveAnswer, ReserveCommand } from '../core/budget/commands';
import { notifyAnswers, type AddressedAnswer } from '../store/answers';
import type { Pool } from '../store/pool';
import type { Logger } from '../telemetry/log';

type ActivityAddress = Exclude<ReplyAddress, { channel: string }>;

/** An answer and who waits for it, if somebody does. Two with one operation id may be answered differently. */
export interface Told {
  replyTo: ReplyAddress | undefined;
  answer: ReserveAnswer | undefined;
}

/** Tells answers to who waits for them. What an activity is told may be said otherwise. */
export async function tellAnswers(
  { client, pool, log }: { client: Client; pool: Pool; log: Logger },
  {
    tenantId,
    continuing,
    told,
    tellActivity = (replyTo, answer) => client.activity.complete(replyTo, answer),
  }: {
    tenantId: string;
    continuing: boolean;
    told: readonly Told[];
    tellActivity?: (replyTo: ActivityAddress, answer: ReserveAnswer) => Promise<void>;
  },
): Promise<void> {
  const byChannel = new Map<string, AddressedAnswer[]>();
  const telling: Promise<void>[] = [];
  const note = (error: unknown): void => {
    if (!(error instanceof ActivityNotFoundError)) log.warn({ tenantId, error }, 'an answer could not be delivered');
  };
  for (const { replyTo, answer } of told) {
    if (!replyTo || !answer) continue;
    if ('channel' in replyTo) {
      const addressed = byChannel.get(replyTo.channel) ?? [];
      addressed.push({ waiter: replyTo.waiter, answer });
      byChannel.set(replyTo.channel, addressed);
    } else telling.push(tellActivity(replyTo, answer).catch(note));
  }
  if (byChannel.size > 0) telling.push(notifyAnswers(pool, { tenantId, continuing, byChannel }).catch(note));
  await Promise.all(telling);
}

export const failed = ({ operationId }: ReserveCommand): ReserveAnswer => ({
  decision: 'rejected',
  operationId,
  code: 'command_failed',
  message: 'The request could not be recorded. Nothing was reserved. The log of the budget worker names the operation.',
});

export const unreadable = ({ operationId }: ReserveCommand, problem: string): ReserveAnswer => ({
  decision: 'rejected',
  operationId,
  code: 'invalid_request',
  message: `The request could not be read: ${problem}. Nothing was reserved.`,
});

export function unknownTenant(tenantId: string, commands: readonly BudgetCommand[]): ReserveAnswer[] {
  const message = `There is no tenant ${JSON.stringify(tenantId)}. Nothing was reserved. Create it first (POST /v1/tenants).`;
  return commands.flatMap((command) =>
    command.type === 'reserve'
      ? [{ decision: 'rejected' as const, operationId: command.operationId, code: 'unknown_tenant' as const, message }]
      : [],
  );
}
