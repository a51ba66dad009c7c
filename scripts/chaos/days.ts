/** A day that passes at once: all that stands on record of a tenant moves into the past by one. */
import { inTransaction, type Pool } from '../../store/pool';

/**
 * A statement sees what was there when it began: the lock is waited for before, or what a decision wrote meanwhile would
 * stay behind.
 */
const decisionsWait = 'SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE';
/** What a tenant holds, spent and was alerted of becomes yesterday's. */
const dayPasses = `
  WITH quotas AS (UPDATE copilot_internal.cost_quotas q SET period_start = period_start - interval '1 day', period_end = period_end - interval '1 day'
             WHERE q.tenant_id = $1 AND q.period = 'day'),
  -- How limits were set, with the top-ups that are over by now; one that is not expires when it would have.
  limits AS (UPDATE copilot_internal.limit_changes l
             SET changed_at = changed_at - interval '1 day',
                 period_start = period_start - CASE l.period WHEN 'day' THEN interval '1 day' ELSE interval '0' END,
                 period_end = period_end - CASE l.period WHEN 'day' THEN interval '1 day' ELSE interval '0' END,
                 expiring_topups = (
                   SELECT jsonb_agg(CASE WHEN (t ->> 'expiresAt')::timestamptz > clock_timestamp() THEN t
                     ELSE t || jsonb_build_object('expiresAt', to_char(((t ->> 'expiresAt')::timestamptz - interval '1 day') AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) END ORDER BY at)
                   FROM jsonb_array_elements(l.expiring_topups) WITH ORDINALITY AS e (t, at))
             WHERE l.tenant_id = $1),
  entries AS (UPDATE copilot_internal.cost_records c
              SET posted_at = posted_at - interval '1 day', recorded_at = recorded_at - interval '1 day' WHERE c.tenant_id = $1),
  -- What is older than a run's limit does not count for it.
  runs AS (UPDATE copilot_internal.run_limits l SET created_at = created_at - interval '1 day' WHERE l.tenant_id = $1),
  held AS (INSERT INTO chaos.held_over SELECT r.operation_id FROM copilot_internal.reservations r
           WHERE r.tenant_id = $1 AND r.status = 'granted')
  UPDATE copilot_internal.reservations r
  SET posted_at = posted_at - interval '1 day', ended_at = ended_at - interval '1 day',
      -- A denial is yesterday's, like its alert; an open hold goes on.
      decided_at = CASE WHEN status = 'granted' THEN decided_at ELSE decided_at - interval '1 day' END
  WHERE r.tenant_id = $1`;
/** Alerts are one a period, checked row by row: all of them step aside before they move by a day. */
const alertsStep = (by: string): string =>
  `UPDATE copilot_internal.quota_alerts SET period_start = period_start + interval '${by}' WHERE tenant_id = $1`;

/** Which holds went on over a day's end, once for each: a claim makes one last as long once more as it was decided for. */
const heldOver = `CREATE SCHEMA IF NOT EXISTS chaos; CREATE TABLE IF NOT EXISTS chaos.held_over (operation_id uuid NOT NULL)`;

export async function passDay(admin: Pool, tenantId: string): Promise<void> {
  await admin.query(heldOver);
  await inTransaction(admin, async (client) => {
    for (const step of [decisionsWait, dayPasses, alertsStep('1000 years'), alertsStep('-1000 years -1 day')])
      await client.query(step, [tenantId]);
  });
}

/** At a run's end: what was held over the ends of days was decided before them, as what was decided after it in the order was. */
export async function ageHolds(admin: Pool): Promise<void> {
  await admin.query(heldOver);
  await admin.query(
    `UPDATE copilot_internal.reservations r SET decided_at = decided_at - held.days * interval '1 day'
     FROM (SELECT operation_id, count(*)::integer AS days FROM chaos.held_over GROUP BY operation_id) AS held
     WHERE r.operation_id = held.operation_id`,
  );
  await admin.query('TRUNCATE chaos.held_over');
}
