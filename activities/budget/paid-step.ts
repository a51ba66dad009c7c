/**
 * What every paid activity does around its call: claim before it, write the outcome after it. Without a claim there is
 * no call; with an outcome written, a known cost and a paid answer survive any crash.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from '../../telemetry/log';
import { formatUsd, type Usd } from '../../core/money';
import { asTenant, type Pool, type PoolClient } from '../../store/pool';
import { claimReservation, recordOutcome, type NewOutcome, type OperationKey } from '../../store/reservations';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import { failure } from '../failures';
import type { Coalescer } from '../../authority/coalescer';

/** Moments at which tests stop, kill or delay a worker. */
export type FaultPoint =
  | 'llm.before-claim'
  | 'llm.claimed'
  | 'llm.streaming'
  | 'llm.outcome-written'
  | 'sandbox.created'
  | 'sandbox.extended'
  | 'sandbox.paused'
  | 'sandbox.resumed';

export interface PaidStepDependencies {
  pool: Pool;
  coalescer: Coalescer;
  log: Logger;
  atPoint?: ((point: FaultPoint) => Promise<void> | void) | undefined;
}

/** A claimed reservation: the right to make one call, and the duty to say what became of it. */
export interface Claim extends OperationKey {
  claimToken: string;
  grantedUsd: Usd;
}

export class PaidStep {
  constructor(private readonly dependencies: PaidStepDependencies) {}

  /** @throws ApplicationFailure `claim_refused` when there is nothing to spend: no call may be made. */
  async claim({ tenantId, operationId }: OperationKey): Promise<Claim> {
    const claimToken = randomUUID();
    const claim = (): Promise<Usd | undefined> =>
      claimReservation(this.dependencies.pool, { tenantId, operationId, claimToken });
    // A lost reply is asked for once more: the token makes the repeat the same claim.
    const grantedUsd = await claim().catch(claim);
    if (grantedUsd === undefined) {
      throw failure(
        'claim_refused',
        'The reservation was not granted, has ended, or was claimed by another execution. No call was made.',
        { settled: true, retry: true },
      );
    }
    return { tenantId, operationId, claimToken, grantedUsd };
  }

  /**
   * Writes the outcome and, in the same transaction, what `alongside` writes, unless the reservation has ended meanwhile:
   * then the run has gone on without this execution, and only the money is put right. The authority learns of it soon.
   */
  async settle(
    operation: OperationKey & { claimToken?: string },
    outcome: NewOutcome,
    alongside?: (client: PoolClient) => Promise<void>,
  ): Promise<void> {
    const { pool, coalescer, log } = this.dependencies;
    const { tenantId, operationId } = operation;
    const write = (): Promise<void> =>
      asTenant(pool, tenantId, async (client, commitWith) => {
        const writing = Promise.all([
          client.query<{ status: string }>(
            'SELECT status FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2 FOR UPDATE',
            [tenantId, operationId],
          ),
          inSpan(spanNames.costStoreDb, {}, () => recordOutcome(client, { ...operation, outcome })),
        ]);
        const [{ rows }, recorded] = await (alongside ? writing : commitWith(writing));
        if (!recorded)
          log.error(
            { tenantId, operationId, costUsd: formatUsd(outcome.billed ? outcome.costUsd : 0n) },
            'an outcome was not recorded: another execution holds the claim, or the claim is lost',
          );
        if (recorded && rows[0]?.status === 'granted') await alongside?.(client);
      });
    await inSpan(spanNames.costStore, { tenantId, operationId }, write);
    // The run does not wait for this, and reads it back at its end.
    coalescer
      .sendLazily(tenantId, { type: 'commit', operationId })
      .catch((error: unknown) => log.warn({ tenantId, operationId, error }, 'a commit could not be sent yet'));
  }

  async atPoint(point: FaultPoint): Promise<void> {
    await this.dependencies.atPoint?.(point);
  }
}
