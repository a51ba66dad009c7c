/** What may go on while nobody decides: what the decision itself would grant had nothing been spent or held yet. */
import type { Enforced, ReserveAnswer, ReserveCommand, Resource } from './commands';
import { decideBatch } from './decision';
import { nothingReserved, quotaDenial, type Freeze, type QuotaDenial } from './denials';
import type { Standing } from './quotas';
import { takeBack } from './top-ups';
import type { Refusal } from './reservations';
import type { RunLimit } from './run-limits';
import type { Usd } from '../money';

/** Who asks, as far as it stands on record. */
export interface UndecidedState {
  tenantId: string;
  nowMs: number;
  /** Those of the tenant and of the user that asks; the platform's as the tenant's leases of them. */
  quotas: readonly Standing[];
  enforced: Enforced;
  freeze?: Freeze | undefined;
  /** Those that a database of the version before can hold; absent where it holds any. */
  resourcesKnown?: readonly Resource[] | undefined;
  /** Of the run that it names, and of what that belongs to, as they stand: what they hold may be spent, and nobody has folded it yet. */
  runLimits?: readonly RunLimit[] | undefined;
}

/** At best: what may be spent, or why nothing may; where the request itself is none, only the answer, and nothing is recorded. */
export type AtBest = { allowedUsd: Usd } | { refusal: Refusal } | { answer: ReserveAnswer | undefined };

/** The most that any decision could have granted: what not even that one grants does not go on. */
export function decideAtBest({ quotas, freeze, runLimits, ...state }: UndecidedState, command: ReserveCommand): AtBest {
  const { answers, reservations } = decideBatch(
    {
      ...state,
      ...(freeze?.userId === undefined
        ? { frozen: freeze?.reason }
        : { frozenUsers: { [freeze.userId]: freeze.reason } }),
      quotas: quotas.map(({ lease, limitUsd, ...quota }, index) => {
        const unused = {
          ...quota,
          quotaId: String(index),
          limitUsd: lease?.platformLimitUsd ?? limitUsd,
          ...{ spentUsd: 0n, reservedUsd: 0n, periodStartMs: state.nowMs },
          ...{ thresholdsBasisPoints: [], warnedBasisPoints: [], exceeded: false },
        };
        // What is kept of a top-up that has expired is for what holds it.
        takeBack(unused);
        return unused;
      }),
      reservations: [],
      runLimits,
      holds: [],
    },
    [command],
  );
  const [decided] = reservations;
  if (!decided?.request) return { answer: answers[0] };
  const { request, refusal, grantedUsd = 0n } = decided;
  if (!refusal) return { allowedUsd: grantedUsd };
  if (refusal.type !== 'denied') return { refusal };
  const { requestedUsd: amountUsd, minimumUsd } = request;
  const tight = quotas.find((quota) => isNamed(refusal, quota));
  if (!tight) throw new Error('A denial names a quota that was not among those it was decided by.');
  // It is told of the quota as it stands.
  const asked = { amountUsd, minimumUsd: minimumUsd === amountUsd ? undefined : minimumUsd };
  const { retryAfterSeconds } = refusal;
  return {
    refusal: { type: 'denied', ...quotaDenial({ quota: tight, ...asked, retryAfterSeconds, what: nothingReserved }) },
  };
}

const isNamed = ({ quota }: QuotaDenial, { scope, scopeId, resourceType, period }: Standing): boolean =>
  quota.scope === scope && quota.scopeId === scopeId && quota.resourceType === resourceType && quota.period === period;
