/** What an alert says, and where it goes. */
import type { Logger } from '../../telemetry/log';

export type CostAlertKind = 'quota_warning' | 'quota_exceeded';

/** The quota that an alert is about, as it was at that moment. Amounts are decimal strings. */
export interface AlertedQuota {
  scope: string;
  scopeId: string;
  resourceType: string;
  period: string;
  limitUsd: string;
  spentUsd: string;
  reservedUsd: string;
  utilizationPercent: number;
  estimatedUsd?: string;
  /** The share of the limit that a warning is about. */
  threshold?: number;
}

export interface CostAlert {
  /** The same whenever it is sent again. */
  alertId?: string | undefined;
  kind: CostAlertKind;
  severity: 'warning' | 'error';
  title: string;
  tenantId?: string | undefined;
  quota: AlertedQuota;
}

/** Sends alerts to people. Throws when it could not: the alert is then sent again. */
export interface NotificationService {
  sendAlert(alert: CostAlert): Promise<void>;
}

export function createCostAlert(kind: CostAlertKind, quota: AlertedQuota, tenantId?: string): CostAlert {
  const what = `The ${quota.resourceType} quota of ${quota.scope} ${quota.scopeId} per ${quota.period}`;
  return {
    kind,
    severity: kind === 'quota_warning' ? 'warning' : 'error',
    title:
      kind === 'quota_warning'
        ? `${what} is at ${quota.utilizationPercent} % of $${quota.limitUsd}`
        : `${what} refused a request: $${quota.spentUsd} of $${quota.limitUsd} is spent and $${quota.reservedUsd} reserved`,
    tenantId,
    quota,
  };
}

/** Alerts as structured log lines, where log-based alerting picks them up. */
export const logNotifications = (log: Logger): NotificationService => ({
  async sendAlert({ alertId, kind, severity, title, tenantId, quota }) {
    const fields = {
      alert: kind,
      alertId,
      tenantId,
      scope: quota.scope,
      resourceType: quota.resourceType,
      utilizationPercent: quota.utilizationPercent,
      spentUsd: quota.spentUsd,
      limitUsd: quota.limitUsd,
    };
    if (severity === 'warning') log.warn(fields, title);
    else log.error(fields, title);
  },
});
