/** What is said to whoever gets no money: by the authority when it decides, and by the gate before that. */
import type { BindingQuota, Resource } from './commands';
import { keptSeconds, keptUsd, type Place } from './line';
import { formatUsd, parseUsd, type Usd } from '../money';
import { labelOfScope, quotaState, remainingUsd, type Standing } from './quotas';

/** A payer that may not reserve for now. */
export interface Freeze {
  tenantId: string;
  /** Absent where the whole tenant is frozen. */
  userId?: string | undefined;
  reason: string;
}

/** A word as a shell takes it whole. */
const shellWord = (text: string): string => (/^[\w.@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The command that lifts a freeze. */
export const unfreezeCommand = ({ tenantId, userId }: Omit<Freeze, 'reason'>): string =>
  `npx spendlock budget unfreeze ${shellWord(tenantId)}${userId === undefined ? '' : ` --user ${shellWord(userId)}`}`;

/** What a payer is told that may not reserve for now. `what` was not done, as a sentence. */
export const frozenMessage = ({ reason, ...frozen }: Freeze, what: string): string =>
  `The budget of ${frozen.userId === undefined ? '' : `user ${frozen.userId} of `}${frozen.tenantId} is frozen: ${reason}. ` +
  `${what} An operator lifts it: \`${unfreezeCommand(frozen)}\`.`;

export const nothingReserved = 'Nothing was reserved.';

/** The refusal of a reserve whose payer is frozen. */
export const refusedAsFrozen = (freeze: Freeze) =>
  ({ type: 'rejected', code: 'budget_frozen', message: frozenMessage(freeze, nothingReserved) }) as const;

/** What is told of a resource that no limit allows anything. `what` was not done, as a sentence. */
export const quotaMissingMessage = (resource: string, what: string): string =>
  `No quota of the tenant covers ${resource}. ${what} Set one (PUT /v1/tenants/{id}/quotas).`;

/** The refusal of a reserve that a database of the version before has no place for: a resource, or what else was asked for. */
export const refusedAsUnheld = (what: string) =>
  ({
    type: 'rejected',
    code: 'invalid_request',
    message: `The database has not been migrated to hold ${what}. ${nothingReserved}`,
  }) as const;

/** A denial: the quota that bound, when to try again, and the same in words. */
export interface QuotaDenial {
  quota: BindingQuota;
  /** What it would have been billed as, where that is not what was asked. */
  billedAs?: Resource;
  /** Absent where waiting cannot help. */
  retryAfterSeconds?: number;
  message: string;
}

/** What was asked for in vain. */
interface Refused {
  quota: Standing;
  /** Absent, or nothing, when that is not known yet. */
  amountUsd?: Usd | undefined;
  minimumUsd?: Usd | undefined;
  /** What was not done, as a sentence. */
  what: string;
}

/** Says that what a quota has left is kept for those that have waited for money longer. */
export const keptDenial = ({ kept, ...refused }: Refused & { kept: readonly Place[] }): QuotaDenial =>
  quotaDenial({
    ...refused,
    keptUsd: keptUsd(refused.quota, kept),
    retryAfterSeconds: keptSeconds(refused.quota, kept),
  });

/** Says that a quota has no room. */
export function quotaDenial({
  quota,
  amountUsd = 0n,
  minimumUsd,
  retryAfterSeconds,
  keptUsd = 0n,
  inEnvelopesUsd = 0n,
  what,
}: Refused & {
  retryAfterSeconds: number | undefined;
  /** Of what is left, kept for those that wait for money longer. */
  keptUsd?: Usd;
  /** Of what is reserved, in envelopes: no call under way gives that back. */
  inEnvelopesUsd?: Usd;
}): QuotaDenial {
  const binding: BindingQuota = { ...quotaState(quota), estimatedUsd: formatUsd(amountUsd) };
  const least = minimumUsd === undefined ? '' : ` (at least $${formatUsd(minimumUsd)})`;
  const leftUsd = remainingUsd(quota);
  const keptOfItUsd = keptUsd < leftUsd ? keptUsd : leftUsd;
  const kept = keptOfItUsd > 0n ? `, $${formatUsd(keptOfItUsd)} of it kept for calls that have waited longer` : '';
  const asked = amountUsd === 0n ? '' : `; $${binding.estimatedUsd}${least} was asked for`;
  const reset = quota.period === 'lifetime' ? 'It never resets.' : `It resets at ${binding.resetsAt}.`;
  return {
    quota: binding,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    message: `${leftOf(quota, binding, inEnvelopesUsd)}${kept}${asked}. ${what} ${reset}`,
  };
}

/** What is said of an answer that a quota cut off, since it left less than the call may cost. */
export const cutOffMessage = (quota: BindingQuota, grantedUsd: string): string =>
  `The answer was cut off: of the $${quota.estimatedUsd} that the call may cost it was granted $${grantedUsd}, which is what the ${quota.resourceType} quota of ` +
  `${quota.scope} ${quota.scopeId} per ${quota.period} had left. What it said is kept, and what it cost is on record. Raise that quota or top it up, and start again; ` +
  'with `"onDenied": "ask"` people are asked for what is lacking before a call is made.';

/** What a quota has left, in words. What a tenant drew of the platform's is no limit that anybody set, and is not told. */
function leftOf(
  quota: Standing,
  { resourceType, scope, scopeId, period, ...usd }: BindingQuota,
  inEnvelopesUsd: Usd,
): string {
  const has = remainingUsd(quota) > 0n;
  if (quota.lease)
    return `The ${resourceType} quota of the platform per ${period} has ${has ? 'too little' : 'nothing'} left for this tenant`;
  // Who has another value than `other` is told why this is its own.
  const beyond = quota.beyondValues?.length
    ? ` (all values of ${labelOfScope(scopeId)[0]} beyond those that are told apart, together)`
    : '';
  const inEnvelopes = inEnvelopesUsd > 0n ? `, $${formatUsd(inEnvelopesUsd)} of it in envelopes` : '';
  return (
    `The ${resourceType} quota of ${scope} ${scopeId}${beyond} per ${period} has ${has ? `$${usd.remainingUsd}` : 'nothing'} left ` +
    `of $${usd.limitUsd} ($${usd.spentUsd} spent, $${usd.reservedUsd} reserved${inEnvelopes})`
  );
}

/** Whether so much would fit the quota that bound, if all that is held of it came back. */
export const fitsWithoutHolds = (
  { limitUsd, spentUsd }: Pick<BindingQuota, 'limitUsd' | 'spentUsd'>,
  neededUsd: Usd,
): boolean => parseUsd(limitUsd) - parseUsd(spentUsd) >= neededUsd;
