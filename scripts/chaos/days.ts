/**
 * A day that passes at once: all that stands on record of a tenant moves into the past by one. Weeks and months go on meanwhile: they have
 * begun a day earlier then, and end when they do.
 */
import { inTransaction, type Pool } from '../../store/pool';

/**
 * A statement sees what was there when it began: the locks are waited for before, or what a decision wrote meanwhile would
 * stay behind. They are taken in the product's order (docs/architecture.md), and leave inserts that name the tenant alone: who settles
 * inserts some while it has a reservation.
 */
const othersWait = [
  'SELECT copilot_internal.lock_tenant($1)',
  'SELECT FROM copilot_internal.reservations WHERE tenant_id = $1 ORDER BY operation_id FOR NO KEY UPDATE',
];
/** What a tenant holds, spent and was alerted of becomes that of so many days ago. */
const daysPass = (days: number): string => {
  const by = `interval '${days} days'`;
  return `
  WITH quotas AS (UPDATE copilot_internal.cost_quotas q
             SET period_start = period_start - ${by}, period_end = period_end - CASE q.period WHEN 'day' THEN ${by} ELSE interval '0' END
             WHERE q.tenant_id = $1 AND q.period <> 'lifetime'),
  -- How limits were set, with the top-ups that are over by now; one that is not expires when it would have.
  limits AS (UPDATE copilot_internal.limit_changes l
             SET changed_at = changed_at - ${by},
                 period_start = period_start - CASE l.period WHEN 'lifetime' THEN interval '0' ELSE ${by} END,
                 period_end = period_end - CASE WHEN l.period = 'day' OR l.period_end <= l.changed_at THEN ${by} ELSE interval '0' END,
                 expiring_topups = (
                   SELECT jsonb_agg(CASE WHEN (t ->> 'expiresAt')::timestamptz > clock_timestamp() THEN t
                     ELSE t || jsonb_build_object('expiresAt', to_char(((t ->> 'expiresAt')::timestamptz - ${by}) AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) END ORDER BY at)
                   FROM jsonb_array_elements(l.expiring_topups) WITH ORDINALITY AS e (t, at))
             WHERE l.tenant_id = $1),
  entries AS (UPDATE copilot_internal.cost_records c
              SET posted_at = posted_at - ${by}, recorded_at = recorded_at - ${by} WHERE c.tenant_id = $1),
  -- What is older than a run's limit does not count for it.
  runs AS (UPDATE copilot_internal.run_limits l SET created_at = created_at - ${by} WHERE l.tenant_id = $1),
  held AS (INSERT INTO chaos.held_over SELECT r.operation_id, ${days} FROM copilot_internal.reservations r
           WHERE r.tenant_id = $1 AND r.status = 'granted')
  UPDATE copilot_internal.reservations r
  SET posted_at = posted_at - ${by}, ended_at = ended_at - ${by},
      -- A denial is of that day, like its alert; an open hold goes on.
      decided_at = CASE WHEN status = 'granted' THEN decided_at ELSE decided_at - ${by} END
  WHERE r.tenant_id = $1`;
};
/** Alerts are one a period, checked row by row: all of them step aside before they move. */
const alertsStep = (by: string): string =>
  `UPDATE copilot_internal.quota_alerts SET period_start = period_start + interval '${by}' WHERE tenant_id = $1`;

/** Which holds went on over how many days, each time that some passed: a claim makes one last as long once more as it was decided for. */
const heldOver = `CREATE SCHEMA IF NOT EXISTS chaos; CREATE TABLE IF NOT EXISTS chaos.held_over (operation_id uuid NOT NULL, days integer NOT NULL)`;

/** Has a day pass, or several at once. */
export async function passDays(admin: Pool, tenantId: string, days = 1): Promise<void> {
  await admin.query(heldOver);
  await inTransaction(admin, async (client) => {
    for (const step of [
      ...othersWait,
      daysPass(days),
      alertsStep('1000 years'),
      alertsStep(`-1000 years -${days} days`),
    ])
      await client.query(step, [tenantId]);
  });
}

/** As many days find room in one month, whichever it is. */
const daysOfMonth = 28;
const firstDay = `SELECT min(changed_at) FROM copilot_internal.limit_changes WHERE tenant_id = $1`;

/** Has a day pass that leaves the month of a tenant's record as it is, while there is room for one. */
export async function passDayOfMonth(admin: Pool, tenantId: string): Promise<void> {
  const { rows } = await admin.query<{ days: number }>(
    `SELECT (now() AT TIME ZONE 'UTC')::date - ((${firstDay}) AT TIME ZONE 'UTC')::date AS days`,
    [tenantId],
  );
  if ((rows[0]?.days ?? 0) + 1 < daysOfMonth) await passDays(admin, tenantId);
}

/** At the end of a record in which no month has ended: where it reaches into another, all of it moves into that. */
export async function moveIntoOneMonth(admin: Pool, tenantId: string): Promise<void> {
  const { rows } = await admin.query<{ days: number | null }>(
    `SELECT extract(day FROM now() AT TIME ZONE 'UTC')::integer AS days WHERE (${firstDay}) < date_trunc('month', now(), 'UTC')`,
    [tenantId],
  );
  if (rows[0]?.days) await passDays(admin, tenantId, rows[0].days);
}

/**
 * At the end of a record: what was held over the ends of days was decided before them, as what was decided after it in the order was, and
 * limits were set in the periods of the days that those have become.
 */
export async function dateRecord(admin: Pool): Promise<void> {
  await admin.query(heldOver);
  await admin.query(
    `UPDATE copilot_internal.reservations r SET decided_at = decided_at - held.days * interval '1 day'
     FROM (SELECT operation_id, sum(days)::integer AS days FROM chaos.held_over GROUP BY operation_id) AS held
     WHERE r.operation_id = held.operation_id`,
  );
  await admin.query('TRUNCATE chaos.held_over');
  await admin.query(
    `UPDATE copilot_internal.limit_changes l SET (period_start, period_end) = (
       SELECT b.period_start, b.period_end FROM copilot_internal.period_bounds(l.period, l.changed_at) AS b)
     WHERE l.period_end > l.changed_at`,
  );
}
