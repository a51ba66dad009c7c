/** What was decided of operations, for whoever asks again; and what may go on undecided. */
import type { Enforced, ReserveAnswer, ReserveCommand, Resource } from '../core/budget/commands';
import { withoutEnvelope } from '../core/budget/envelopes';
import { answerFromRecord, asksAgain } from '../core/budget/requests';
import { standingOf, type Standing } from '../core/budget/quotas';
import { manyAskers, toldAlso, type Refusal, type Reservation } from '../core/budget/reservations';
import { decideAtBest } from '../core/budget/undecided';
import { spelled } from '../core/inputs/read-command';
import type { Labels } from '../core/labels';
import { binds } from '../core/resources';
import { formatUsd, parseAmountUsd, parseUsd, type Usd } from '../core/money';
import { knowsFunction } from './known-functions';
import { freezeOf, type FrozenPayer } from './freezes';
import { recordOutcomeWithin, type OutcomeItem } from './outcomes';
import { asTenant, type Pool, type PoolClient } from './pool';
import { bringRunLimit } from './run-limits';
import type { StoredQuota } from './quota-rows';
import { isOwn, selectQuotas } from './quotas';
import { billedResource, resourcesHeld } from './resources';
import { reservationFrom, type ReservationJson } from './reservation-rows';

/**
 * What is on record of those that ask, who are told of it. Of a grant that somebody else asked for it is noted that they are, before
 * they are: it is not given back any more because that one has gone. One that may have gone away is told of no grant that has run out.
 */
export async function readReservations(
  pool: Pool,
  { tenantId, commands }: { tenantId: string; commands: readonly ReserveCommand[] },
): Promise<Reservation[]> {
  const asked = commands.map(spelled);
  const operationIds = [...new Set(asked.map(({ operationId }) => operationId))];
  const mayHaveGone = new Set(asked.flatMap(({ operationId, asker }) => (asker === undefined ? [] : [operationId])));
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const read = async (): Promise<Reservation[]> => {
      const { rows } = await client.query<{ reservation: ReservationJson; isOver: boolean }>(
        `SELECT copilot_internal.reservation_as_json(r) AS reservation,
                r.status = 'granted' AND r.claimed_at IS NULL AND NOT r.unreserved AND r.expires_at <= clock_timestamp() AS "isOver"
         FROM copilot_internal.reservations r
         WHERE r.tenant_id = $1 AND r.operation_id = ANY ($2::uuid[])`,
        [tenantId, operationIds],
      );
      // The next decision ends what has run out.
      return rows.map(({ reservation, isOver }) => ({
        ...reservationFrom(reservation),
        ...(isOver && mayHaveGone.has(reservation.operationId) ? { status: 'expired' as const } : {}),
      }));
    };
    const found = await read();
    const byId = new Map(found.map((reservation) => [reservation.operationId, reservation]));
    const told = asked.filter((command) => {
      const reservation = byId.get(command.operationId);
      return (
        reservation?.request &&
        command.asker !== undefined &&
        toldAlso(reservation, command.asker) !== undefined &&
        asksAgain(reservation.request, command)
      );
    });
    if (told.length === 0) return found;
    await client.query('SELECT copilot_internal.tell_also($1, $2, $3)', [
      tenantId,
      told.map(({ operationId }) => operationId),
      told.map(({ asker }) => asker),
    ]);
    // One that was given back before that is told as it is.
    return commitWith(read());
  });
}

interface Unreserved {
  tenantId: string;
  command: ReserveCommand;
  /** Whether quotas of a resource bind. */
  enforced: Enforced;
}

/**
 * Lets an operation go on without a grant, unless it was decided meanwhile. What no decision would have granted is refused, and
 * recorded so. Answers what holds now.
 */
export async function allowUnreserved(pool: Pool, { tenantId, command, enforced }: Unreserved): Promise<ReserveAnswer> {
  const { userId, labels } = command;
  const alone = withoutEnvelope(command);
  if (!alone) return (await answerNow(pool, { tenantId, command })) ?? heldByNone(command);
  const invalid = await asTenant(pool, tenantId, async (client, commitWith) => {
    const [quotas, freeze, runLimits, resource, resourcesKnown] = await Promise.all([
      quotasThatBind(client, { tenantId, userId, labels }),
      freezeOf(client, { tenantId, userId }),
      bringRunLimit(client, tenantId, command),
      billedResource(client, tenantId, command),
      resourcesHeld(client),
    ]);
    const billed = billedBy(alone, resource);
    const state = { tenantId, nowMs: Date.now(), quotas, enforced, freeze, runLimits, resourcesKnown };
    const best = decideAtBest(state, billed);
    if ('answer' in best) return best.answer;
    await commitWith(letThrough(client, { tenantId, command: billed }, best));
    return undefined;
  });
  const answer = invalid ?? (await answerNow(pool, { tenantId, command }));
  if (!answer) throw new Error(`The operation ${command.operationId} could not be recorded.`);
  return answer;
}

/**
 * Makes the row of a call that was made already, without asking, and says its cost: whatever its limits, that is spent. All that is told
 * so may come to twice a limit; beyond that, where what it is billed as is bound (`enforced`; absent where an operator vouches for it), nothing
 * is done and how much there was room for is answered.
 */
export async function recordMade(
  pool: Pool,
  {
    tenantId,
    command,
    item,
    enforced,
  }: Omit<Unreserved, 'enforced'> & { item: OutcomeItem; enforced?: Enforced | undefined },
): Promise<{ beyondUsd: Usd } | undefined> {
  const amountUsd = parseAmountUsd(command.amountUsd);
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const resource = await billedResource(client, tenantId, command);
    // Nobody who asked for it and has gone gives back what was spent.
    const made = { ...billedBy(command, resource), asker: manyAskers };
    const isBound = enforced !== undefined && binds(enforced, resource);
    const roomUsd = isBound ? await toldRoom(client, { tenantId, command: made }) : undefined;
    if (roomUsd !== undefined && roomUsd < amountUsd) return { beyondUsd: roomUsd };
    await bringRunLimit(client, tenantId, made);
    await letThrough(client, { tenantId, command: made }, { allowedUsd: amountUsd });
    // With the row, so that no other cost is told of it in between.
    await commitWith(recordOutcomeWithin(client, tenantId, item));
    return undefined;
  });
}

/** What is held in an envelope, or taken from one, nobody may do without its authority. */
const heldByNone = ({ operationId }: ReserveCommand): ReserveAnswer => ({
  decision: 'rejected',
  operationId,
  code: 'authority_unavailable',
  message: "The tenant's budget authority did not answer, and no envelope is had without it. Nothing was reserved.",
});

/** A request as its row has it. */
const billedBy = ({ isTool: _, ofResource: __, ...command }: ReserveCommand, resource: Resource): ReserveCommand => ({
  ...command,
  resource,
});

/** How much may still be told without an operator's word; undefined where the database is of the version before. */
async function toldRoom(
  client: PoolClient,
  { tenantId, command: { userId, resource } }: Omit<Unreserved, 'enforced'>,
): Promise<Usd | undefined> {
  if (!(await knowsFunction(client, 'told_room(text, text, text)'))) return undefined;
  const { rows } = await client.query<{ room: string }>(
    'SELECT trim_scale(copilot_internal.told_room($1, $2, $3))::text AS room',
    [tenantId, userId ?? null, resource],
  );
  return parseUsd(rows[0]?.room ?? '0');
}

async function letThrough(
  client: PoolClient,
  { tenantId, command }: Omit<Unreserved, 'enforced'>,
  best: { allowedUsd: Usd } | { refusal: Refusal },
): Promise<void> {
  const decided = 'refusal' in best ? best : { allowedUsd: formatUsd(best.allowedUsd) };
  const row = JSON.stringify({ ...command, ...decided });
  await client.query('SELECT copilot_internal.allow_unreserved($1, $2)', [tenantId, row]);
}

/** What is on record of it; undefined where nothing is. */
async function answerNow(
  pool: Pool,
  { tenantId, command }: Omit<Unreserved, 'enforced'>,
): Promise<ReserveAnswer | undefined> {
  const [reservation] = await readReservations(pool, { tenantId, commands: [command] });
  return reservation && answerFromRecord(reservation, command);
}

/** The quotas that bind a payer, the platform's among them. What others spend of those is not its to know: it sees its own leases. */
async function quotasThatBind(
  client: PoolClient,
  { tenantId, userId, labels }: FrozenPayer & { labels?: Labels | undefined },
): Promise<Standing[]> {
  const ofLabels = labels && (await knowsLabelQuotas(client)) ? [labels] : [];
  const [ofTenant, { rows: ofPlatform }] = await Promise.all([
    selectQuotas(client, tenantId, { users: 'ARRAY[$2::text]', values: [userId ?? null], labels: ofLabels }),
    client.query<PlatformLimit>(
      `SELECT q.scope, q.scope_id AS "scopeId", q.resource_type AS "resourceType", q.period,
              trim_scale(now_is.whole_limit_usd)::text AS "platformLimitUsd", b.period_end AS "periodEnd"
       FROM copilot_internal.cost_quotas q, copilot_internal.current_quota(q) AS now_is,
            copilot_internal.period_bounds(q.period, greatest(now(), q.period_start)) AS b
       WHERE q.tenant_id IS NULL`,
    ),
  ]);
  const leased = ofPlatform.map(({ platformLimitUsd, ...quota }) => {
    const lease = ofTenant.find(
      ({ scope, resourceType, period }) =>
        scope === quota.scope && resourceType === quota.resourceType && period === quota.period,
    );
    return {
      ...standingOf({ ...nothingLeased, ...quota, ...lease }),
      lease: { platformLimitUsd: parseUsd(platformLimitUsd), exhausted: false },
    };
  });
  return [...ofTenant.filter(isOwn).map(standingOf), ...leased];
}

/** A database of the version before has no limits of labels. */
const knowsLabelQuotas = (client: PoolClient): Promise<boolean> => knowsFunction(client, 'label_scopes(text, jsonb[])');

type PlatformLimit = Pick<StoredQuota, 'scope' | 'scopeId' | 'resourceType' | 'period' | 'periodEnd'> & {
  platformLimitUsd: string;
};

const nothingLeased = { limitUsd: '0', topupUsd: '0', spentUsd: '0', reservedUsd: '0' };
