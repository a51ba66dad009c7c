/** A budget that is reached by Postgres and signals, as the activities of a worker of one's own reach it. */
import { randomUUID } from 'node:crypto';
import { inOneSpelling } from '../../core/ids';
import type { Enforced, ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import { labelled, problemOfLabels, type Labels } from '../../core/labels';
import { formatUsd, parseAmountUsd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import { sentAs } from '../../core/resources';
import type { ModelPrice } from '../../core/prices/prices';
import { claimUnknown, nothingToSpend, type PaidCalls } from '../../activities/budget/paid-calls';
import { mayPass } from '../../activities/own-time';
import { askQuickly, quickReplyMs, type AskedBy } from '../../authority/client/ask-quickly';
import { allowUnreserved } from '../../store/decided';
import type { Pool } from '../../store/pool';
import { readPrices } from '../../store/prices';
import { extendReservation, findBought } from '../../store/reservations';
import { readRunNamed } from '../../store/run-limits';
import { readPolicy } from '../../store/tenants';
import { GivingBack } from './giving-back';
import {
  postgresHoldSeconds,
  type AskedHold,
  type CallMoney,
  type CallOutcome,
  type HeldMoney,
  type SpendScope,
} from './money';
import { denied, refused } from './refused';

/** What `budgetForOwnWorker` has. */
export interface PostgresMoneyDependencies extends AskedBy {
  pool: Pool;
  paidCalls: PaidCalls;
  enforced: Enforced;
}

/** What a tenant has that says nothing else. */
const policyDefault = { onUnavailable: 'wait' as const, answerTimeoutMs: 5_000 };

export class PostgresMoney implements CallMoney {
  private readonly giving = new GivingBack(mayPass);

  constructor(private readonly dependencies: PostgresMoneyDependencies) {}

  async prices(): Promise<readonly ModelPrice[]> {
    return (await readPrices(this.dependencies.pool)).models;
  }

  async hold(asked: AskedHold): Promise<HeldMoney> {
    const { operationId } = asked;
    const tenantId = tenantOf(asked.scope);
    const answer = await this.reserve(tenantId, asked).catch((error: unknown) => {
      if (this.mayPass(error)) this.dependencies.paidCalls.giveBack({ tenantId, operationId });
      throw this.mayPass(error) ? noAnswer('Postgres') : error;
    });
    if (!answer) throw noAnswer("The tenant's budget authority");
    if (answer.decision === 'rejected') throw refused(answer.code, `${answer.message} No call was made.`);
    if (answer.decision === 'denied') {
      const { message, quota, retryAfterSeconds, billedAs = asked.resource } = answer;
      throw denied(`${message} No call was made.`, { resource: billedAs, quota, retryAfterSeconds });
    }
    return {
      ...asked,
      grantedUsd: parseAmountUsd(answer.grantedUsd),
      claimToken: await this.claim(tenantId, operationId),
    };
  }

  /** Another attempt asks under another operation. */
  private async claim(tenantId: string, operationId: string): Promise<string> {
    const { paidCalls } = this.dependencies;
    const claim = { tenantId, operationId, claimToken: randomUUID() };
    const granted = await paidCalls.tryClaim(claim).catch(() => {
      this.giving.insist(() => paidCalls.giveUp(claim));
      throw refused('authority_unavailable', claimUnknown);
    });
    if (granted !== undefined) return claim.claimToken;
    throw refused('claim_refused', nothingToSpend, { mayRetry: true });
  }

  givenBack(): Promise<void> {
    return this.giving.done();
  }

  private async reserve(tenantId: string, asked: AskedHold): Promise<ReserveAnswer | undefined> {
    const { pool, replies, enforced } = this.dependencies;
    const command = await this.commandOf(tenantId, asked);
    const soon = await askQuickly(this.dependencies, tenantId, command);
    if (soon) return soon;
    const { onUnavailable, answerTimeoutMs } = (await readPolicy(pool, tenantId)) ?? policyDefault;
    const answer = await replies.wait(tenantId, command, Math.max(1, answerTimeoutMs - quickReplyMs));
    if (answer) return answer;
    if (onUnavailable === 'allow') return allowUnreserved(pool, { tenantId, command, enforced });
    this.dependencies.paidCalls.giveBack({ tenantId, operationId: asked.operationId });
    return undefined;
  }

  private async commandOf(
    tenantId: string,
    { operationId, scope, amountUsd, resource, kind, model, priceVersion }: AskedHold,
  ): Promise<ReserveCommand> {
    const { userId } = scope;
    const runId = scope.runId === undefined ? undefined : inOneSpelling(scope.runId);
    const run = runId === undefined ? undefined : await readRunNamed(this.dependencies.pool, { tenantId, runId });
    if (runId !== undefined && !run)
      throw refused('not_found', `Tenant ${tenantId} has no run ${runId}. No call was made.`);
    return {
      ...{ type: 'reserve', operationId, kind, amountUsd: formatUsd(amountUsd), ttlSeconds: postgresHoldSeconds },
      ...sentAs(resource),
      priceVersion: priceVersion ?? 'caller',
      ...omitUndefined({ userId, model, runId, runLimit: run?.limit }),
      ...labelsOf(scope.labels, run?.labels),
    };
  }

  async extend({ operationId, scope }: HeldMoney): Promise<void> {
    const key = { tenantId: tenantOf(scope), operationId };
    await extendReservation(this.dependencies.pool, { ...key, ttlSeconds: postgresHoldSeconds });
  }

  async settle(held: HeldMoney, outcome: CallOutcome, result?: unknown): Promise<void> {
    const { operationId, scope, claimToken } = held;
    const claim = { tenantId: tenantOf(scope), operationId, ...omitUndefined({ claimToken }) };
    const { paidCalls } = this.dependencies;
    if (outcome.billed === 'no') return paidCalls.settle(claim, { billed: false, reason: 'NotBilledError' });
    if (outcome.billed === 'known') {
      const { costUsd, usage } = outcome;
      return paidCalls.settle(claim, { billed: true, costUsd, usage, result });
    }
    const usage = { ...(outcome.usage as object | undefined), unpriced: outcome.reason };
    const { knownUsd: costUsd } = outcome;
    // Without an outcome it is settled at its grant, which may be less than it surely cost.
    return costUsd > held.grantedUsd
      ? paidCalls.settle(claim, { billed: true, costUsd, isUnverified: true, usage, result })
      : paidCalls.settle(claim, { billed: 'unknown', usage, result });
  }

  async bought(operationIds: readonly string[], scope: SpendScope): Promise<{ result: unknown } | undefined> {
    const { pool, coalescer } = this.dependencies;
    const tenantId = tenantOf(scope);
    const found = await findBought(pool, { tenantId, operationIds });
    if (found?.result == null) return undefined;
    const { operationId, result } = found;
    // Who bought it may not have come to say so.
    coalescer.sendLazily(tenantId, { type: 'commit', operationId }).catch(() => undefined);
    return { result };
  }

  mayPass(error: unknown): boolean {
    return mayPass(error);
  }
}

const noAnswer = (who: string): Error =>
  refused('authority_unavailable', `${who} did not answer in time. No call was made.`);

function tenantOf({ tenantId }: SpendScope): string {
  if (tenantId !== undefined) return tenantId;
  throw refused('invalid_request', "scope.tenantId: the plugin's scope has to name the tenant. No call was made.");
}

function labelsOf(sent: Labels | undefined, ofRun: Labels | undefined): ReturnType<typeof labelled> {
  const found = labelled(sent, ofRun);
  const problem = found.labels && problemOfLabels(found.labels);
  if (problem === undefined) return found;
  throw refused('invalid_request', `labels: with those of the run they ${problem}. No call was made.`);
}
