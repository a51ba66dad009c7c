/**
 * What stands on record of a tenant's decisions, in their order, to be played once more (core/budget/what-if.ts): read in one snapshot and
 * some at a time, holding no lock, so that a long span needs no more memory than a short one.
 */
import type { DecidedWith } from '../core/budget/decided-with';
import type { Period } from '../core/budget/periods';
import type { Quota, Scope } from '../core/budget/quotas';
import { topUpsOf, totalOf, type StoredTopUps } from '../core/budget/top-ups';
import type { Recorded, RecordedLimit, RecordedRequest, TriedLimit } from '../core/budget/what-if-record';
import { labelsFrom } from '../core/labels';
import { parseUsd } from '../core/money';
import { knowsEnvelopes } from './envelopes';
import { asTenant, type Pool, type PoolClient } from './pool';
import { decidedWithFrom, type DecidedWithJson } from './reservation-rows';
import { carryOver, type Counted, type Player } from './what-if-carry';
import { spanRead, spanWithinMs } from './span-read';

/** How far a record could be played. */
export interface Played {
  /** From when on decisions are on record in their order, where that is later than was asked for. */
  since?: Date;
  /** Requests that no event stands for, by why. */
  unnumbered: Record<string, number>;
}

/** The span takes longer to read than anybody waits for. */
export class SpanTooLongError extends Error {}

/** As many events are in memory at once, and are played before somebody else of this process has a turn. */
const eventsAtOnce = 200;
/**
 * Plays what a tenant's decisions were from a moment to another.
 * @throws SpanTooLongError, or what Postgres says of it (`isTooSlow`), when it takes longer than `withinMs`.
 */
export async function playRecord(
  pool: Pool,
  { tenantId, from, to, tried }: { tenantId: string; from: Date; to: Date; tried: readonly TriedLimit[] },
  player: Player,
  withinMs = spanWithinMs,
): Promise<Played> {
  const endMs = performance.now() + withinMs;
  return asTenant(
    pool,
    tenantId,
    async (client) => {
      const since = await beginOfRecord(client, tenantId);
      const begin = since && since > from ? since : from;
      const counted = await countedLabels(client, tenantId, tried);
      const periods = new Set(tried.map(({ period }) => period));
      // Where the record begins, its limits are events of it, with what was spent and held of them.
      const stood = begin === from ? await limitsAt(client, tenantId, begin) : [];
      for (const { period } of stood) periods.add(period);
      player.begin(stood, begin.getTime());
      const hasEnvelopes = await knowsEnvelopes(client);
      await carryOver(client, { tenantId, begin, periods, counted, hasEnvelopes }, player);
      await client.query(`DECLARE record NO SCROLL CURSOR FOR ${events(hasEnvelopes)}`, [tenantId, begin, to]);
      for (let isMore = true; isMore;) {
        if (performance.now() > endMs) throw new SpanTooLongError();
        const { rows } = await client.query<{ event: EventJson }>(`FETCH ${eventsAtOnce} FROM record`);
        for (const { event } of rows) player.play(eventFrom(event, counted));
        isMore = rows.length === eventsAtOnce;
      }
      const unnumbered = await unnumberedOf(client, { tenantId, from, to });
      return { unnumbered, ...(begin === from ? {} : { since: begin }) };
    },
    spanRead(withinMs),
  );
}

/** When its first limit was noted; undefined for a tenant that never had one. */
async function beginOfRecord(client: PoolClient, tenantId: string): Promise<Date | undefined> {
  const { rows } = await client.query<{ since: Date | null }>(
    `SELECT date_trunc('milliseconds', min(changed_at)) AS since FROM copilot_internal.limit_changes WHERE tenant_id = $1`,
    [tenantId],
  );
  return rows[0]?.since ?? undefined;
}

async function countedLabels(client: PoolClient, tenantId: string, tried: readonly TriedLimit[]): Promise<Counted> {
  const ofOther = /^(.*):other$/;
  const { rows } = await client.query<{ key: string; values: string[] }>(
    `SELECT k.key, ARRAY(SELECT v.value FROM copilot_internal.label_values v WHERE v.tenant_id = $1 AND v.key = k.key) AS values
     FROM (SELECT DISTINCT left(scope_id, -6) AS key FROM copilot_internal.limit_changes
           WHERE tenant_id = $1 AND scope = 'label' AND scope_id LIKE '%:other'
           UNION SELECT unnest($2::text[])) AS k`,
    [tenantId, tried.flatMap(({ scope, scopeId }) => (scope === 'label' && ofOther.exec(scopeId)?.[1]) || [])],
  );
  const known = new Map(rows.map(({ key, values }) => [key, new Set(values)]));
  return (recorded) => {
    const labels = labelsFrom(recorded);
    if (!labels || known.size === 0) return labels;
    return Object.fromEntries(
      Object.entries(labels).map(([key, value]) => [key, known.get(key)?.has(value) === false ? 'other' : value]),
    );
  };
}

interface LimitJson extends StoredTopUps {
  quotaId: string;
  isRemoved: boolean;
  scope: Scope;
  scopeId: string;
  resourceType: string;
  period: Period;
  limitUsd: string;
  spentUsd: string;
  reservedUsd: string;
  periodStartMs: number;
  periodEndMs: number;
}

const ms = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)`;

/** A row of limit_changes. */
const limitJson = `json_build_object('type', 'limited', 'atMs', ${ms('l.changed_at')}, 'quotaId', l.quota_id, 'isRemoved', l.is_removed,
  'scope', l.scope, 'scopeId', l.scope_id, 'resourceType', l.resource_type, 'period', l.period, 'limitUsd', l.limit_usd::text,
  'topupUsd', l.topup_usd::text, 'keptUsd', l.topup_kept_usd::text, 'expiring', l.expiring_topups, 'spentUsd', l.spent_usd::text,
  'reservedUsd', l.reserved_usd::text, 'periodStartMs', ${ms('l.period_start')}, 'periodEndMs', ${ms('l.period_end')})`;

function quotaFrom({ isRemoved: _, topupUsd, keptUsd, expiring, limitUsd, ...limit }: LimitJson): Quota {
  const topUps = topUpsOf({ topupUsd, keptUsd, expiring });
  return {
    ...limit,
    limitUsd: parseUsd(limitUsd) + totalOf(topUps),
    topUps,
    spentUsd: parseUsd(limit.spentUsd),
    reservedUsd: parseUsd(limit.reservedUsd),
    ...{ thresholdsBasisPoints: [], warnedBasisPoints: [], exceeded: false },
  };
}

/** The limits that stood at a moment. */
async function limitsAt(client: PoolClient, tenantId: string, at: Date): Promise<Quota[]> {
  const { rows } = await client.query<{ limit: LimitJson }>(
    `SELECT DISTINCT ON (l.quota_id) ${limitJson} AS limit FROM copilot_internal.limit_changes l
     WHERE l.tenant_id = $1 AND l.changed_at < $2 ORDER BY l.quota_id, l.decision_no DESC`,
    [tenantId, at],
  );
  return rows.filter(({ limit }) => !limit.isRemoved).map(({ limit }) => quotaFrom(limit));
}

const ofRow = (hasEnvelopes: boolean): string =>
  `'operationId', r.operation_id, 'userId', r.user_id, 'resource', r.resource, 'labels', r.labels` +
  (hasEnvelopes ? `, 'parentId', r.parent_id, 'heldOn', r.held_on, 'returnedUsd', r.returned_usd::text` : '');

/** All of a span ($2 to $3) that has a number, in its order. What a commit cost stands in the ledger: the row tells it as it was corrected. */
const events = (hasEnvelopes: boolean): string => `
  SELECT event FROM (
    SELECT r.decided_no AS no, json_build_object('type', 'decided', 'atMs', ${ms('r.decided_at')}, ${ofRow(hasEnvelopes)},
      'step', r.run_id || ' ' || r.kind || ' ' || r.step || ' ' || r.attempt,
      'amountUsd', r.requested_usd::text, 'minimumUsd', r.minimum_usd::text, 'grantedUsd', ${hasEnvelopes ? 'coalesce(r.envelope_usd, r.granted_usd)' : 'r.granted_usd'}::text,
      'decidedWith', r.decided_with, 'code', coalesce(r.refusal ->> 'code', r.refusal ->> 'type'),
      'refusedBy', r.refusal -> 'quota' ->> 'scope') AS event
    FROM copilot_internal.reservations r
    WHERE r.tenant_id = $1 AND r.decided_no IS NOT NULL AND r.resource IS NOT NULL AND r.decided_at >= $2 AND r.decided_at < $3
    UNION ALL
    SELECT r.ended_no, json_build_object('type', 'ended', 'atMs', ${ms('r.ended_at')}, ${ofRow(hasEnvelopes)}, 'grantedUsd', r.granted_usd::text,
      'costUsd', coalesce(c.amount_usd, 0)::text, 'isUnverified', c.settlement = 'unverified')
    FROM copilot_internal.reservations r
    LEFT JOIN copilot_internal.cost_records c ON c.tenant_id = $1 AND c.operation_id = r.operation_id AND c.entry = 'commit'
    WHERE r.tenant_id = $1 AND r.ended_no IS NOT NULL AND r.granted_usd IS NOT NULL AND r.ended_at >= $2 AND r.ended_at < $3
    UNION ALL
    SELECT c.decision_no, json_build_object('type', 'corrected', 'atMs', ${ms('c.recorded_at')}, ${ofRow(hasEnvelopes)}, 'amountUsd', c.amount_usd::text,
      'postedAtMs', ${ms('c.posted_at')})
    FROM copilot_internal.cost_records c JOIN copilot_internal.reservations r ON r.tenant_id = $1 AND r.operation_id = c.operation_id
    WHERE c.tenant_id = $1 AND c.entry <> 'commit' AND c.decision_no IS NOT NULL AND c.recorded_at >= $2 AND c.recorded_at < $3
    UNION ALL
    SELECT l.decision_no, ${limitJson}
    FROM copilot_internal.limit_changes l WHERE l.tenant_id = $1 AND l.changed_at >= $2 AND l.changed_at < $3
  ) AS record ORDER BY no`;

interface OfOperation {
  atMs: number;
  operationId: string;
  userId: string | null;
  resource: string;
  labels: unknown;
  parentId?: string | null;
  heldOn?: string[] | null;
  returnedUsd?: string | null;
}
type EventJson =
  | (OfOperation & {
      type: 'decided';
      step: string | null;
      amountUsd: string;
      minimumUsd: string | null;
      grantedUsd: string | null;
      decidedWith: DecidedWithJson | null;
      code: string | null;
      refusedBy: string | null;
    })
  | (OfOperation & { type: 'ended'; grantedUsd: string; costUsd: string; isUnverified: boolean | null })
  | (OfOperation & { type: 'corrected'; amountUsd: string; postedAtMs: number })
  | (LimitJson & { type: 'limited'; atMs: number });

function eventFrom(event: EventJson, counted: Counted): Recorded {
  if (event.type === 'limited') {
    const { type, atMs, ...limit } = event;
    return {
      type,
      atMs,
      quotaId: limit.quotaId,
      quota: limit.isRemoved ? undefined : quotaFrom(limit),
    } satisfies RecordedLimit;
  }
  const { operationId, resource, atMs } = event;
  const of = {
    ...{ atMs, operationId, resource, userId: event.userId ?? undefined, labels: counted(event.labels) },
    heldOn: event.heldOn ?? undefined,
  };
  const parentId = event.parentId ?? undefined;
  if (event.type === 'corrected')
    return { ...of, type: event.type, amountUsd: parseUsd(event.amountUsd), postedAtMs: event.postedAtMs };
  if (event.type === 'ended') {
    const [grantedUsd, costUsd] = [parseUsd(event.grantedUsd), parseUsd(event.costUsd)];
    const returnedUsd = event.returnedUsd ? parseUsd(event.returnedUsd) : undefined;
    const isUnverified = event.isUnverified === true;
    return { ...of, type: event.type, grantedUsd, costUsd, isUnverified, parentId, returnedUsd };
  }
  const { type, step, amountUsd, minimumUsd, grantedUsd, decidedWith } = event;
  return {
    ...of,
    type,
    parentId,
    amountUsd: parseUsd(amountUsd),
    minimumUsd: minimumUsd === null ? undefined : parseUsd(minimumUsd),
    grantedUsd: grantedUsd === null ? undefined : parseUsd(grantedUsd),
    step: step ?? undefined,
    decidedWith: decidedWith ? asCounted(decidedWithFrom(decidedWith), counted) : undefined,
    apart: apartOf(event),
  } satisfies RecordedRequest;
}

/** What was kept counts for limits as what is asked for does. */
const asCounted = ({ kept, ...others }: DecidedWith, counted: Counted): DecidedWith =>
  kept ? { ...others, kept: kept.map((one) => ({ ...one, labels: counted(one.labels) })) } : others;

/** Why limits cannot decide a request once more. */
function apartOf({ decidedWith, code, refusedBy }: EventJson & { type: 'decided' }): string | undefined {
  if (decidedWith?.isOlder) return 'decided by an older version';
  if (decidedWith?.isUnenforced) return 'limits did not bind';
  if (refusedBy === 'platform') return 'refused by a limit of the platform';
  if (code === null || code === 'denied') return undefined;
  if (code === 'budget_frozen') return 'frozen';
  if (code.startsWith('envelope_')) return 'refused by its envelope';
  if (code.startsWith('run_')) return 'refused for its run';
  return code === 'quota_missing' ? 'no limit covered it' : 'refused as a request';
}

/** Requests of a span without a place in the order. */
async function unnumberedOf(
  client: PoolClient,
  { tenantId, from, to }: { tenantId: string; from: Date; to: Date },
): Promise<Record<string, number>> {
  const { rows } = await client.query<{ why: string; requests: number }>(
    `SELECT CASE WHEN decided_with ? 'isUndecided' THEN 'not decided: nobody answered' ELSE 'decided before the order was recorded' END AS why,
            count(*)::integer AS requests
     FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND decided_no IS NULL AND resource IS NOT NULL AND decided_at >= $2 AND decided_at < $3 GROUP BY 1`,
    [tenantId, from, to],
  );
  return Object.fromEntries(rows.map(({ why, requests }) => [why, requests]));
}
