/**
 * Asking people, and waiting for them as long as it takes: whether a tool may be used, and questions of the model. What they
 * say is in Postgres; a signal only tells that there is something to look at, or brings a decision from Temporal UI.
 */
import { CancellationScope, proxyActivities, setHandler, uuid4, workflowInfo } from '@temporalio/workflow';
import type { LedgerActivities } from '../activities/contracts/ledger';
import type { ToolCall } from '../activities/contracts/llm';
import { isCancellation } from './failures';
import { decideApprovalSignal, type AgentRunInput, type ApprovalSignal } from './messages';

/** Decisions are looked up this often even when no signal comes: it may have been lost with the process that was to send it. */
const lookUpSeconds = 6 * 3_600;

export class ApprovalDesk {
  private readonly inbox: ApprovalSignal[] = [];
  private readonly activities: LedgerActivities;

  constructor(private readonly run: Pick<AgentRunInput, 'tenantId' | 'runId' | 'tools'>) {
    this.activities = proxyActivities<LedgerActivities>({
      taskQueue: workflowInfo().taskQueue,
      startToCloseTimeout: '30 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds' },
    });
    setHandler(decideApprovalSignal, (signal: ApprovalSignal) => void this.inbox.push(signal));
  }

  /** Which calls a person is asked about first. */
  needed(calls: readonly ToolCall[]): ToolCall[] {
    return calls.filter(({ name }) => name === 'ask_person' || this.run.tools?.[name]?.requiresApproval === true);
  }

  /**
   * Asks, and returns when all is decided.
   * @param whileWaiting waits until the given condition holds or the time is over; the sandbox rests meanwhile.
   */
  async ask(
    { step, turnId, calls }: { step: number; turnId?: string | undefined; calls: readonly ToolCall[] },
    whileWaiting: (isOver: () => boolean, seconds: number) => Promise<void>,
  ): Promise<void> {
    const { tenantId, runId } = this.run;
    const asked = calls.map(({ toolUseId }) => ({ approvalId: uuid4(), toolUseId }));
    try {
      await this.activities.openApprovals({
        tenantId,
        runId,
        step,
        asked,
        ...(turnId === undefined ? {} : { turnId }),
      });
      for (;;) {
        const pending = await this.activities.pendingApprovals({
          tenantId,
          runId,
          step,
          decided: this.inbox.splice(0),
        });
        if (pending.length === 0) return;
        await whileWaiting(() => this.inbox.length > 0, lookUpSeconds);
      }
    } catch (error) {
      if (isCancellation(error))
        await CancellationScope.nonCancellable(() => this.activities.withdrawApprovals({ tenantId, runId }));
      throw error;
    }
  }
}
