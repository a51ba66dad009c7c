/**
 * A conversation: a run that is asked more than once, and that may live for months. Its messages wait in Postgres; an update
 * only rings, and answers at once. Each turn runs the same loop as a task, within limits of its own.
 *
 *   idle ── rung ──▶ a turn: take the oldest message ──▶ steps ──▶ settled, ended ──▶ the next message, or idle
 *    │                  └── interrupted, denied, failed: the turn ends, the conversation stays
 *    ├── for long: its sandbox is paused, later ended
 *    └── closed, cancelled or failed ──▶ its sandbox is ended, all is settled; the workflow ends as Completed, Cancelled or Failed
 *
 * Whenever its history has grown it continues as new between two steps, and takes along what is under way.
 */
import {
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  condition,
  continueAsNew,
  proxyActivities,
  setHandler,
  TemporalFailure,
  workflowInfo,
} from '@temporalio/workflow';
import type { RunActivities } from '../../contracts/runs';
import { isUnreadable, readTurn } from '../../core/inputs/read-signals';
import { omitUndefined } from '../../core/omit-undefined';
import { problemOfConversation } from '../../core/inputs/workflow-inputs';
import { AgentLoop, stoppedByBudget } from './agent-loop';
import { ApprovalDesk } from './approvals';
import { endingOf, endOf, failureWith, isCancellation, type RunEnd } from '../failures';
import { refuseNonsense } from '../inputs';
import {
  closeSignal,
  conversationWorkflowId,
  interruptSignal,
  postMessageUpdate,
  runProgressQuery,
  type CarriedTurn,
  type ConversationInput,
} from '../../contracts/messages';
import { isPatched } from '../patches';
import { orNull, withinTheTask } from '../within-the-task';
import { RunPage, showOn } from './run-page';
import { SandboxSession } from './sandbox-session';
import { TimeLimit } from './time-limit';
import { scopeOf } from '../budget/paid-step';
import { Budget } from '../budget/with-budget';

/** An execution takes 2,000 updates; it continues as new long before. */
const messagesMax = 500;
const historyEventsMax = 2_000;
const historyBytesMax = 512 * 1024;

type TurnEnd = RunEnd<'completed' | 'quota_exceeded' | 'failed' | 'interrupted' | 'cancelled'>;

export async function conversation(input: ConversationInput): Promise<void> {
  refuseNonsense(problemOfConversation(input), {
    prefix: conversationWorkflowId(''),
    field: 'runId',
    id: input?.runId,
  });
  const { carried, ...options } = input;
  await new Conversation(options, carried).live();
}

class Conversation {
  private rung: boolean;
  private messages = 0;
  private closing = false;
  /** The last step that was taken. */
  private step: number;
  private turn: CarriedTurn | undefined;
  /** Of the turn that runs. */
  private limit = new TimeLimit(0);
  private interrupted = false;
  /** A turn that somebody wants stopped while it is being taken. */
  private toInterrupt: string | undefined;
  private readonly page = new RunPage();
  private readonly budget: Budget;
  private readonly sandbox: SandboxSession;
  private readonly loop: AgentLoop;
  private readonly ledger: RunActivities;
  private readonly quick = withinTheTask<Pick<RunActivities, 'beginTurnQuickly'>>();
  private readonly key: { tenantId: string; runId: string };

  constructor(
    private readonly input: Omit<ConversationInput, 'carried'>,
    carried: ConversationInput['carried'],
  ) {
    const { tenantId, runId } = input;
    const { taskQueue } = workflowInfo();
    this.key = { tenantId, runId };
    this.rung = carried === undefined || carried.rung === true;
    this.step = carried?.step ?? 0;
    this.turn = carried?.turn;
    // Each turn has a limit of its own.
    this.budget = new Budget(scopeOf(input), null);
    this.sandbox = new SandboxSession(input, this.budget, taskQueue, carried?.sandbox);
    const limit: Pick<TimeLimit, 'standStill'> = { standStill: (wait) => this.limit.standStill(wait) };
    const desk = new ApprovalDesk(input);
    showOn(this.page, { budget: this.budget, limit, sandbox: this.sandbox, desk });
    this.sandbox.onRest = () => this.page.holding(this.turn !== undefined);
    const show = (step: number, doing: string): void => this.show(step, doing);
    this.loop = new AgentLoop({
      input,
      budget: this.budget,
      sandbox: this.sandbox,
      desk,
      limit,
      show,
      calls: 'turns',
    });
    this.ledger = proxyActivities<RunActivities>({
      taskQueue,
      startToCloseTimeout: '30 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds' },
    });
    this.listen();
  }

  private listen(): void {
    setHandler(runProgressQuery, () => this.page.progress);
    setHandler(
      postMessageUpdate,
      ({ turnId }) => {
        this.messages += 1;
        this.rung = true;
        return { turnId };
      },
      {
        validator: (message: unknown) => {
          const read = readTurn(message);
          const problem = isUnreadable(read) || read.turnId === undefined ? 'it has to be an object with a turnId' : '';
          if (problem) throw failureWith('invalid_request', `postMessage: ${problem}. Nothing was changed.`);
          if (this.closing) throw failureWith('conversation_ended', 'The conversation is being closed.');
        },
      },
    );
    setHandler(interruptSignal, (given: unknown) => {
      const read = readTurn(given);
      this.page.noteNotTaken(isUnreadable(read) ? `interrupt: ${read.problem}.` : undefined);
      if (isUnreadable(read)) return;
      const { turnId } = read;
      if (!this.turn || (turnId !== undefined && turnId !== this.turn.turnId)) {
        this.toInterrupt = turnId;
        return;
      }
      this.interrupted = true;
      this.limit.cancel();
    });
    setHandler(closeSignal, () => {
      this.closing = true;
      this.limit.cancel();
    });
  }

  async live(): Promise<void> {
    let end: RunEnd<'completed' | 'cancelled' | 'failed'> = { status: 'completed' };
    try {
      while (!this.closing) {
        if (this.isFull() && !this.mustStop()) await this.startAnew();
        else if (this.turn) await this.goOn(this.turn);
        else if (this.rung) await this.takeMessage();
        else await this.wait();
      }
    } catch (error) {
      // What no code of ours was ready for stays the task's, which is tried again, and can be mended by a new version.
      if (!isCancellation(error) && !(error instanceof TemporalFailure && isPatched('endings'))) throw error;
      end = endOf(error, { what: 'run', cancelled: true }) as typeof end;
    }
    const cost = await CancellationScope.nonCancellable(async () => {
      this.closing = true;
      await this.sandbox.end();
      await this.budget.settled(this.sandbox.openOperationIds);
      await condition(allHandlersFinished);
      return this.ledger.endConversation({ ...this.key, ...end });
    });
    this.page.ended({ status: end.status, ...cost });
    if (end.status !== 'completed' && isPatched('endings')) throw endingOf(this.input.runId, end);
  }

  private show(step: number, doing: string): void {
    this.page.show(step, doing, this.turn?.turnId);
  }

  private async wait(): Promise<void> {
    this.show(this.step, 'waiting for a message');
    await this.sandbox.idle(() => this.rung || this.closing);
  }

  /** Begins the turn of the oldest message that waits, if there is one. */
  private async takeMessage(): Promise<void> {
    // Whoever rings from now on may have come too late for this look.
    this.rung = false;
    const begun = await this.beginTurn({ ...this.key, openingStep: this.step + 1 });
    if (!begun) return;
    this.step = begun.openingStep;
    this.interrupted = begun.turnId === this.toInterrupt;
    this.turn = {
      turnId: begun.turnId,
      firstStep: begun.openingStep + 1,
      leftMs: this.input.timeoutSeconds * 1_000,
      spentUsd: '0',
    };
    this.rung = true;
    this.page.holding(true);
  }

  private async beginTurn(message: Parameters<RunActivities['beginTurn']>[0]): ReturnType<RunActivities['beginTurn']> {
    const taken = isPatched('within-the-task') ? await orNull(this.quick.beginTurnQuickly(message)) : null;
    return taken ? taken.begun : this.ledger.beginTurn(message);
  }

  /** Takes a turn to its end, or to where this execution is full. */
  private async goOn(turn: CarriedTurn): Promise<void> {
    this.budget.countFrom(turn.turnId, turn);
    let end: TurnEnd | undefined;
    try {
      this.limit = new TimeLimit(turn.leftMs);
      end = await this.limit.run(() => this.steps(turn));
    } catch (error) {
      const wanted = this.interrupted || this.closing || CancellationScope.current().consideredCancelled;
      end = endOf(error, { what: 'turn', cancelled: wanted });
      if (end.status === 'cancelled' && this.interrupted) end = interruptedEnd;
    }
    // The execution that goes on with it holds it anew.
    await this.loop.end();
    if (!end) {
      Object.assign(turn, this.budget.counted, this.loop.carried);
      turn.leftMs = this.limit.leftMs;
      return;
    }
    const ended = end;
    const cost = await CancellationScope.nonCancellable(async () => {
      this.show(this.step, 'settling');
      await this.budget.settled(this.sandbox.openOperationIds);
      return this.ledger.endTurn({ ...this.key, turnId: turn.turnId, ...ended });
    });
    this.turn = undefined;
    this.page.turnEnded({ status: ended.status, ...cost, holdsMoney: this.sandbox.openOperationIds.length > 0 });
  }

  /** Undefined when the turn is to go on in another execution. */
  private async steps({ turnId, firstStep, isRepaired }: CarriedTurn): Promise<TurnEnd | undefined> {
    const lastStep = firstStep + this.input.maxSteps - 1;
    if (this.step >= firstStep) this.loop.goesOn({ turnId, ...omitUndefined({ isRepaired }) });
    while (this.step < lastStep || this.loop.isOneMoreNext) {
      if (this.mustStop()) throw new CancelledFailure('The turn was stopped.');
      // Taken even when it fails: what it wrote keeps its number.
      this.step += 1;
      const come = await this.loop.step(this.step, turnId);
      if (come !== 'goes on') return { status: 'completed', ...(come === 'answered' ? {} : stoppedByBudget) };
      if (this.isFull() && !this.loop.isOneMoreNext) return undefined;
    }
    throw failureWith(
      'run_limit_exceeded',
      `The turn made its ${this.input.maxSteps} model calls without coming to an answer. What it spent stays on record.`,
    );
  }

  private mustStop = (): boolean => this.closing || (this.turn !== undefined && this.interrupted);

  private isFull(): boolean {
    const { historyLength, historySize, continueAsNewSuggested } = workflowInfo();
    return (
      this.messages >= messagesMax ||
      historyLength >= historyEventsMax ||
      historySize >= historyBytesMax ||
      continueAsNewSuggested
    );
  }

  /**
   * Continues as new, in a task that does nothing else: what arrives during that task makes it run again, and everything it
   * did with it.
   */
  private async startAnew(): Promise<void> {
    const sandbox = this.sandbox.carry();
    await this.budget.settled(this.sandbox.openOperationIds);
    await this.ledger.nextTask();
    await condition(allHandlersFinished);
    // What came meanwhile is not handed on, so it is seen to here first.
    if (this.mustStop()) return;
    const { step, turn } = this;
    await continueAsNew<typeof conversation>({
      ...this.input,
      carried: {
        step,
        ...(turn ? { turn } : {}),
        ...(sandbox ? { sandbox } : {}),
        ...(this.rung ? { rung: true } : {}),
      },
    });
  }
}

const interruptedEnd: TurnEnd = {
  status: 'interrupted',
  failure: { code: 'turn_interrupted', message: 'The turn was interrupted. What it had spent stays on record.' },
};
