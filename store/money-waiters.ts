/** Steps that were denied and wait until there is money: in the order in which they began to. */
import type { BindingQuota, Resource } from '../core/budget/commands';
import type { Place } from '../core/budget/line';
import type { Labels } from '../core/labels';
import { formatUsd, parseUsd, type Usd } from '../core/money';
import { planned } from './planned';
import { asTenant, type Pool, type PoolClient } from './pool';
import { billedResource } from './resources';
import { appendRunEvent, lockRun, type RunKey } from './runs';

export interface MoneyWaiter {
  waiterId: string;
  tenantId: string;
  workflowId: string;
  runId?: string | undefined;
  userId?: string | undefined;
  resource: Resource;
  /** As its step says it. The row has what it is billed as. */
  isTool?: true;
  labels?: Labels | undefined;
  /** The least that it can use. */
  neededUsd: Usd;
  /** What it asks for in full, where it rather waits for that. */
  wantedUsd?: Usd | undefined;
  /** Whether it names its place when it asks again. */
  isNamed?: boolean | undefined;
}

/** Who was woken is given this long to ask, and what it was woken for is kept for it meanwhile. */
export const keptMs = 3_000;

/** Of those before a waiter in the line so many are counted. */
const countedMax = 20;

/** A wait of one execution of a workflow: one that was reset waits once more for what the execution before it got. */
export type Wait = Pick<MoneyWaiter, 'tenantId' | 'waiterId' | 'runId'> & { executionId?: string | undefined };

/**
 * A waiter's place in the line is kept however often it asks in vain. Its run says what it waits for. Changes nothing where the
 * wait or its run has ended meanwhile: a call that was given up may still reach Postgres, after what followed it. Answers how many are
 * before it, up to `countedMax`.
 */
export async function addWaiter(
  pool: Pool,
  waiter: MoneyWaiter & Wait,
  { quota, retryAfterSeconds }: { quota: BindingQuota; retryAfterSeconds?: number | undefined },
): Promise<number> {
  const { waiterId, tenantId, workflowId, runId, userId, labels, neededUsd, wantedUsd } = waiter;
  const { isNamed = false } = waiter;
  return asTenant(pool, tenantId, async (client) => {
    if (runId !== undefined) {
      await lockRun(client, runId);
      const { rows } = await client.query(
        `SELECT FROM copilot_internal.runs WHERE run_id = $1 AND status <> 'running'
         UNION ALL SELECT FROM copilot_internal.run_events WHERE run_id = $1 AND event_key = $2`,
        [runId, `waited-${waitOf(waiter)}`],
      );
      if (rows.length > 0) return 0;
    }
    const resource = await billedResource(client, tenantId, waiter);
    await client.query(
      `INSERT INTO copilot_internal.money_waiters (waiter_id, tenant_id, workflow_id, run_id, user_id, resource, needed_usd, is_woken,
         wanted_usd, is_named${labels === undefined ? '' : ', labels'})
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10${labels === undefined ? '' : ', $11'})
       ON CONFLICT (waiter_id) DO UPDATE
       SET resource = excluded.resource, needed_usd = excluded.needed_usd, is_woken = excluded.is_woken, woken_at = NULL, wanted_usd = excluded.wanted_usd,
         is_named = excluded.is_named, kept_usd = NULL, kept_until = NULL${labels === undefined ? '' : ', labels = excluded.labels'}`,
      [
        waiterId,
        tenantId,
        workflowId,
        runId ?? null,
        userId ?? null,
        resource,
        formatUsd(neededUsd),
        quota.scope !== 'platform',
        wantedUsd === undefined ? null : formatUsd(wantedUsd),
        isNamed,
        ...(labels === undefined ? [] : [JSON.stringify(labels)]),
      ],
    );
    if (runId === undefined) return countBefore(client, waiterId);
    const waiting = { resource, quota, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
    await client.query(
      `UPDATE copilot_internal.runs SET waiting = jsonb_build_object('since', now()) || coalesce(waiting, '{}') || $2
       WHERE run_id = $1 AND status = 'running'`,
      [runId, JSON.stringify(waiting)],
    );
    await appendRunEvent(client, runId, { key: `waiting-${waitOf(waiter)}`, type: 'money.waiting', data: waiting });
    await takePlaceOfBefore(client, waiter);
    return countBefore(client, waiterId);
  });
}

/**
 * The place in the line that an execution of its workflow had which was reset is the one's that goes on; nobody waits there any more, nor
 * for what people were asked. A call of that which reaches Postgres late takes no place of what began to wait after it.
 */
async function takePlaceOfBefore(client: PoolClient, waiter: MoneyWaiter & Wait): Promise<void> {
  const { waiterId, runId, workflowId, executionId } = waiter;
  if (executionId === undefined) return;
  await client.query(
    `WITH former AS (
       DELETE FROM copilot_internal.money_waiters w WHERE w.run_id = $1 AND w.workflow_id = $2 AND w.waiter_id <> $3 AND NOT EXISTS (
         SELECT FROM copilot_internal.run_events e WHERE e.run_id = $1 AND e.event_key LIKE 'waiting-' || w.waiter_id || '-%'
           AND (e.event_key = 'waiting-' || w.waiter_id || '-' || $4 OR e.sequence > (
             SELECT own.sequence FROM copilot_internal.run_events own WHERE own.run_id = $1 AND own.event_key = $5)))
       RETURNING w.waiting_since)
     UPDATE copilot_internal.money_waiters w SET waiting_since = least(w.waiting_since, f.since)
     FROM (SELECT min(waiting_since) AS since FROM former) AS f WHERE w.waiter_id = $3 AND f.since IS NOT NULL`,
    [runId, workflowId, waiterId, executionId, `waiting-${waitOf(waiter)}`],
  );
}

async function countBefore(client: PoolClient, waiterId: string): Promise<number> {
  const { rows } = await client.query<{ before: number }>(
    `SELECT count(*)::integer AS before FROM (
       SELECT FROM copilot_internal.money_waiters AS w, copilot_internal.money_waiters AS own
       WHERE own.waiter_id = $1 AND w.tenant_id = own.tenant_id
         AND (w.waiting_since, w.waiter_id) < (own.waiting_since, own.waiter_id) LIMIT $2) AS those`,
    [waiterId, countedMax],
  );
  return rows[0]?.before ?? 0;
}

/** The wait is over, or was given up. */
export async function removeWaiter(pool: Pool, wait: Wait): Promise<void> {
  const { tenantId, waiterId, runId } = wait;
  await asTenant(pool, tenantId, async (client) => {
    if (runId !== undefined) await lockRun(client, runId);
    await client.query('DELETE FROM copilot_internal.money_waiters WHERE waiter_id = $1', [waiterId]);
    if (runId === undefined) return;
    await client.query('UPDATE copilot_internal.runs SET waiting = NULL WHERE run_id = $1', [runId]);
    await appendRunEvent(client, runId, { key: `waited-${waitOf(wait)}`, type: 'money.waited', data: {} });
  });
}

/**
 * A step of a run goes on with a grant: what its workflow waited for before that was granted, an execution did that was reset, and nobody does any
 * more. What it asked of people is withdrawn with it.
 */
export async function endWaitsBefore(
  pool: Pool,
  {
    tenantId,
    runId,
    workflowId,
    operationId,
  }: RunKey & {
    workflowId: string;
    /** What was granted. */
    operationId: string;
  },
): Promise<void> {
  await asTenant(pool, tenantId, async (client) => {
    await lockRun(client, runId);
    const { rowCount } = await client.query(
      `DELETE FROM copilot_internal.money_waiters w USING copilot_internal.reservations r
       WHERE w.run_id = $2 AND w.workflow_id = $3 AND r.tenant_id = $1 AND r.operation_id = $4 AND w.waiting_since < r.decided_at`,
      [tenantId, runId, workflowId, operationId],
    );
    if (rowCount === 0) return;
    await client.query(
      `UPDATE copilot_internal.runs SET waiting = NULL
       WHERE run_id = $1 AND NOT EXISTS (SELECT FROM copilot_internal.money_waiters WHERE run_id = $1)`,
      [runId],
    );
    await appendRunEvent(client, runId, { key: `waited-${operationId}`, type: 'money.waited', data: {} });
  });
}

/** Nothing of a run waits any more. */
export async function endWaits(client: PoolClient, runId: string): Promise<void> {
  await client.query('DELETE FROM copilot_internal.money_waiters WHERE run_id = $1', [runId]);
  await client.query('UPDATE copilot_internal.runs SET waiting = NULL WHERE run_id = $1 AND waiting IS NOT NULL', [
    runId,
  ]);
}

const waitOf = ({ waiterId, executionId }: Wait): string =>
  executionId === undefined ? waiterId : `${waiterId}-${executionId}`;

/** One in the line, as whoever wakes it finds it. */
export interface WaiterInLine extends MoneyWaiter {
  waitedMs: number;
  /** Since it was woken; undefined where it was not, or has asked since. */
  sinceWokenMs: number | undefined;
  /** What is kept for it now; nothing where that ran out. */
  keptUsd: Usd;
  /** For so long; past where that ran out. */
  keptForMs: number;
}

/** A tenant's waiters that its authority wakes, in order. */
export const listWaiters = (pool: Pool, tenantId: string): Promise<WaiterInLine[]> =>
  asTenant(pool, tenantId, (client) => waitersIn(client, tenantId, 'true'));

/** For whom some of a tenant's money is kept, in the order of the line, as a decision reads it; within the caller's transaction. */
export const placesIn = async (client: PoolClient, tenantId: string): Promise<Place[]> =>
  (await waitersIn(client, tenantId, 'kept_until > clock_timestamp() AND kept_usd > 0')).map(
    ({ waiterId, runId, userId, resource, labels, keptUsd, keptForMs, sinceWokenMs }) => ({
      ...{ waiterId, runId, userId, resource, labels, keptUsd, keptForMs },
      isWoken: sinceWokenMs !== undefined,
    }),
  );

async function waitersIn(client: PoolClient, tenantId: string, where: string): Promise<WaiterInLine[]> {
  const { rows } = await client.query<
    Pick<MoneyWaiter, 'waiterId' | 'tenantId' | 'workflowId' | 'resource'> & {
      isNamed: boolean;
      waitedMs: number;
      keptForMs: number;
    } & Record<'neededUsd' | 'keptUsd', string> &
      Record<'runId' | 'userId' | 'wantedUsd', string | null> & { sinceWokenMs: number | null; labels: Labels | null }
  >(
    planned(
      `SELECT waiter_id AS "waiterId", tenant_id AS "tenantId", workflow_id AS "workflowId", run_id AS "runId", user_id AS "userId",
              resource, needed_usd::text AS "neededUsd", w.wanted_usd::text AS "wantedUsd", w.is_named AS "isNamed",
              CASE WHEN w.kept_until > clock_timestamp() THEN w.kept_usd ELSE 0 END::text AS "keptUsd",
              coalesce(extract(epoch FROM w.kept_until - clock_timestamp()) * 1000, 0)::float8 AS "keptForMs",
              (extract(epoch FROM clock_timestamp() - waiting_since) * 1000)::float8 AS "waitedMs",
              (extract(epoch FROM clock_timestamp() - woken_at) * 1000)::float8 AS "sinceWokenMs", w.labels
       FROM (SELECT NULL::jsonb AS labels, NULL::timestamptz AS kept_until, NULL::numeric AS kept_usd, NULL::numeric AS wanted_usd,
                    false AS is_named) AS otherwise, LATERAL (
         -- Where the schema is of a version before, what it lacks is that of the first row: nothing. A step of the version before says none
         -- of its own, but asked with them: its place is the operation that was denied first.
         SELECT waiter_id, tenant_id, workflow_id, run_id, user_id, resource, needed_usd, wanted_usd, is_named, kept_until, kept_usd,
                waiting_since, woken_at, coalesce(labels, CASE WHEN to_regprocedure('copilot_internal.label_scopes(text, jsonb[])') IS NOT NULL
                  THEN (SELECT labels FROM copilot_internal.reservations r WHERE r.tenant_id = m.tenant_id AND r.operation_id = m.waiter_id)
                END) AS labels
         FROM copilot_internal.money_waiters m WHERE tenant_id = $1 AND is_woken AND ${where}) AS w
       ORDER BY waiting_since, waiter_id LIMIT 1000`,
      [tenantId],
    ),
  );
  return rows.map(({ runId, userId, wantedUsd, sinceWokenMs, labels, ...row }) => ({
    ...row,
    labels: labels ?? undefined,
    runId: runId ?? undefined,
    userId: userId ?? undefined,
    neededUsd: parseUsd(row.neededUsd),
    wantedUsd: wantedUsd === null ? undefined : parseUsd(wantedUsd),
    keptUsd: parseUsd(row.keptUsd),
    sinceWokenMs: sinceWokenMs ?? undefined,
  }));
}

/** Whether somebody of a tenant waits for money. */
export async function isAwaited(pool: Pool, tenantId: string): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ awaited: boolean }>(
      'SELECT EXISTS (SELECT FROM copilot_internal.money_waiters WHERE tenant_id = $1) AS awaited',
      [tenantId],
    );
    return rows[0]?.awaited ?? false;
  });
}

/** What is new of one in the line: whether it is woken, how long ago it is to count as woken, and what is kept for it for how long. */
export interface LineChange {
  waiterId: string;
  wokenAgoMs?: number | undefined;
  keptUsd: Usd;
  keptForMs: number;
}

export async function noteLine(pool: Pool, tenantId: string, changes: readonly LineChange[]): Promise<void> {
  if (changes.length === 0) return;
  await asTenant(pool, tenantId, (client, commitWith) => commitWith(noteInLine(client, changes)));
}

/** The same within the caller's transaction. */
export const noteInLine = (client: PoolClient, changes: readonly LineChange[]): Promise<unknown> =>
  client.query(
    `UPDATE copilot_internal.money_waiters w SET
           woken_at = CASE WHEN c.woken_ago_ms IS NULL THEN w.woken_at ELSE clock_timestamp() - c.woken_ago_ms * interval '1 millisecond' END,
           kept_usd = c.kept_usd, kept_until = clock_timestamp() + c.kept_for_ms * interval '1 millisecond'
         FROM unnest($1::uuid[], $2::float8[], $3::numeric[], $4::float8[]) AS c (waiter_id, woken_ago_ms, kept_usd, kept_for_ms)
         WHERE w.waiter_id = c.waiter_id AND w.waiter_id IN (
           SELECT waiter_id FROM copilot_internal.money_waiters WHERE waiter_id = ANY ($1) ORDER BY waiter_id FOR UPDATE)`,
    [
      changes.map(({ waiterId }) => waiterId),
      changes.map(({ wokenAgoMs }) => wokenAgoMs ?? null),
      changes.map(({ keptUsd }) => formatUsd(keptUsd)),
      changes.map(({ keptForMs }) => keptForMs),
    ],
  );
