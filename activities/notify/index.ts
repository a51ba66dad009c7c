/**
 * Sends the alerts that decisions raised. Their rows make it one alert a quota, kind, threshold and period; each is sent in a
 * transaction of its own, so that one that cannot be sent does not have the others sent again.
 */
import type { Logger } from '../../telemetry/log';
import { asTenant, type Pool, type PoolClient } from '../../store/pool';
import { countAlert } from '../../telemetry/metrics';
import { createCostAlert, type AlertedQuota, type CostAlertKind, type NotificationService } from './alerts';

export interface NotifyDependencies {
  pool: Pool;
  notifications: NotificationService;
  log: Logger;
}

interface AlertRow {
  alert_id: string;
  tenant_id: string | null;
  kind: CostAlertKind;
  threshold: number | null;
  details: AlertedQuota;
}

/** Alerts of one call; more wait for the next. */
const alertsMax = 100;

export const createSendAlerts =
  ({ pool, notifications, log }: NotifyDependencies) =>
  async ({ tenantId }: { tenantId: string }): Promise<void> => {
    for (let sent = 0; sent < alertsMax; sent += 1) {
      const isSent = await asTenant(pool, tenantId, (client) => sendNext(client, { notifications, log }));
      if (!isSent) return;
    }
  };

/** Sends the oldest alert that nobody else is sending. False when there is none. */
async function sendNext(
  client: PoolClient,
  { notifications, log }: Pick<NotifyDependencies, 'notifications' | 'log'>,
): Promise<boolean> {
  const { rows } = await client.query<AlertRow>(
    `SELECT alert_id, tenant_id, kind, threshold::float8 AS threshold, details FROM copilot_internal.quota_alerts
     WHERE sent_at IS NULL ORDER BY raised_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
  );
  const row = rows[0];
  if (!row) return false;
  const quota = row.threshold === null ? row.details : { ...row.details, threshold: row.threshold };
  const alert = { alertId: row.alert_id, ...createCostAlert(row.kind, quota, row.tenant_id ?? undefined) };
  try {
    await notifications.sendAlert(alert);
  } catch (error) {
    log.warn(
      { tenantId: alert.tenantId, alertId: alert.alertId, alert: alert.kind, error },
      `an alert could not be sent and is tried again: ${alert.title}`,
    );
    throw error;
  }
  await client.query('UPDATE copilot_internal.quota_alerts SET sent_at = clock_timestamp() WHERE alert_id = $1', [
    row.alert_id,
  ]);
  countAlert(row.kind);
  return true;
}
