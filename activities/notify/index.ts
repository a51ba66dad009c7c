/**
 * Sends the alerts that decisions raised. Nobody who decides waits for it: a process that is told of one takes what is due, of any
 * tenant, by a lease in its row; sends it with no transaction open; and says in the row what became of it. Rows make it one alert a
 * quota, kind, threshold and period, and the lease one sender at a time; one whose sender ended in the middle is sent again.
 */
import type { Logger } from '../../telemetry/log';
import { endAlert, takeDueAlerts, type DueAlert } from '../../store/alerts';
import type { Pool } from '../../store/pool';
import { countAlert } from '../../telemetry/metrics';
import { alertKinds, createCostAlert, type AlertedQuota, type CostAlertKind, type NotificationService } from './alerts';

export interface NotifyDependencies {
  pool: Pool;
  notifications: NotificationService;
  log: Logger;
}

/** Alerts of one process under way at once. */
const atOnce = 4;
/** Longer than sending one may take. */
const leaseMs = 30_000;
/** Between two looks: what is raised meanwhile is seen by the second. */
const togetherMs = 50;
/** Before an alert that was not taken is sent again: twice as long each time. */
const firstRetryMs = 1_000;
const retryMsMax = 600_000;
/** Before alerts that are due are looked for again, when Postgres did not answer. */
const lookAgainMs = 1_000;
/** As many moments of another look are remembered. */
const wakesMax = 100;
/** How long a process that ends lets what is under way go on. */
const drainMs = 2_000;

export class AlertSender {
  private readonly underWay = new Set<Promise<void>>();
  private readonly ending = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private isStopping = false;
  /** Whether a look found no room: the next that ends makes up for it. */
  private isMissed = false;
  /** When something may be due, the next first: an earlier look does not stand in for a later one. */
  private wakes: number[] = [];

  constructor(private readonly dependencies: NotifyDependencies) {}

  /** Something may be due then. What is beyond the bound is made up for by the next minute's upkeep. */
  wake(afterMs = togetherMs): void {
    const wakes = [...this.wakes, performance.now() + afterMs].sort((one, other) => one - other);
    this.wakes = wakes.slice(0, wakesMax);
    this.arm();
  }

  private arm(): void {
    clearTimeout(this.timer);
    const [nextMs] = this.wakes;
    if (nextMs === undefined || this.ending.signal.aborted || this.isStopping) return;
    this.timer = setTimeout(
      () => {
        const nowMs = performance.now();
        this.wakes = this.wakes.filter((atMs) => atMs > nowMs);
        void this.look();
        this.arm();
      },
      Math.max(0, nextMs - performance.now()) + 1,
    ).unref();
  }

  /** Takes no more, and lets what is under way end, or gives it up: it is sent again then. */
  async stop(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.timer);
    const giveUp = setTimeout(() => this.ending.abort(), drainMs);
    while (this.underWay.size > 0) await Promise.all(this.underWay);
    clearTimeout(giveUp);
    this.ending.abort();
  }

  private async look(): Promise<void> {
    const room = atOnce - this.underWay.size;
    this.isMissed = room <= 0;
    if (this.isMissed) return;
    const looking = this.takeAndSend(room).finally(() => {
      this.underWay.delete(looking);
      if (this.isMissed) this.wake(0);
    });
    this.underWay.add(looking);
    await looking;
  }

  private async takeAndSend(room: number): Promise<void> {
    const { pool, log } = this.dependencies;
    const due = await takeDueAlerts(pool, { max: room, leaseMs, kinds: alertKinds }).catch((error: unknown) => {
      log.warn({ error }, 'it could not be looked which alerts are due');
      this.wake(lookAgainMs);
      return [];
    });
    for (const alert of due) {
      const sending = this.send(alert).finally(() => {
        this.underWay.delete(sending);
        this.wake(0);
      });
      this.underWay.add(sending);
    }
  }

  private async send(row: DueAlert): Promise<void> {
    const { pool, notifications, log } = this.dependencies;
    const kind = row.kind as CostAlertKind;
    const details = row.details as AlertedQuota;
    const quota = row.threshold === null ? details : { ...details, threshold: row.threshold };
    const alert = { alertId: row.alertId, ...createCostAlert(kind, quota, row.tenantId ?? undefined) };
    try {
      try {
        await notifications.sendAlert(alert, this.ending.signal);
      } catch (error) {
        const nextTryMs = Math.min(firstRetryMs * 2 ** (row.tries - 1), retryMsMax);
        const { tenantId, alertId, title } = alert;
        log.warn(
          { tenantId, alertId, alert: kind, attempt: row.tries, error },
          `an alert could not be sent and is tried again: ${title}`,
        );
        await endAlert(pool, row, { nextTryMs });
        this.wake(nextTryMs + togetherMs);
        return;
      }
      await endAlert(pool, row, 'sent');
      countAlert(kind);
    } catch (error) {
      // Its lease runs out, and it is sent again.
      log.warn({ alertId: alert.alertId, error }, 'what became of an alert could not be recorded');
    }
  }
}
