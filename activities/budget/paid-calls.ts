/**
 * What every paid activity does around its call: claim before it, write the outcome after it. Without a claim there is
 * no call; with an outcome written, a known cost and a paid answer survive any crash.
 */
import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import type { Logger } from '../../telemetry/log';
import type { AttemptFailureDetails } from '../../contracts/failures';
import { formatUsd, type Usd } from '../../core/money';
import { withinShare } from '../../store/fair-share';
import { asTenant, type Pool, type PoolClient } from '../../store/pool';
import { recordOutcome, recordUnpriced, type NewOutcome } from '../../store/outcomes';
import { claimReservation, type OperationKey } from '../../store/reservations';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import { failure } from '../failures';
import { activityMsLeft, mayPass, noteBeginning, patiently } from '../own-time';
import type { Coalescer } from '../../authority/client/coalescer';
import type { DirectDecisions } from '../../authority/client/direct-decisions';

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

export interface PaidCallsDependencies {
  pool: Pool;
  coalescer: Coalescer;
  /** Absent where only authorities decide. */
  direct?: DirectDecisions | undefined;
  log: Logger;
  atPoint?: ((point: FaultPoint) => Promise<void> | void) | undefined;
}

/** What a call brought that was billed, nobody can tell how much: it is settled at its grant, as unverified. */
export interface UnpricedOutcome {
  billed: 'unknown';
  usage?: unknown;
  result?: unknown;
}

/** The reservation lasts longer than the activity that claims it by this. */
const expiryMarginSeconds = 60;

/** How long a call that is claimed now may take; undefined where nothing says so. */
function callSecondsMax(): number | undefined {
  const leftMs = activityMsLeft();
  return leftMs === undefined ? undefined : leftMs / 1_000 + expiryMarginSeconds;
}

/** What is written in one transaction with an outcome. */
type Alongside = (client: PoolClient) => Promise<void>;

/** Writes an outcome, and what goes along with it in one transaction. True when the outcome is recorded, now or before. */
function record(
  pool: Pool,
  { outcome, ...operation }: OperationKey & { claimToken?: string; outcome: NewOutcome | UnpricedOutcome },
  alongside?: Alongside,
): Promise<boolean> {
  const { tenantId } = operation;
  // By itself it is one statement: a transaction's beginning and end are three commands more.
  if (outcome.billed !== 'unknown' && !alongside)
    return withinShare(pool, tenantId, () => recordOutcome(pool, { ...operation, outcome }));
  const recording = async (client: PoolClient): Promise<boolean> => {
    const isRecorded = await (outcome.billed === 'unknown'
      ? recordUnpriced(client, { ...operation, usage: outcome.usage, result: outcome.result })
      : recordOutcome(client, { ...operation, outcome }));
    // What was brought is kept all the same.
    await alongside?.(client);
    return isRecorded;
  };
  return asTenant(pool, tenantId, recording, { holdsUp: true });
}

/** A reservation that may be claimed, with this token or not at all. */
interface UnknownClaim extends OperationKey {
  claimToken: string;
}

/** A claimed reservation: the right to make one call, and the duty to say what became of it. */
export interface Claim extends UnknownClaim {
  grantedUsd: Usd;
}

/** Why no call is made. */
export const nothingToSpend =
  'The reservation was not granted, has ended, or was claimed by another execution. No call was made.';
export const claimUnknown =
  'Postgres did not say whether the reservation was claimed. No call was made, and what was held for it is given back.';

/** Whether a call that failed has told the authority how it ended. */
const isSettled = (error: unknown): boolean =>
  error instanceof ApplicationFailure && (error.details?.[0] as AttemptFailureDetails | undefined)?.settled === true;

export class PaidCalls {
  constructor(private readonly dependencies: PaidCallsDependencies) {}

  /**
   * Where Postgres does not say whether it is claimed, no call is made, and what is held for it is given back before this fails.
   * @throws ApplicationFailure `claim_refused` when there is nothing to spend: no call may be made. `authority_unavailable` when Postgres
   * did not answer: what was held is given back. Postgres' own error where that took longer than the activity has time.
   */
  async claim(operation: OperationKey): Promise<Claim> {
    noteBeginning();
    const claim = { ...operation, claimToken: randomUUID() };
    const grantedUsd = await this.tryClaim(claim).catch(async (error: unknown) => {
      if (!mayPass(error)) throw error;
      await this.giveUp(claim);
      throw failure('authority_unavailable', claimUnknown, { settled: true, retry: true });
    });
    if (grantedUsd !== undefined) return { ...claim, grantedUsd };
    throw failure('claim_refused', nothingToSpend, { settled: true, retry: true });
  }

  /**
   * What may be spent; undefined where there is nothing to spend. A lost reply is asked for once more: the token makes the repeat the same
   * claim. After an error nobody knows whether it is claimed: then no call may be made, and {@link giveUp} gives its money back.
   */
  async tryClaim({ tenantId, operationId, claimToken }: UnknownClaim): Promise<Usd | undefined> {
    const claim = (): Promise<Usd | undefined> =>
      claimReservation(this.dependencies.pool, { tenantId, operationId, claimToken, callSeconds: callSecondsMax() });
    return claim().catch(claim);
  }

  /**
   * Gives back what is held for a call that is not made since nobody knows whether it is claimed: else it would run out, and be charged.
   * It is claimed for sure first, so that a claim which is still on its way to Postgres comes too late.
   */
  async giveUp(claim: UnknownClaim): Promise<void> {
    await this.patiently('the claim of a call that is not made', () => this.tryClaim(claim));
    await this.settle(claim, { billed: false, reason: 'claim_unknown' });
  }

  /**
   * Claims, and makes one call. One that ends without an outcome is charged at its grant, as unverified, at once: its workflow says so too, but
   * not where its execution was reset or terminated, and it would be held until it runs out.
   * @throws ApplicationFailure `claim_refused` as {@link claim}, and what the call throws.
   */
  async underClaim<T>(operation: OperationKey, call: (claim: Claim) => Promise<T>): Promise<T> {
    const claim = await this.claim(operation);
    try {
      return await call(claim);
    } catch (error) {
      if (!isSettled(error)) this.commit(claim);
      throw error;
    }
  }

  /**
   * Writes the outcome and, in the same transaction, what `alongside` writes, also when the reservation has ended meanwhile: what
   * was paid for is kept, and the money is put right. The next decision
   * of the tenant folds it in: this process's under a mandate, or its authority's, which learns of it soon. While Postgres is away it is tried until
   * the activity's time is over.
   * @throws ApplicationFailure `internal` when what `alongside` writes is refused; the money is put right even then.
   */
  async settle(
    operation: OperationKey & { claimToken?: string },
    outcome: NewOutcome | UnpricedOutcome,
    alongside?: Alongside,
  ): Promise<void> {
    const { pool, direct, log } = this.dependencies;
    const { tenantId, operationId } = operation;
    const write = async (outcome: NewOutcome | UnpricedOutcome, beside?: Alongside): Promise<void> => {
      const recording = (): Promise<boolean> => record(pool, { ...operation, outcome }, beside);
      if (await inSpan(spanNames.costStoreDb, {}, recording)) return;
      log.error(
        { tenantId, operationId, costUsd: formatUsd(outcome.billed === true ? outcome.costUsd : 0n) },
        'an outcome was not recorded: another execution holds the claim, or the claim is lost',
      );
    };
    const what = 'the outcome of a paid step';
    await inSpan(spanNames.costStore, { tenantId, operationId }, async () => {
      try {
        await this.patiently(what, () => write(outcome, alongside));
      } catch (error) {
        if (!alongside || mayPass(error)) throw error;
        log.error(
          { tenantId, operationId, error },
          'what a paid step brought was refused by Postgres; its cost is kept',
        );
        await this.patiently(what, () => write('result' in outcome ? { ...outcome, result: undefined } : outcome));
        throw failure(
          'internal',
          'What the step brought could not be stored. What it cost is on record, and it is not bought again.',
          { settled: true, retry: false },
        );
      }
    });
    // What has no outcome is ended by its commit, and by no look.
    if (direct && outcome.billed !== 'unknown') direct.look(tenantId, () => this.commit(operation));
    else this.commit(operation);
  }

  /** Ends a claimed reservation by what is known of its call. The run does not wait for this, and reads it back at its end. */
  private commit({ tenantId, operationId }: OperationKey): void {
    const { coalescer, log } = this.dependencies;
    coalescer
      .sendLazily(tenantId, { type: 'commit', operationId })
      .catch((error: unknown) => log.warn({ tenantId, operationId, error }, 'a commit could not be sent yet'));
  }

  /** Gives up a reservation that was granted and is not needed: nothing was claimed. The authority learns of it soon. */
  giveBack({ tenantId, operationId }: OperationKey): void {
    const { coalescer, log } = this.dependencies;
    coalescer
      .sendLazily(tenantId, { type: 'release', operationId })
      .catch((error: unknown) => log.warn({ tenantId, operationId, error }, 'a release could not be sent yet'));
  }

  /** Does what has to be done in Postgres for a paid step, for as long as its activity has time. */
  patiently<T>(what: string, work: () => Promise<T>): Promise<T> {
    return patiently(work, { log: this.dependencies.log, what });
  }

  async atPoint(point: FaultPoint): Promise<void> {
    await this.dependencies.atPoint?.(point);
  }
}
