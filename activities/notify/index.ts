/** Sends the alerts that decisions raised. Their rows make it one alert a quota, kind and period. */
import { asTenant, type Pool } from '../../store/pool';
import { createCostAlert, type AlertedQuota, type CostAlertKind, type NotificationService } from './alerts';

export interface NotifyDependencies {
  pool: Pool;
  notifications: NotificationService;
}

interface AlertRow {
  alert_id: string;
  tenant_id: string | null;
  kind: CostAlertKind;
  details: AlertedQuota;
}

export const createSendAlerts =
  ({ pool, notifications }: NotifyDependencies) =>
  async ({ tenantId }: { tenantId: string }): Promise<void> => {
    await asTenant(pool, tenantId, async (client) => {
      // Locked rows are being sent by somebody else.
      const { rows } = await client.query<AlertRow>(
        `SELECT alert_id, tenant_id, kind, details FROM copilot_internal.quota_alerts
         WHERE sent_at IS NULL ORDER BY raised_at LIMIT 100 FOR UPDATE SKIP LOCKED`,
      );
      for (const row of rows) {
        await notifications.sendAlert(createCostAlert(row.kind, row.details, row.tenant_id ?? undefined));
        await client.query('UPDATE copilot_internal.quota_alerts SET sent_at = clock_timestamp() WHERE alert_id = $1', [
          row.alert_id,
        ]);
      }
    });
  };
