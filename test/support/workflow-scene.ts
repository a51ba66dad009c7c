/**
 * Runs workflow code by Temporal's own runtime in the process of the test, without server, worker or bundle: the commands that the code
 * issues are answered by the test, and time passes when the test says so. Import it before any workflow code.
 */
import './workflow-globals';
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  defaultFailureConverter,
  defaultPayloadConverter,
  RetryState,
  TimeoutFailure,
  TimeoutType,
  toPayloads,
} from '@temporalio/common';
import { setActivator } from '@temporalio/workflow/lib/global-attributes';
import { Activator } from '@temporalio/workflow/lib/internals';
import { activate, concludeActivation, tryUnblockConditions } from '@temporalio/workflow/lib/worker-interface';
import type { coresdk } from '@temporalio/proto';
import { AsyncLocalStorage } from '@temporalio/workflow';
import type { ErrorCode } from '../../core/errors';
import type { AttemptFailureDetails } from '../../contracts/failures';
import { settle } from './manual-clock';

type Job = coresdk.workflow_activation.IWorkflowActivationJob;

/** An activity that was asked for. */
export interface Call {
  type: string;
  request: unknown;
  atMs: number;
  seq: number;
  /** Its place where activities wait for a worker; undefined where it says none, and has its workflow's. */
  priorityKey?: number;
}

/** What an activity does: it returns or throws, at once or after a while; or it never ends by itself. */
export type Reply = { afterMs?: number } & ({ returns: unknown } | { throws: Error } | { lost: true } | { open: true });

/** Fails as an activity of ours does, with a code of the catalogue. */
export const failing = (code: ErrorCode, details?: AttemptFailureDetails): Reply => ({
  throws: ApplicationFailure.create({
    type: code,
    message: code,
    nonRetryable: true,
    ...(details ? { details: [details] } : {}),
  }),
});

/** An execution, and its clock. It begins at 0. */
export class WorkflowScene {
  nowMs = 0;
  /** What ended it: the result, or the error. */
  ended: { result: unknown } | { error: Error } | undefined;
  private readonly activator: Activator;
  private due: { atMs: number; timer?: number; activity?: number; job: Job }[] = [];
  /** Activities that have not ended, and whether one that is cancelled ends at once. */
  private readonly open = new Map<number, { call: Call; endsAtOnce: boolean; isLocal: boolean }>();

  /**
   * @param answer what each activity does that is asked for
   * @param cancelled what one does that waits for its own end when it is cancelled; it ends as cancelled unless that says otherwise
   * @param priorityKey the workflow's own
   */
  constructor(
    private readonly answer: (call: Call) => Reply,
    private readonly cancelled: (call: Call) => Reply | undefined = () => undefined,
    priorityKey?: number,
  ) {
    if (!('getStore' in AsyncLocalStorage.prototype))
      throw new Error('Import test/support/workflow-scene before any workflow code.');
    const info = {
      workflowId: 'run/test',
      runId: 'execution',
      workflowType: 'test',
      taskQueue: 'spendlock-runs',
      namespace: 'default',
      historyLength: 3,
      ...(priorityKey === undefined ? {} : { priority: { priorityKey } }),
      unsafe: { isReplaying: false, isReplayingHistoryEvents: false, now: () => 0, random: () => 0 },
    };
    this.activator = new Activator({
      info,
      now: 0,
      randomnessSeed: [1],
      showStackTraceSources: false,
      stackTracesEnabled: false,
      // Every activity that is asked for is one: the test answers it.
      registeredActivityNames: { has: () => true },
      getTimeOfDay: () => 0n,
    } as unknown as ConstructorParameters<typeof Activator>[0]);
    setActivator(this.activator);
    jest.spyOn(Date, 'now').mockImplementation(() => this.activator.now);
  }

  /** Begins the workflow. */
  async start(workflow: () => Promise<unknown>): Promise<void> {
    this.activator.workflow = workflow;
    await this.tell({ variant: 'initializeWorkflow', initializeWorkflow: {} });
  }

  async signal(signalName: string, ...args: unknown[]): Promise<void> {
    const input = toPayloads(defaultPayloadConverter, ...args) ?? [];
    await this.tell({ variant: 'signalWorkflow', signalWorkflow: { signalName, input } });
  }

  async cancel(): Promise<void> {
    await this.tell({ variant: 'cancelWorkflow', cancelWorkflow: {} });
  }

  /** Ends an activity that was open. */
  async reply(type: string, reply: Reply): Promise<void> {
    const [seq] = [...this.open].find(([, { call }]) => call.type === type) ?? [];
    if (seq === undefined) throw new Error(`No ${type} is open.`);
    this.plan(seq, reply);
    await this.moveTo(this.nowMs);
  }

  /** Lets time pass, by way of all that is due until then. */
  async moveTo(ms: number): Promise<void> {
    for (;;) {
      const next = this.due.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (!next || next.atMs > ms) break;
      this.due = this.due.filter((other) => other !== next);
      if (next.activity !== undefined) this.forget(next.activity);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      await this.tell(next.job);
    }
    this.nowMs = Math.max(this.nowMs, ms);
  }

  /** Lets as much time pass as it takes to the end of the workflow. */
  async finish(): Promise<void> {
    while (!this.ended && this.due.length > 0) await this.moveTo(Math.min(...this.due.map(({ atMs }) => atMs)));
    if (!this.ended) throw new Error('The workflow waits for what never comes.');
  }

  /** The workflow is told of something, and does what follows from it. */
  private async tell(job: Job): Promise<void> {
    if (this.ended) return;
    this.activator.now = this.nowMs;
    activate({ jobs: [job] });
    do await settle();
    while (tryUnblockConditions() > 0);
    const { commands = [] } = concludeActivation().successful ?? {};
    for (const command of commands ?? []) this.take(command);
    // What an activity does at once, it does before anything else happens.
    await this.moveTo(this.nowMs);
  }

  private take(command: coresdk.workflow_commands.IWorkflowCommand): void {
    const activity = command.scheduleActivity ?? command.scheduleLocalActivity;
    const cancels = command.requestCancelActivity ?? command.requestCancelLocalActivity;
    if (activity) this.schedule(activity, command.scheduleLocalActivity != null);
    else if (cancels) this.cancelActivity(Number(cancels.seq));
    else if (command.startTimer) {
      const { seq, startToFireTimeout } = command.startTimer;
      const timer = Number(seq);
      const job: Job = { variant: 'fireTimer', fireTimer: { seq: timer } };
      this.due.push({ atMs: this.nowMs + msOf(startToFireTimeout), timer, job });
    } else if (command.cancelTimer) {
      this.due = this.due.filter(({ timer }) => timer !== Number(command.cancelTimer?.seq));
    } else if (command.completeWorkflowExecution) {
      const { result } = command.completeWorkflowExecution;
      this.ended = { result: result ? defaultPayloadConverter.fromPayload(result) : undefined };
    } else if (command.failWorkflowExecution?.failure) {
      const { failure } = command.failWorkflowExecution;
      this.ended = { error: defaultFailureConverter.failureToError(failure, defaultPayloadConverter) };
    } else if (command.cancelWorkflowExecution) this.ended = { error: new CancelledFailure('cancelled') };
  }

  private schedule(
    activity: coresdk.workflow_commands.IScheduleActivity | coresdk.workflow_commands.IScheduleLocalActivity,
    isLocal: boolean,
  ): void {
    const seq = Number(activity.seq);
    const [request] = (activity.arguments ?? []).map((payload) => defaultPayloadConverter.fromPayload(payload));
    const call: Call = { type: activity.activityType ?? '', request, atMs: this.nowMs, seq };
    if ('priority' in activity && activity.priority?.priorityKey) call.priorityKey = activity.priority.priorityKey;
    // 1 is WAIT_CANCELLATION_COMPLETED.
    this.open.set(seq, { call, endsAtOnce: Number(activity.cancellationType) !== 1, isLocal });
    const limitMs = activity.scheduleToCloseTimeout ? msOf(activity.scheduleToCloseTimeout) : undefined;
    if (limitMs !== undefined) this.plan(seq, { lost: true, afterMs: limitMs });
    this.plan(seq, this.answer(call));
  }

  private cancelActivity(seq: number): void {
    const found = this.open.get(seq);
    if (!found) return;
    const ends = { throws: new CancelledFailure('cancelled') };
    this.plan(seq, found.endsAtOnce ? ends : (this.cancelled(found.call) ?? ends));
  }

  /** An activity ends like this, unless it ends otherwise before. */
  private plan(seq: number, reply: Reply): void {
    const found = this.open.get(seq);
    if (!found || 'open' in reply) return;
    const result = resultOf(found.call, reply);
    const job: Job = { variant: 'resolveActivity', resolveActivity: { seq, result, isLocal: found.isLocal } };
    this.due.push({ atMs: this.nowMs + (reply.afterMs ?? 0), activity: seq, job });
  }

  private forget(seq: number): void {
    this.open.delete(seq);
    this.due = this.due.filter(({ activity }) => activity !== seq);
  }
}

const msOf = (duration: { seconds?: unknown; nanos?: number | null } | null | undefined): number =>
  Number(duration?.seconds ?? 0) * 1_000 + (duration?.nanos ?? 0) / 1_000_000;

function resultOf({ type, seq }: Call, reply: Reply): coresdk.activity_result.IActivityResolution {
  if ('returns' in reply) {
    return { completed: { result: defaultPayloadConverter.toPayload(reply.returns) } };
  }
  const cause =
    'throws' in reply
      ? reply.throws
      : new TimeoutFailure('activity Heartbeat timeout', undefined, TimeoutType.HEARTBEAT);
  const error = new ActivityFailure(
    'Activity task failed',
    type,
    `${seq}`,
    RetryState.MAXIMUM_ATTEMPTS_REACHED,
    'worker',
    cause,
  );
  const failure = defaultFailureConverter.errorToFailure(error, defaultPayloadConverter);
  return cause instanceof CancelledFailure ? { cancelled: { failure } } : { failed: { failure } };
}
