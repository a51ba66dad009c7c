/**
 * Asking people, and waiting for them as long as it takes: whether a tool may be used, and questions of the model. What they
 * say is in Postgres; a signal only tells that there is something to look at, or brings a decision from Temporal UI.
 */
import { CancellationScope, proxyActivities, setHandler, uuid4, workflowInfo } from '@temporalio/workflow';
import type { RunActivities } from '../../contracts/runs';
import type { ToolCall } from '../../contracts/llm';
import { isUnreadable, readApprovalSignal, type ApprovalSignal } from '../../core/inputs/read-signals';
import { isCancellation } from '../failures';
import { decideApprovalSignal, type AgentRunInput } from '../../contracts/messages';

/** Decisions are looked up this often even when no signal comes: it may have been lost with the process that was to send it. */
const lookUpSeconds = 6 * 3_600;

export class ApprovalDesk {
  /** Told of each signal what was wrong with it; of nothing when it was taken. */
  onHeard: (problem: string | undefined) => void = () => undefined;
  private readonly inbox: ApprovalSignal[] = [];
  /** Signals since the last look, nonsense among them: it wakes too, as it always did. */
  private heard = 0;
  /** What people are asked now. */
  private readonly asked = new Map<string, 'approval' | 'question'>();
  private readonly activities: RunActivities;

  constructor(private readonly run: Pick<AgentRunInput, 'tenantId' | 'runId' | 'tools'>) {
    this.activities = proxyActivities<RunActivities>({
      taskQueue: workflowInfo().taskQueue,
      startToCloseTimeout: '30 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds' },
    });
    setHandler(decideApprovalSignal, (given: unknown) => this.hear(given));
  }

  /** A signal that cannot be meant is refused here: to pass it on would stop the turn. */
  private hear(given: unknown): void {
    this.heard += 1;
    const signal = readApprovalSignal(given);
    const problem = isUnreadable(signal) ? signal.problem : this.objectionTo(signal);
    if (problem === undefined) this.inbox.push(signal as ApprovalSignal);
    this.onHeard(problem === undefined ? undefined : `decideApproval: ${problem}.`);
  }

  private objectionTo({ approvalId, decision }: ApprovalSignal): string | undefined {
    if (decision === undefined) return undefined;
    const kind = this.asked.get(approvalId);
    if (kind === undefined) return `nobody is asked ${approvalId} now`;
    if (kind === 'approval' && decision === 'answer') return 'a tool is decided on by approve or refuse';
    return kind === 'question' && decision === 'approve' ? 'a question is decided by answer or refuse' : undefined;
  }

  /** Which calls a person is asked about first. */
  needed(calls: readonly ToolCall[]): ToolCall[] {
    return calls.filter(({ name }) => name === 'ask_person' || this.run.tools?.[name]?.requiresApproval === true);
  }

  /** Of the calls that people were asked about, those that they did not allow. */
  async refused(step: number): Promise<ReadonlySet<string>> {
    const { tenantId, runId } = this.run;
    return new Set(await this.activities.refusedCalls({ tenantId, runId, step }));
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
    for (const [index, { name }] of calls.entries())
      this.asked.set(asked[index]?.approvalId ?? '', name === 'ask_person' ? 'question' : 'approval');
    try {
      await this.activities.openApprovals({
        tenantId,
        runId,
        step,
        asked,
        ...(turnId === undefined ? {} : { turnId }),
      });
      for (;;) {
        this.heard = 0;
        const pending = await this.activities.pendingApprovals({
          tenantId,
          runId,
          step,
          decided: this.inbox.splice(0),
        });
        if (pending.length === 0) return;
        await whileWaiting(() => this.heard > 0, lookUpSeconds);
      }
    } catch (error) {
      if (isCancellation(error))
        await CancellationScope.nonCancellable(() => this.activities.withdrawApprovals({ tenantId, runId }));
      throw error;
    } finally {
      this.asked.clear();
    }
  }
}
