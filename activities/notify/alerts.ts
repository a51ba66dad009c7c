/** What an alert says, and where it goes. */
import { counted } from '../../core/counted';
import { answerInWords, type MoneyAnswer } from '../../core/budget/money-requests';
import type { Logger } from '../../telemetry/log';

export type CostAlertKind = 'quota_warning' | 'quota_exceeded' | 'overrun' | 'money_request';

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
  /** Of one that is only watched: it refuses nothing. */
  enforced?: false;
  estimatedUsd?: string;
  /** The share of the limit that a warning is about. */
  threshold?: number;
  /** The call that cost more than was granted, of an overrun. */
  operationId?: string;
  grantedUsd?: string;
  costUsd?: string;
  /** Of a request for money: what is asked for, by which run, and how many paid steps it made before, at `costUsd`. */
  requestId?: string;
  runId?: string;
  kind?: string;
  askedUsd?: string;
  steps?: number;
  lastAnswer?: MoneyAnswer;
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

/** Sends alerts to people. Throws when it could not, or when the signal gave it up: the alert is then sent again. */
export interface NotificationService {
  sendAlert(alert: CostAlert, signal?: AbortSignal): Promise<void>;
}

const titles: Record<CostAlertKind, (what: string, quota: AlertedQuota, tenantId?: string) => string> = {
  quota_warning: (what, { utilizationPercent, limitUsd }) => `${what} is at ${utilizationPercent} % of $${limitUsd}`,
  quota_exceeded: (what, { spentUsd, limitUsd, reservedUsd, estimatedUsd, enforced }) =>
    `${what} ${estimatedUsd === undefined ? 'is passed without a refusal' : enforced === false ? 'would have refused a request, if it were enforced' : 'refused a request'}: $${spentUsd} of $${limitUsd} is spent and $${reservedUsd} reserved`,
  overrun: (what, { operationId, costUsd, grantedUsd, spentUsd, limitUsd }) =>
    `The call ${operationId} cost $${costUsd}, ${grantedUsd === '0' ? 'for which nothing was held any more' : `more than the $${grantedUsd} that was granted`}. It is recorded in full. ${what} has $${spentUsd} of $${limitUsd} spent`,
  money_request: (
    what,
    { requestId, runId, kind, askedUsd, steps, costUsd, spentUsd, limitUsd, lastAnswer },
    tenantId,
  ) =>
    `${runId === undefined ? 'A workflow' : `The run ${runId}`} asks for $${askedUsd} for ${kind}${steps === undefined ? '' : `, after ${counted(steps, 'paid step')} that cost $${costUsd}`}. ` +
    `${what} has $${spentUsd} of $${limitUsd} spent. ${lastAnswer ? `What it asked before: ${answerInWords(lastAnswer)} ` : ''}` +
    `To answer: \`npx spendlock budget grant ${tenantId} ${requestId}\`, or \`budget refuse\``,
};

/** Those that there are words for. */
export const alertKinds = Object.keys(titles);

export function createCostAlert(kind: CostAlertKind, quota: AlertedQuota, tenantId?: string): CostAlert {
  const what = `The ${quota.enforced === false ? 'watched ' : ''}${quota.resourceType} quota of ${quota.scope} ${quota.scopeId} per ${quota.period}`;
  return {
    kind,
    severity: kind === 'quota_exceeded' && quota.enforced !== false ? 'error' : 'warning',
    title: titles[kind](what, quota, tenantId),
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
