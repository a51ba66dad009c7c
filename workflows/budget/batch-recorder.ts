/**
 * Has batches decided and recorded. While that is fast it runs as a local activity: signals that arrive meanwhile wait at
 * the server and come as one batch. When it fails or is slow it runs as an ordinary activity until it is fast again. After
 * a failure the batch goes back to the mailbox, and what is decided next is whatever waits then: an old batch is never
 * resent. So does what a slow recording had no time for: what it did decide stays decided.
 */
import { proxyActivities, proxyLocalActivities, sleep, workflowInfo } from '@temporalio/workflow';
import type { AuthorityActivities, DecideResult } from '../../contracts/budget';
import type { BudgetCommand } from '../../core/budget/commands';
import { inOneSpelling } from '../../core/ids';
import { omitUndefined } from '../../core/omit-undefined';
import { isPatched } from '../patches';
import type { Mailbox } from './mailbox';

type Waiting = NonNullable<DecideResult['waiting']>;

const oneAttempt = { maximumAttempts: 1 };
/** An ordinary recording as fast as this counts towards going back to local ones. */
const fastMs = 250;
const fastInARow = 3;
const pauseMsMax = 10_000;
/** Commands left behind that one activity is told of. */
const leftAtOnce = 1_000;
/** Between a decision and the look at those that wait for money: a moment in which more may be freed. */
const wakeAfterMs = 100;

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
  private waking: Promise<void> | undefined;
  /** A look at those that wait may not have seen what a decision freed meanwhile: another follows. */
  private wakesAgain = false;
  private readonly leases = proxyActivities<AuthorityActivities>({
    taskQueue: workflowInfo().taskQueue,
    startToCloseTimeout: '10 seconds',
    retry: { maximumAttempts: 3 },
  });
  private drawing: Promise<void> | undefined;
  private hasIdleLease = false;

  constructor(private readonly tenantId: string) {}

  /** Takes a batch from the mailbox and returns once one is recorded. */
  async record(mailbox: Mailbox, { continuing }: { continuing: boolean }): Promise<DecideResult> {
    const { tenantId } = this;
    for (let failures = 0; ; failures += 1) {
      const commands = mailbox.take();
      try {
        const decide = this.fastNeeded === 0 ? this.local.decideBatch : this.ordinary.decideBatch;
        const result = await decide({ tenantId, commands, mayLeaveRest: true, ...(continuing ? { continuing } : {}) });
        if (result.undecided) mailbox.putBack(commands.slice(-result.undecided));
        if (this.fastNeeded > 0) this.fastNeeded = result.durationMs <= fastMs ? this.fastNeeded - 1 : fastInARow;
        if (result.alertsDue > 0) this.sendAlerts();
        if (result.moneyWaiters) this.wakeWaiters();
        this.hasIdleLease = result.idleLease ?? false;
        if (result.waiting) this.draw(mailbox, commands, result.waiting);
        return result;
      } catch {
        // Whatever it was, nothing is known to be recorded. Repeating is harmless: what was recorded is answered again.
        mailbox.putBack(commands);
        this.fastNeeded = fastInARow;
        if (failures > 0) await sleep(Math.min(250 * 2 ** failures, pauseMsMax));
      }
    }
  }

  /** Tells those whose commands are left behind, as far as that can be done, and puts it on record. */
  async leaveBehind(commands: readonly BudgetCommand[]): Promise<void> {
    const { tenantId } = this;
    const left = commands.map((command) => ({
      type: command.type,
      ...('operationId' in command ? { operationId: command.operationId } : {}),
      ...('replyTo' in command && command.replyTo ? { replyTo: command.replyTo } : {}),
    }));
    for (let from = 0; from < left.length; from += leftAtOnce)
      await this.leases.leaveBehind({ tenantId, commands: left.slice(from, from + leftAtOnce) }).catch(() => undefined);
  }

  /** Returns in a workflow task of its own. */
  nextTask(): Promise<void> {
    return this.alerts.nextTask();
  }

  /** Resolves when no alert is under way, and nobody is being woken. */
  async alertsSent(): Promise<void> {
    await this.sendingAlerts;
    await this.waking;
  }

  /** Resolves when no draw is under way: what waited for it is in the mailbox again. */
  async drawn(): Promise<void> {
    while (this.drawing) await this.drawing;
  }

  /** Gives idle parts of the tenant's leases back to the platform. They are there for others to reclaim in any case. */
  async returnLeases(): Promise<void> {
    if (this.hasIdleLease) await this.leases.returnLeases({ tenantId: this.tenantId }).catch(() => undefined);
    this.hasIdleLease = false;
  }

  /**
   * Draws from the platform what some reserves of a batch wait for, and has them decided again. Other decisions go on
   * meanwhile; what needs money from the platform during a draw waits for the next one.
   */
  private draw(mailbox: Mailbox, batch: readonly BudgetCommand[], { operationIds, needs }: Waiting): void {
    const waiting = new Set(operationIds.map(inOneSpelling));
    const commands = batch.filter(
      (command) => command.type === 'reserve' && waiting.has(inOneSpelling(command.operationId)),
    );
    const before = this.drawing ?? Promise.resolve();
    const drawing = before
      .then(() => this.leases.drawLease({ tenantId: this.tenantId, needs }))
      // Undrawn they are undecided again, and drawn for again.
      .catch(() => sleep(1_000))
      .then(() => {
        if (this.drawing === drawing) this.drawing = undefined;
        mailbox.putBack(commands);
      });
    this.drawing = drawing;
  }

  /** Looks whom of those that wait for money it would do for now. */
  private wakeWaiters(): void {
    this.wakesAgain = this.waking !== undefined;
    this.waking ??= this.lookAtWaiters().finally(() => (this.waking = undefined));
  }

  private async lookAtWaiters(): Promise<void> {
    const { tenantId } = this;
    const wake = (afterMs?: number): Promise<void> =>
      this.alerts.wakeWaiters({ tenantId, ...omitUndefined({ afterMs }) }).catch(() => undefined);
    if (!isPatched('woken-at-once'))
      return sleep(wakeAfterMs).then(
        () => wake(),
        () => undefined,
      );
    do {
      this.wakesAgain = false;
      await wake(wakeAfterMs);
    } while (this.wakesAgain);
  }

  /** Alerts do not hold up decisions. One that cannot be sent stays due, and is sent after a later batch. */
  private sendAlerts(): void {
    this.sendingAlerts ??= this.alerts
      .sendAlerts({ tenantId: this.tenantId })
      .catch(() => undefined)
      .finally(() => (this.sendingAlerts = undefined));
  }
}
