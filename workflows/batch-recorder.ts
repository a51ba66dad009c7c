/**
 * Has batches decided and recorded. While that is fast it runs as a local activity: signals that arrive meanwhile wait at
 * the server and come as one batch. When it fails or is slow it runs as an ordinary activity until it is fast again. After
 * a failure the batch goes back to the mailbox, and what is decided next is whatever waits then: an old batch is never
 * resent.
 */
import { proxyActivities, proxyLocalActivities, sleep, workflowInfo } from '@temporalio/workflow';
import type { AuthorityActivities, DecideResult } from '../activities/contracts/budget';
import type { Mailbox } from './mailbox';

const oneAttempt = { maximumAttempts: 1 };
/** An ordinary recording as fast as this counts towards going back to local ones. */
const fastMs = 250;
const fastInARow = 3;
const pauseMsMax = 10_000;

export class BatchRecorder {
  private readonly local = proxyLocalActivities<AuthorityActivities>({
    startToCloseTimeout: '500 milliseconds',
    scheduleToCloseTimeout: '1 second',
    retry: oneAttempt,
  });
  private readonly ordinary = proxyActivities<AuthorityActivities>({
    taskQueue: workflowInfo().taskQueue,
    startToCloseTimeout: '5 seconds',
    scheduleToCloseTimeout: '30 seconds',
    retry: oneAttempt,
  });
  private readonly alerts = proxyActivities<AuthorityActivities>({
    taskQueue: workflowInfo().taskQueue,
    startToCloseTimeout: '30 seconds',
    retry: { maximumAttempts: 5 },
  });
  /** Fast recordings still to be seen before local ones are tried again; 0 means local. */
  private fastNeeded = 0;
  private sendingAlerts: Promise<void> | undefined;

  constructor(private readonly tenantId: string) {}

  /** Takes a batch from the mailbox and returns once one is recorded. */
  async record(mailbox: Mailbox, { continuing }: { continuing: boolean }): Promise<DecideResult> {
    const { tenantId } = this;
    for (let failures = 0; ; failures += 1) {
      const commands = mailbox.take();
      try {
        const decide = this.fastNeeded === 0 ? this.local.decideBatch : this.ordinary.decideBatch;
        const result = await decide({ tenantId, commands, ...(continuing ? { continuing } : {}) });
        if (this.fastNeeded > 0) this.fastNeeded = result.durationMs <= fastMs ? this.fastNeeded - 1 : fastInARow;
        if (result.alertsDue > 0) this.sendAlerts();
        return result;
      } catch {
        // Whatever it was, nothing is known to be recorded. Repeating is harmless: what was recorded is answered again.
        mailbox.putBack(commands);
        this.fastNeeded = fastInARow;
        if (failures > 0) await sleep(Math.min(250 * 2 ** failures, pauseMsMax));
      }
    }
  }

  /** Returns in a workflow task of its own. */
  nextTask(): Promise<void> {
    return this.alerts.nextTask();
  }

  /** Resolves when no alert is under way. */
  async alertsSent(): Promise<void> {
    await this.sendingAlerts;
  }

  /** Alerts do not hold up decisions. One that cannot be sent stays due, and is sent after a later batch. */
  private sendAlerts(): void {
    this.sendingAlerts ??= this.alerts
      .sendAlerts({ tenantId: this.tenantId })
      .catch(() => undefined)
      .finally(() => (this.sendingAlerts = undefined));
  }
}
