/** What becomes of a call whose provider ended it as failed and said what it used. */
import { formatUsd } from '../../core/money';
import type { PricedCall } from '../../core/prices/price-call';
import type { Logger } from '../../telemetry/log';
import type { Claim, PaidCalls } from '../budget/paid-calls';
import { failure } from '../failures';

interface FailedCall {
  claim: Claim;
  runId: string;
  priced: PricedCall;
  retryAfterSeconds: number | undefined;
}

/** It is billed all the same: the cost is known, and the step fails. */
export async function failBilled(
  { paidCalls, log }: { paidCalls: PaidCalls; log: Logger },
  { claim, runId, priced, retryAfterSeconds }: FailedCall,
): Promise<never> {
  const { tenantId, operationId } = claim;
  // Unsettled to the workflow: it asks for what the attempt cost, and counts it towards the run's own limit.
  const details = { settled: false, retry: true, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
  const said = 'The provider ended the response as failed';
  if (!priced.isPriced) {
    const { reason, knownUsd, usage } = priced;
    // Without an outcome it is settled at its grant, which is less than it surely cost.
    if (knownUsd > claim.grantedUsd)
      await paidCalls.settle(claim, {
        billed: true,
        costUsd: knownUsd,
        isUnverified: true,
        usage: { ...usage, unpriced: reason },
      });
    log.error({ tenantId, runId, operationId, error: new Error(reason) }, 'a failed model call cannot be priced');
    throw failure('outcome_unknown', `${said}. ${reason}`, details);
  }
  const { usage } = priced;
  const costUsd = formatUsd(priced.costUsd);
  await paidCalls.settle(claim, { billed: true, costUsd: priced.costUsd, usage });
  log.warn({ tenantId, runId, operationId, costUsd }, 'a model call failed, and was billed');
  throw failure('outcome_unknown', `${said}, and bills what it used: $${costUsd} were charged.`, details);
}
