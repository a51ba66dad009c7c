/**
 * What an authority could neither decide nor hand to its next execution: more than the server lets an execution take, sent past
 * what holds the product's own callers back. Nothing of it was decided. Who waits for an answer is told so and can ask again.
 */
import { ActivityNotFoundError, type Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { ReserveAnswer } from '../core/budget/commands';
import { notifyAnswers, type AddressedAnswer } from '../store/answers';
import type { Pool } from '../store/pool';
import type { Logger } from '../telemetry/log';
import { countLeftBehind } from '../telemetry/metrics';
import type { AuthorityActivities, LeftCommand } from '../contracts/budget';

const message =
  'The budget authority had more to do than it could take, and left this request behind. Nothing was reserved. Ask again in a moment.';

export const createLeaveBehind =
  ({ pool, client, log }: { pool: Pool; client: Client; log: Logger }): AuthorityActivities['leaveBehind'] =>
  async ({ tenantId, commands }) => {
    const reserves = commands.filter(({ type }) => type === 'reserve').length;
    countLeftBehind({ tenantId, reserves, others: commands.length - reserves });
    log.error(
      { tenantId, commands: commands.length, operationId: commands[0]?.operationId },
      'commands were left behind, the named one and those after it: more signals came than an authority can take',
    );
    const byChannel = new Map<string, AddressedAnswer[]>();
    const told: Promise<void>[] = [];
    const note = (error: unknown): void => {
      if (!(error instanceof ActivityNotFoundError)) log.warn({ tenantId, error }, 'an answer could not be delivered');
    };
    for (const { operationId, replyTo } of commands) {
      if (!replyTo || operationId === undefined) continue;
      if ('channel' in replyTo) {
        const addressed = byChannel.get(replyTo.channel) ?? [];
        addressed.push({ waiter: replyTo.waiter, answer: unavailable(operationId) });
        byChannel.set(replyTo.channel, addressed);
        // The activity that asked is tried again, and asks again.
      } else told.push(client.activity.fail(replyTo, ApplicationFailure.retryable(message)).catch(note));
    }
    if (byChannel.size > 0) told.push(notifyAnswers(pool, { tenantId, continuing: false, byChannel }).catch(note));
    await Promise.all(told);
  };

const unavailable = (operationId: NonNullable<LeftCommand['operationId']>): ReserveAnswer => ({
  decision: 'rejected',
  operationId,
  code: 'authority_unavailable',
  message,
});
