/**
 * Limits of runs: what a run, a turn or a workflow of one's own may cost with all that belongs to it, whoever asks. They stand in the
 * books beside the quotas and are decided with them, all or nothing. They have no period, no alerts and no line of those that wait: only what
 * calls under way hold of them comes back.
 */
import type { ReserveCommand, RunLimitRef } from './commands';
import { formatUsd, MoneyError, parseAmountUsd, type Usd } from '../money';
import type { Amounts, Refusal } from './reservations';
import { heldSeconds } from './retry-after';

/** A run's limit as Postgres holds it. */
export interface RunLimit {
  runId: string;
  /** What the run belongs to, the nearest first: their limits cover it too. */
  ancestorIds: readonly string[];
  /** Absent where only its ancestors have one. */
  limitUsd?: Usd | undefined;
  /** The ledger's lines of the run and of all that belongs to it. */
  spentUsd: Usd;
  /** Their open reservations. */
  reservedUsd: Usd;
}

/** The most levels that a tree of runs has. */
const runLevelsMax = 8;

const unspentUsd = ({ limitUsd = 0n, spentUsd }: RunLimit): Usd => limitUsd - spentUsd;
const nowLeftUsd = (limit: RunLimit): Usd => unspentUsd(limit) - limit.reservedUsd;

/** The limit that leaves a request the least, now or by another measure; undefined where none binds. */
export function tightestOfRun(
  limits: readonly RunLimit[],
  leftOf: (limit: RunLimit) => Usd = nowLeftUsd,
): { limit: RunLimit; leftUsd: Usd } | undefined {
  const [first] = limits
    .flatMap((limit) => (limit.limitUsd === undefined ? [] : [{ limit, leftUsd: leftOf(limit) }]))
    .sort((a, b) => (a.leftUsd < b.leftUsd ? -1 : a.leftUsd > b.leftUsd ? 1 : 0));
  return first;
}

/**
 * The limits that cover what a command asks for, its own run's first. A run that is named alone may have none; one that the command
 * brings and that is not as it says, or that was not added, is refused.
 */
export function limitsNamed(known: ReadonlyMap<string, RunLimit>, named: RunLimitRef): RunLimit[] | Refusal {
  const { id, parentId } = named;
  const limit = known.get(id);
  const refused = (code: 'run_limit_conflict' | 'run_parent_refused', message: string): Refusal => ({
    type: 'rejected',
    code,
    message: `${message} Nothing was reserved.`,
  });
  if (!limit) {
    if (parentId === undefined) {
      if (named.limitUsd === undefined) return [];
      return refused('run_limit_conflict', `The limit of the run ${id} could not be put on record.`);
    }
    return refused(
      'run_parent_refused',
      `The run ${id} cannot belong to ${parentId}: that is no run of the tenant that goes on and has a limit, or it is ${runLevelsMax} deep already.`,
    );
  }
  const limitUsd = named.limitUsd === undefined ? undefined : amountOf(named.limitUsd);
  if (limitUsd !== undefined && limitUsd !== limit.limitUsd)
    return refused(
      'run_limit_conflict',
      `The run ${id} has ${limit.limitUsd === undefined ? 'no limit of its own' : `a limit of $${formatUsd(limit.limitUsd)}`}, not one of $${named.limitUsd}. It stands: ask with that one or with none, or start under another run id, which counts anew.`,
    );
  if (parentId !== undefined && parentId !== limit.ancestorIds[0])
    return refused(
      'run_limit_conflict',
      `The run ${id} belongs to ${limit.ancestorIds[0] ?? 'no other'}, not to ${parentId}. That stands: ${
        parentId === id
          ? 'a child spends as its parent (by its runId) or as a run of its own (by parentRunId), not as both.'
          : 'ask with that one or with none, or start under another run id.'
      }`,
    );
  return [limit, ...limit.ancestorIds.flatMap((ancestor) => known.get(ancestor) ?? [])];
}

const amountOf = (text: string): Usd | undefined => {
  try {
    return parseAmountUsd(text);
  } catch (error) {
    if (error instanceof MoneyError) return undefined;
    throw error;
  }
};

/**
 * The limits that commands bring or name, each once. Of several that come for one run the first that can be is added, so all of them are
 * asked for. What is no amount is left to the decision.
 */
export function limitsAsked(commands: readonly ReserveCommand[]): RunLimitRef[] {
  const asked = new Map<string, RunLimitRef>();
  for (const { runLimit } of commands) {
    if (!runLimit || (runLimit.limitUsd !== undefined && amountOf(runLimit.limitUsd) === undefined)) continue;
    asked.set([runLimit.id, runLimit.limitUsd, runLimit.parentId].join(' '), runLimit);
  }
  return [...asked.values()];
}

/**
 * Why a run's limits leave too little; undefined where they leave enough. One that is spent stands before one of which calls under way hold
 * what is missing: only the latter may pass. Without amounts some money has to be left, however little.
 */
export function refusedByRun(
  limits: readonly RunLimit[],
  { runId, amounts }: { runId: string; amounts: Amounts | undefined },
): Extract<Refusal, { type: 'rejected' }> | undefined {
  const leastUsd = amounts?.minimumUsd ?? amounts?.amountUsd ?? 1n;
  const [now, later] = [tightestOfRun(limits), tightestOfRun(limits, unspentUsd)];
  if (!now || !later || now.leftUsd >= leastUsd) return undefined;
  const isHeld = later.leftUsd >= leastUsd;
  const { limit } = isHeld ? now : later;
  const whose =
    limit.runId === runId ? "the run's own limit" : `the limit of the run ${limit.runId}, to which it belongs,`;
  const left = nowLeftUsd(limit);
  const has = left > 0n ? `$${formatUsd(left)}` : 'Nothing';
  const least = amounts?.minimumUsd === undefined ? '' : ` (at least $${formatUsd(amounts.minimumUsd)})`;
  const asked = amounts ? `; $${formatUsd(amounts.amountUsd)}${least} was asked for` : '';
  const held = isHeld ? `, $${formatUsd(limit.reservedUsd)} of it is held by calls under way and may come back` : '';
  return {
    type: 'rejected',
    code: 'run_limit_exceeded',
    message:
      `${has} is left of ${whose} of $${formatUsd(limit.limitUsd ?? 0n)} ($${formatUsd(limit.spentUsd)} spent, ` +
      `$${formatUsd(limit.reservedUsd)} reserved)${held}${asked}. Nothing was reserved.`,
    ...(isHeld ? { retryAfterSeconds: heldSeconds, leftWithoutHoldsUsd: formatUsd(later.leftUsd) } : {}),
  };
}
