/** The gate before a request: answers from committed state, in one read, whether it has a chance. The authority has the last word. */
import type { Resource } from '../../core/budget/commands';
import { frozenMessage } from '../../core/budget/decision';
import { formatUsd, parseUsd, type Usd } from '../../core/money';
import { calculateRetryAfter } from '../../core/budget/periods';
import { covers } from '../../core/budget/quotas';
import { readGate, type QuotaView, type RepeatOf } from '../../store/tenants';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import type { ProcessDependencies } from '../http/context';
import { denialBody, Denied } from '../http/denials';
import { ApiError } from '../http/errors';

export interface GateRequest {
  tenantId: string;
  userId?: string | undefined;
  resource: Resource;
  /** What it will cost; nothing when that is not known yet. */
  estimatedUsd?: Usd;
  /** What was not done, for the message. */
  what: string;
  /** A repeat of a request that was answered before gets that answer. */
  repeatOf?: RepeatOf;
  /** Its user's quotas count too; one whose policy is to wait for money is let through. */
  conversationId?: string;
}

const headroomOf = (quota: QuotaView): Usd =>
  parseUsd(quota.limitUsd) + parseUsd(quota.topupUsd) - parseUsd(quota.spentUsd) - parseUsd(quota.reservedUsd);

/** The quota that stands in the way, if one does: the one with the least room. */
function inTheWay(
  quotas: readonly QuotaView[],
  { userId, resource, estimatedUsd = 0n }: GateRequest,
): QuotaView | undefined {
  return quotas
    .filter((quota) => covers(quota, { userId, resource }))
    .filter((quota) => headroomOf(quota) <= 0n || headroomOf(quota) < estimatedUsd)
    .sort((a, b) => (headroomOf(a) < headroomOf(b) ? -1 : 1))[0];
}

/**
 * Lets a request pass that some money is left for; more may be drawn for a lease of the platform's quota, so that does not
 * count.
 * @throws Denied with the quota that stands in the way, ApiError `budget_frozen` with the reason.
 */
export async function gate(
  { pool, enforced }: ProcessDependencies,
  request: GateRequest,
): Promise<readonly QuotaView[]> {
  const { tenantId, resource } = request;
  return inSpan(spanNames.quotaCheck, { tenantId, resource }, async () => {
    const { quotas, answered, waits, userId, frozenReason } = await inSpan(spanNames.quotaGet, {}, () =>
      readGate(pool, request),
    );
    // One whose period has ended is read as the next one begins.
    const ended = quotas.filter(({ wasEnded }) => wasEnded).length;
    if (ended > 0) await inSpan(spanNames.quotaReset, { quotas: ended }, () => Promise.resolve());
    // The authority refuses whoever is frozen, enforcement or not, and nobody waits for that to pass.
    if (frozenReason !== undefined && !answered)
      throw new ApiError('budget_frozen', frozenMessage(frozenReason, request.what));
    const full = inTheWay(quotas, { userId, ...request });
    if (!full || !enforced[request.resource] || answered || waits) return quotas;
    throw deniedBy(full, request);
  });
}

function deniedBy(full: QuotaView, { resource, estimatedUsd = 0n, what }: GateRequest): Denied {
  const resetsAt = full.periodEnd.toISOString();
  const left = headroomOf(full);
  const remainingUsd = formatUsd(left > 0n ? left : 0n);
  const reset = full.period === 'lifetime' ? 'It never resets.' : `It resets at ${resetsAt}.`;
  const message = `The ${full.resourceType} quota of ${full.scope} ${full.scopeId} per ${full.period} has ${
    left > 0n ? `$${remainingUsd}` : 'nothing'
  } left of $${full.limitUsd} ($${full.spentUsd} spent, $${full.reservedUsd} reserved). ${what} ${reset}`;
  const quota = {
    scope: full.scope,
    scopeId: full.scopeId,
    resourceType: full.resourceType,
    period: full.period,
    limitUsd: full.limitUsd,
    spentUsd: full.spentUsd,
    reservedUsd: full.reservedUsd,
    remainingUsd,
    estimatedUsd: formatUsd(estimatedUsd),
    resetsAt,
  };
  const retryAfterSeconds = calculateRetryAfter(full.period, Date.now());
  return new Denied(denialBody({ message, resource, quota, retryAfterSeconds }));
}
