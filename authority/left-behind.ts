/**
 * What an authority could neither decide nor hand to its next execution: more than the server lets an execution take, sent past
 * what holds the product's own callers back. Nothing of it was decided. Who waits for an answer is told so and can ask again.
 */
import type { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { ReserveAnswer } from '../core/budget/commands';
import type { Pool } from '../store/pool';
import type { Logger } from '../telemetry/log';
import { countLeftBehind } from '../telemetry/metrics';
import { tellAnswers } from './answers';
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
    await tellAnswers(
      { client, pool, log },
      {
        tenantId,
        continuing: false,
        told: commands.map(({ operationId, replyTo }) => ({
          replyTo,
          answer: operationId === undefined ? undefined : unavailable(operationId),
        })),
        // The activity that asked is tried again, and asks again.
        tellActivity: (replyTo) => client.activity.fail(replyTo, ApplicationFailure.retryable(message)),
      },
    );
  };

const unavailable = (operationId: NonNullable<LeftCommand['operationId']>): ReserveAnswer => ({
  decision: 'rejected',
  operationId,
  code: 'authority_unavailable',
  message,
});
