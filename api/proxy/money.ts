/**
 * The money of a call that is passed on: reserved and claimed before it, held while it goes on, and what it cost written after it. Each
 * call is an operation of its own, and so is each try of a client that tries again, since each can be billed.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import { fitsWithoutHolds } from '../../core/budget/denials';
import { heldSeconds } from '../../core/budget/retry-after';
import { formatUsd, parseUsd, type Usd } from '../../core/money';
import type { ModelPrice } from '../../core/prices/prices';
import { recordOutcome, recordUnpriced } from '../../store/outcomes';
import { asTenant, isDatabaseAway, type Pool } from '../../store/pool';
import { extendReservation, type OperationKey } from '../../store/reservations';
import type { Logger } from '../../telemetry/log';
import type { Authority } from '../http/context';
import { denialBody, Denied, rejected } from '../http/denials';
import { ApiError } from '../http/errors';
import type { Policies } from '../http/lookups';
import { Claims } from './claims';
import type { ProxyCaller } from './keys';
import { payerOf, type CallPayer } from './payer';

/** A hold lasts so long without word of its call: that of a process that ended is settled then. */
const defaultHoldSeconds = 180;
/** A call whose outcome cannot be written is tried again for so long; the hold of one that never is runs out, and is charged. */
const writingMsMax = 600_000;

/** What became of a call. */
export type CallOutcome =
  | { billed: 'no' }
  | { billed: 'known'; costUsd: Usd; usage: unknown }
  /** Nobody can say what it cost: at least what is known. */
  | { billed: 'unknown'; knownUsd: Usd; usage?: unknown; reason: string };

/** A claimed reservation: the right to make one call, and the duty to say what became of it. */
export interface Held extends OperationKey {
  claimToken: string;
  grantedUsd: Usd;
  /** Holds it while the call goes on. */
  timer: NodeJS.Timeout;
}

interface MoneyDependencies {
  pool: Pool;
  authority: Pick<Authority, 'reserve' | 'writeOutcome' | 'send'>;
  policies: Pick<Policies, 'of'>;
  log: Logger;
  holdSeconds?: number | undefined;
}

export class ProxyMoney {
  private readonly settling = new Set<Promise<void>>();
  private readonly claims: Claims;

  constructor(private readonly dependencies: MoneyDependencies) {
    this.claims = new Claims(dependencies.pool);
  }

  payerOf(caller: ProxyCaller): Promise<CallPayer> {
    return payerOf(this.dependencies.pool, caller);
  }

  /**
   * Reserves and claims. What a client that has gone was granted is given back.
   * @throws Denied, or ApiError: no call may be made.
   */
  async hold(
    payer: CallPayer,
    { price, amountUsd, gone }: { price: ModelPrice; amountUsd: Usd; gone: AbortSignal },
  ): Promise<Held> {
    const { authority, policies } = this.dependencies;
    const { tenantId, ...whatFor } = payer;
    const operationId = randomUUID();
    const { answerTimeoutMs, onUnavailable } = await policies.of(tenantId);
    const command: ReserveCommand = {
      type: 'reserve',
      ...{ operationId, resource: 'llm', kind: 'llm.call', model: price.model, priceVersion: price.priceVersion },
      ...{ amountUsd: formatUsd(amountUsd), ttlSeconds: this.holdSeconds },
      ...whatFor,
    };
    const timeoutMs = answerTimeoutMs;
    const answer = await authority.reserve(tenantId, command, { timeoutMs, allow: onUnavailable === 'allow', gone });
    checkGranted(answer, operationId);
    return this.claim({ tenantId, operationId }, gone);
  }

  private async claim(key: OperationKey, gone: AbortSignal): Promise<Held> {
    const { pool } = this.dependencies;
    const claimToken = randomUUID();
    const claim = (): Promise<Usd | undefined> => this.claims.claim({ ...key, claimToken });
    // A lost reply is asked for once more: the token makes the repeat the same claim.
    const grantedUsd = await claim()
      .catch(claim)
      .catch((error: unknown) => {
        this.settleSoon(key, claimToken, { billed: 'no' });
        throw error;
      });
    if (grantedUsd === undefined)
      throw new ApiError('claim_refused', 'The reservation ended before it was used. No call was made.', {
        operationId: key.operationId,
      });
    const extend = (): void =>
      void extendReservation(pool, { ...key, ttlSeconds: this.holdSeconds }).catch((error: unknown) =>
        this.dependencies.log.warn({ ...key, error }, 'a hold could not be held for longer'),
      );
    const timer = setInterval(extend, (this.holdSeconds * 1_000) / 3).unref();
    const held = { ...key, claimToken, grantedUsd, timer };
    if (!gone.aborted) return held;
    this.settle(held, { billed: 'no' });
    throw new ApiError('invalid_request', 'Its client went before the call was made.');
  }

  /** Writes what became of a call, for as long as it takes; nobody waits for it but whoever ends this process. */
  settle({ timer, claimToken, grantedUsd, ...key }: Held, outcome: CallOutcome): void {
    clearInterval(timer);
    this.settleSoon(key, claimToken, outcome, grantedUsd);
  }

  /** Resolves once all that was to be written is written. */
  async settled(): Promise<void> {
    while (this.settling.size > 0) await Promise.all(this.settling);
  }

  private settleSoon(key: OperationKey, claimToken: string, outcome: CallOutcome, grantedUsd: Usd = 0n): void {
    const settling = this.patiently(key, () => this.write({ ...key, claimToken, grantedUsd }, outcome));
    this.settling.add(settling);
    void settling.finally(() => this.settling.delete(settling));
  }

  private async write(held: Omit<Held, 'timer'>, outcome: CallOutcome): Promise<void> {
    const { pool, authority, log } = this.dependencies;
    const { tenantId, operationId, claimToken, grantedUsd } = held;
    if (outcome.billed !== 'unknown') {
      const told = outcome.billed === 'no' ? {} : { costUsd: outcome.costUsd, usage: outcome.usage };
      const { written, outcome: before } = await authority.writeOutcome(tenantId, { operationId, claimToken, ...told });
      if (!written && before === null) log.error({ tenantId, operationId }, 'the outcome of a call was not recorded');
      return;
    }
    const { knownUsd, reason } = outcome;
    const usage = { ...(outcome.usage as object | undefined), unpriced: reason };
    const key = { tenantId, operationId, claimToken };
    // Without an outcome it is settled at its grant, which may be less than it surely cost.
    if (knownUsd > grantedUsd)
      await recordOutcome(pool, { ...key, outcome: { billed: true, costUsd: knownUsd, isUnverified: true, usage } });
    else await asTenant(pool, tenantId, (client) => recordUnpriced(client, { ...key, usage, result: null }));
    authority.send(tenantId, { type: 'commit', operationId });
  }

  /** Again while Postgres is away. */
  private async patiently(key: OperationKey, write: () => Promise<void>): Promise<void> {
    const { log } = this.dependencies;
    const endMs = performance.now() + writingMsMax;
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 5_000)) {
      try {
        return await write();
      } catch (error) {
        const isOver = !isDatabaseAway(error) || performance.now() > endMs;
        log[isOver ? 'error' : 'warn']({ ...key, error }, 'the outcome of a call could not be written');
        if (isOver) return;
      }
      await sleep(waitMs);
    }
  }

  private get holdSeconds(): number {
    return this.dependencies.holdSeconds ?? defaultHoldSeconds;
  }
}

function checkGranted(answer: ReserveAnswer | undefined, operationId: string): void {
  if (!answer)
    throw new ApiError(
      'authority_unavailable',
      "The tenant's budget authority did not answer in time. No call was made and nothing is held.",
      { operationId },
    );
  if (answer.decision === 'rejected') throw rejected(answer);
  if (answer.decision === 'denied') {
    const { message, quota } = answer;
    const retryAfterSeconds = whenHeldIsBack(answer);
    throw new Denied({ ...denialBody({ message, resource: 'llm', quota, retryAfterSeconds }), operationId });
  }
}

/** When the same call may fit: soon where what is held would do, also by those whose call is about to begin. Until then SDKs wait by themselves. */
function whenHeldIsBack({
  quota,
  retryAfterSeconds,
}: Extract<ReserveAnswer, { decision: 'denied' }>): number | undefined {
  return retryAfterSeconds !== undefined && fitsWithoutHolds(quota, parseUsd(quota.estimatedUsd))
    ? Math.min(retryAfterSeconds, heldSeconds)
    : retryAfterSeconds;
}
