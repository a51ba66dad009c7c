/** The gate before a request: answers from committed state, in one read, whether it has a chance. The authority has the last word. */
import type { Resource } from '../../core/budget/commands';
import {
  frozenMessage,
  keptDenial,
  quotaDenial,
  quotaMissingMessage,
  type QuotaDenial,
} from '../../core/budget/denials';
import { keptFrom, keptUsd } from '../../core/budget/line';
import type { Labels } from '../../core/labels';
import type { Usd } from '../../core/money';
import { covers, headroomUsd, standingOf, tightest, type Payer, type Standing } from '../../core/budget/quotas';
import { leftWithoutHolds } from '../../core/budget/top-ups';
import { inEnvelopesUsd, retryAfterSeconds } from '../../core/budget/retry-after';
import { refusedByRun, type RunLimit } from '../../core/budget/run-limits';
import { billedAs, binds, mayBeGranted } from '../../core/resources';
import { readGate, type GateState, type RepeatOf } from '../../store/gate';
import { readHolds } from '../../store/holds';
import type { Pool } from '../../store/pool';
import type { StoredQuota } from '../../store/quota-rows';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import type { ProcessDependencies } from '../http/context';
import { denialBody, Denied, rejected } from '../http/denials';
import { ApiError } from '../http/errors';

export interface GateRequest {
  tenantId: string;
  userId?: string | undefined;
  resource: Resource;
  /** What it is for: of a conversation its turn's decisions know them, and this does not. */
  labels?: Labels | undefined;
  /** What it will cost; nothing when that is not known yet. */
  estimatedUsd?: Usd;
  /** What was not done, for the message. */
  what: string;
  /** The run that it belongs to, and the limits that bind that, its own by its id among them. */
  run?: { runId: string; limitId: string; limits: readonly RunLimit[] } | undefined;
  /** A repeat of a request that was answered before gets that answer. */
  repeatOf?: RepeatOf;
  /** Its user's quotas count too; one whose policy is to wait for money is let through. */
  conversationId?: string;
  /** Its steps wait a moment for what others hold: it is let pass where only that stands in its way. */
  waitsForHolds?: boolean;
  /** What no limit allows anything is refused already: a check has no decision after it that would say so. */
  needsQuota?: boolean;
}

/** What passed: the tenant's quotas that were looked at, and what it will be billed as. */
export interface Passed {
  quotas: readonly StoredQuota[];
  resource: Resource;
}

/**
 * Lets a request pass that some money is left for; more may be drawn for a lease of the platform's quota, so that does not
 * count.
 * @throws Denied with the quota that stands in the way, ApiError `run_limit_exceeded` where the limit of its run does, `budget_frozen` with the
 * reason, or `quota_missing` where one is needed.
 */
export async function gate({ pool, enforced }: ProcessDependencies, request: GateRequest): Promise<Passed> {
  const { tenantId, resource: asked, what } = request;
  return inSpan(spanNames.quotaCheck, { tenantId, resource: asked }, async () => {
    const state = await inSpan(spanNames.quotaGet, {}, () => readGate(pool, request));
    const { quotas, answered, waits, frozen } = state;
    // One whose period has ended is read as the next one begins.
    const ended = quotas.filter(({ wasEnded }) => wasEnded).length;
    if (ended > 0) await inSpan(spanNames.quotaReset, { quotas: ended }, () => Promise.resolve());
    // The authority refuses whoever is frozen, enforcement or not, and nobody waits for that to pass.
    if (frozen && !answered) throw new ApiError('budget_frozen', frozenMessage(frozen, what));
    if (!answered) refuseByRun(request);
    const { payer, covering } = coverOf(state, request);
    const { resource } = payer;
    if (request.needsQuota && !answered && !mayBeGranted(resource, covering))
      throw new ApiError('quota_missing', quotaMissingMessage(resource, what));
    if (binds(enforced, resource) && !answered && !waits) await denyWithoutMoney(pool, { ...request, payer }, state);
    return { quotas, resource };
  });
}

/** Refuses as the authority would, by the limits of the run. */
function refuseByRun({ run, estimatedUsd }: GateRequest): void {
  const amounts = estimatedUsd ? { amountUsd: estimatedUsd } : undefined;
  const refusal = run && refusedByRun(run.limits, { runId: run.limitId, amounts });
  if (refusal) throw rejected(refusal);
}

/** Whose the platform's quotas are. */
const platform = { scope: 'platform', scopeId: 'platform' } as const;

/** What a request would be billed as, for whom, and which limits cover it. */
export function coverOf(
  { quotas, ofPlatform, userId: ofConversation }: Pick<GateState, 'quotas' | 'ofPlatform' | 'userId'>,
  { resource: asked, userId = ofConversation, labels }: Pick<GateRequest, 'resource' | 'userId' | 'labels'>,
): { payer: Payer; covering: readonly Pick<StoredQuota, 'scope'>[] } {
  const limits = [...quotas, ...ofPlatform.map((resourceType) => ({ ...platform, resourceType }))];
  const payer = { userId, resource: billedAs(asked, limits, { userId }), labels };
  return { payer, covering: limits.filter((quota) => covers(quota, payer)) };
}

/** Denies as the authority would: by the same quota, in the same words, and with the same time to wait. */
async function denyWithoutMoney(
  pool: Pool,
  request: GateRequest & { payer: Payer },
  { quotas, line, nowMs }: GateState,
): Promise<void> {
  const { tenantId, payer, conversationId, run, estimatedUsd, what, waitsForHolds = false } = request;
  const binding = quotas.map(standingOf).filter((quota) => covers(quota, payer));
  const kept = keptFrom(line, { runId: run?.runId ?? conversationId });
  const leftUsd = waitsForHolds ? leftWithoutHolds : (one: Standing): Usd => headroomUsd(one) - keptUsd(one, kept);
  const full = tightest(binding, leftUsd);
  // Of a request that costs nothing, as of one whose cost is not known, some money has to be left.
  const neededUsd = estimatedUsd || 1n;
  if (!full || leftUsd(full) >= neededUsd) return;
  const refused = { quota: full, amountUsd: estimatedUsd, what };
  const deny = (denial: QuotaDenial): never => {
    throw new Denied(denialBody({ ...denial, resource: payer.resource }));
  };
  if (headroomUsd(full) >= neededUsd) deny(keptDenial({ ...refused, kept }));
  // Where nothing is reserved no hold can make room, and one read was enough.
  const holds = binding.some(({ reservedUsd }) => reservedUsd > 0n) ? await readHolds(pool, tenantId, binding) : [];
  const seconds = retryAfterSeconds({ quotas: binding, holds, neededUsd, nowMs });
  deny(quotaDenial({ ...refused, retryAfterSeconds: seconds, inEnvelopesUsd: inEnvelopesUsd(full, holds) }));
}
