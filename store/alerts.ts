/** Alerts on their way: taken by whoever sends them, and what became of them. See `take_due_alerts` in migrations/functions. */
import { knowsFunction } from './known-functions';
import { asTenant, type Pool } from './pool';

/** An alert that is to be sent now, by whoever took it. */
export interface DueAlert {
  alertId: string;
  /** Null for one of the platform. */
  tenantId: string | null;
  kind: string;
  threshold: number | null;
  /** The quota as it was then. */
  details: unknown;
  /** This one included. It tells one who took it from the next. */
  tries: number;
}

/** Takes alerts of any tenant that are due, of these kinds, the oldest first. Nobody else gets them for `leaseMs`. */
export async function takeDueAlerts(
  pool: Pool,
  { max, leaseMs, kinds }: { max: number; leaseMs: number; kinds: readonly string[] },
): Promise<DueAlert[]> {
  // A database of the version before has alerts of fewer kinds.
  const isAsked = await knowsFunction(pool, 'take_due_alerts(integer, interval, text[])');
  const { rows } = await pool.query<DueAlert>(
    `SELECT alert_id AS "alertId", tenant_id AS "tenantId", kind, threshold::float8 AS threshold, details, tries
     FROM copilot_internal.take_due_alerts($1, $2 * interval '1 millisecond'${isAsked ? ', $3' : ''})`,
    [max, leaseMs, ...(isAsked ? [kinds] : [])],
  );
  return rows;
}

/** Records that an alert was sent, or when it is to be tried again. One whose lease ran out is left to who took it then. */
export async function endAlert(
  pool: Pool,
  { alertId, tenantId, tries }: DueAlert,
  end: 'sent' | { nextTryMs: number },
): Promise<void> {
  const change =
    end === 'sent'
      ? 'SET sent_at = clock_timestamp() WHERE alert_id = $1'
      : `SET next_try_at = clock_timestamp() + $3 * interval '1 millisecond' WHERE alert_id = $1 AND tries = $2`;
  const values = end === 'sent' ? [alertId] : [alertId, tries, end.nextTryMs];
  await asTenant(pool, tenantId ?? '', (client) =>
    client.query(`UPDATE copilot_internal.quota_alerts ${change} AND sent_at IS NULL`, values),
  );
}
