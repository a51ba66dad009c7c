/** A budget that is reached over the HTTP API: a worker with this needs its address and a key, and neither database nor signals. */
import type { SpendlockClient, PriceView } from '../../client';
import { QuotaExceededError, SpendlockApiError, UnreachableError } from '../../client/errors';
import { newUuid } from '../../client/ids';
import { isErrorCode } from '../../core/errors';
import { formatUsd, parseAmountUsd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import { modelPriceFromRow, type ModelPrice } from '../../core/prices/prices';
import { GivingBack } from './giving-back';
import type { AskedHold, CallMoney, CallOutcome, HeldMoney } from './money';
import { denied, refused } from './refused';

/** How long prices are remembered: a new one is used within that time. */
const rememberMs = 5_000;

export class HttpMoney implements CallMoney {
  private readonly giving = new GivingBack((error) => this.mayPass(error));
  private remembered: { prices: Promise<readonly ModelPrice[]>; untilMs: number } | undefined;

  constructor(
    private readonly client: SpendlockClient,
    private readonly holdSeconds: number,
  ) {}

  prices(): Promise<readonly ModelPrice[]> {
    const nowMs = performance.now();
    if (this.remembered && this.remembered.untilMs > nowMs) return this.remembered.prices;
    const prices = this.client.prices.list().then(
      ({ prices: models }) => models.map(priceFromView),
      (error: unknown) => {
        this.remembered = undefined;
        throw failureOf(error);
      },
    );
    this.remembered = { prices, untilMs: nowMs + rememberMs };
    return prices;
  }

  async hold(asked: AskedHold): Promise<HeldMoney> {
    const { operationId, scope, amountUsd, ...call } = asked;
    const tenant = omitUndefined({ tenantId: scope.tenantId });
    try {
      const { grantedUsd, unreserved } = await this.client.reserve({
        ...{ operationId, amountUsd: formatUsd(amountUsd), ttlSeconds: this.holdSeconds },
        ...{ resource: call.resource, kind: call.kind },
        ...omitUndefined({ ...scope, model: call.model, priceVersion: call.priceVersion }),
      });
      // What goes on without a grant is claimed too: else it would end as never called where nobody learns its cost.
      const claimToken = await this.claim(asked);
      return {
        ...asked,
        grantedUsd: parseAmountUsd(grantedUsd),
        claimToken,
        ...(unreserved ? { isUnreserved: true } : {}),
      };
    } catch (error) {
      // It may have been granted. Nobody uses it, and another attempt asks under another operation.
      if (this.mayPass(error)) this.giving.begin(this.client.release(operationId, tenant));
      throw failureOf(error);
    }
  }

  private async claim({ operationId, scope }: AskedHold): Promise<string> {
    const tenant = omitUndefined({ tenantId: scope.tenantId });
    const idempotencyKey = newUuid();
    const claim = async (): Promise<string> =>
      (await this.client.claim(operationId, { ...tenant, idempotencyKey })).claimToken;
    try {
      return await claim();
    } catch (error) {
      // It may be claimed: then its money comes back for nobody but whoever has the token, which a repeat is told.
      let token: string | undefined;
      const giveBack = async (): Promise<void> =>
        this.giveUp(operationId, { ...tenant, claimToken: (token ??= await claim()) });
      if (this.mayPass(error)) this.giving.insist(giveBack);
      throw error;
    }
  }

  givenBack(): Promise<void> {
    return this.giving.done();
  }

  async extend({ operationId, scope }: HeldMoney): Promise<void> {
    const { tenantId } = scope;
    await this.client.extend(operationId, { ttlSeconds: this.holdSeconds, ...omitUndefined({ tenantId }) });
  }

  async settle(held: HeldMoney, outcome: CallOutcome): Promise<void> {
    const { operationId, scope, claimToken, grantedUsd, isUnreserved } = held;
    const { tenantId } = scope;
    const told = omitUndefined({ tenantId, claimToken });
    if (outcome.billed === 'no' && !isUnreserved) return this.giveUp(operationId, told);
    // Nobody knows: it is charged at its grant once that has run out. That may be less than it surely cost.
    if (outcome.billed === 'unknown' && outcome.knownUsd <= grantedUsd) return;
    const costUsd = outcome.billed === 'known' ? outcome.costUsd : outcome.billed === 'unknown' ? outcome.knownUsd : 0n;
    await this.client.commit(operationId, {
      costUsd: formatUsd(costUsd),
      ...told,
      ...omitUndefined({ usage: usageOf(outcome) }),
      ...(isUnreserved ? { unreserved: callOf(held) } : {}),
    });
  }

  /** One whose grant ran out meanwhile, and was charged, is corrected. */
  private async giveUp(operationId: string, told: { tenantId?: string; claimToken?: string }): Promise<void> {
    try {
      await this.client.release(operationId, told);
    } catch (error) {
      if (!(error instanceof SpendlockApiError) || error.code !== 'operation_conflict') throw error;
      await this.client.commit(operationId, { costUsd: '0', ...told });
    }
  }

  mayPass(error: unknown): boolean {
    if (error instanceof UnreachableError) return true;
    return error instanceof SpendlockApiError && (error.status >= 500 || error.status === 429);
  }
}

const callOf = ({ resource, amountUsd, kind, model, scope: { userId, runId, labels } }: HeldMoney) => ({
  ...{ resource, amountUsd: formatUsd(amountUsd), kind },
  ...omitUndefined({ model, userId, runId, labels }),
});

function usageOf(outcome: CallOutcome): unknown {
  if (outcome.billed === 'no') return undefined;
  return outcome.billed === 'known' ? outcome.usage : { ...(outcome.usage as object), unpriced: outcome.reason };
}

/** What the API answered, as its failure in the workflow. What has no answer may have one later. */
function failureOf(error: unknown): unknown {
  if (error instanceof QuotaExceededError) {
    const { message, quota, retryAfterSeconds, resourceType: resource = 'llm' } = error;
    return denied(`${message} No call was made.`, omitUndefined({ resource, quota, retryAfterSeconds }) as Denial);
  }
  if (error instanceof SpendlockApiError) {
    // Another attempt asks under another operation.
    const ended = ['operation_released', 'claim_refused', 'operation_conflict'].includes(error.code);
    const code = isErrorCode(error.code) ? error.code : 'internal';
    return refused(code, `${error.message} No call was made.`, ended || error.status >= 500 ? { mayRetry: true } : {});
  }
  return error instanceof UnreachableError
    ? refused('authority_unavailable', `${error.message} No call was made.`, { mayRetry: true })
    : error;
}

type Denial = Parameters<typeof denied>[1];

/** A price as the API shows it. */
function priceFromView({ longContext, ...price }: PriceView): ModelPrice {
  return modelPriceFromRow({
    price_version: price.priceVersion,
    provider: price.provider,
    model: price.model,
    effective_from: price.effectiveFrom,
    input_usd_per_mtok: price.inputUsd,
    output_usd_per_mtok: price.outputUsd,
    cache_read_usd_per_mtok: price.cacheReadUsd ?? null,
    cache_write_5m_usd_per_mtok: price.cacheWrite5mUsd ?? null,
    cache_write_1h_usd_per_mtok: price.cacheWrite1hUsd ?? null,
    long_context_threshold_tokens: longContext?.thresholdTokens ?? null,
    long_context_input_usd_per_mtok: longContext?.inputUsd ?? null,
    long_context_output_usd_per_mtok: longContext?.outputUsd ?? null,
    long_context_cache_read_usd_per_mtok: longContext?.cacheReadUsd ?? null,
    long_context_cache_write_5m_usd_per_mtok: longContext?.cacheWrite5mUsd ?? null,
    long_context_cache_write_1h_usd_per_mtok: longContext?.cacheWrite1hUsd ?? null,
    web_search_usd_per_thousand: price.webSearchPerThousandUsd ?? null,
    multipliers: price.multipliers ?? {},
    notes: price.notes ?? '',
    source: price.source,
    source_date: price.sourceDate,
  });
}
