/**
 * What a task and a turn of a conversation have in common: one step is a model call, and the tools that it calls for. Words
 * and files stay in Postgres; a history holds ids, usage and money.
 *
 *   plan ── bought already (late, or before a reset) ──▶ gone on with
 *    └──▶ hold the money ── context too large ──▶ compact (a paid step of its own; when it fails or is denied the step goes on without)
 *            └──▶ call the model ── its provider cannot answer ──▶ the next model, at its own price
 *                    └──▶ answered, or: ask people ──▶ run tools ──▶ the next step
 */
import { workflowInfo } from '@temporalio/workflow';
import type { BoughtReply, ModelCallPlan, ModelReply, PrepareModelCall, ToolCall } from '../../contracts/llm';
import { cutOffMessage } from '../../core/budget/denials';
import type { ErrorCode } from '../../core/errors';
import { formatUsd, maxUsd, parseAmountUsd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import type { ApprovalDesk } from './approvals';
import { failureOf, failureWith, isCancellation, quotaExceeded } from '../failures';
import type { AgentRunInput, CarriedTurn } from '../../contracts/messages';
import { isPatched } from '../patches';
import { orNull } from '../within-the-task';
import { AnswerRepair } from './answer-repair';
import { CallSlots, paidModelCall } from './call-slots';
import { llmActivities } from './llm-activities';
import { LastCall } from './last-call';
import type { SandboxSession } from './sandbox-session';
import type { TimeLimit } from './time-limit';
import { runTools } from './tools';
import type { PaidStep } from '../budget/paid-step';
import type { Budget } from '../budget/with-budget';

/** A model that has others behind it gets fewer attempts, and is not waited for. */
const withFallback = { maxAttempts: 2, pauseMsMax: 30_000 };
/** After a compaction that came to nothing, so many steps go on without trying again. */
const compactionRest = 5;

/** Another model may do where these stood in the way. */
const fallsBack: readonly ErrorCode[] = ['provider_unavailable', 'provider_credentials', 'outcome_unknown'];

export interface AgentLoopParts {
  input: AgentRunInput;
  budget: Budget;
  sandbox: SandboxSession;
  desk: ApprovalDesk;
  limit: Pick<TimeLimit, 'standStill'>;
  show: (step: number, doing: string) => void;
  /** The queue of its paid calls. */
  calls: 'calls' | 'turns';
}

/** How a run or a turn ends that answered with what it had. */
export const stoppedByBudget = { stoppedBy: 'budget' } as const;

/** Why an answer is not whole: for want of tokens, or of money of a quota or of its run. */
const cutOff = ({ cutBy }: Pick<ModelReply, 'cutBy'>): Error =>
  cutBy
    ? quotaExceeded(cutOffMessage(cutBy.quota, cutBy.grantedUsd), { resource: 'llm', quota: cutBy.quota })
    : failureWith(
        'run_limit_exceeded',
        'The answer was cut off: it needed more output tokens than its limit or its budget allowed.',
      );

type StepReply = ModelReply & Pick<BoughtReply, 'toolsAnswered'> & { isCutByBudget?: boolean };

export class AgentLoop {
  private readonly llm = llmActivities(workflowInfo().taskQueue);
  private readonly slots: CallSlots;
  private compactFromStep = 0;
  private readonly lastCall: LastCall;
  private readonly repair: AnswerRepair;

  constructor(private readonly parts: AgentLoopParts) {
    this.slots = new CallSlots(parts.calls);
    this.repair = new AnswerRepair(parts.input);
    this.lastCall = new LastCall({ ...parts, llm: this.llm, slots: this.slots });
  }

  /**
   * One model call and what it calls for.
   * @throws ApplicationFailure a denial, `run_limit_exceeded` when the answer was cut off, `model_refused` when the model refused,
   * `answer_invalid` when its answer is none again, or does not fit again, or the failure of a call.
   */
  async step(step: number, turnId?: string): Promise<'answered' | 'goes on' | 'stopped by budget'> {
    const of = turnId ?? 'run';
    this.repair.begin(of);
    const reply = await this.lastCall.orLast(step, of, () => this.reply(step, of));
    if (reply === 'last') return 'stopped by budget';
    const isAskedAgain = this.repair.isAsked(reply);
    if (reply.toolsAnswered) return 'goes on';
    if (reply.stopReason === 'refusal' && isPatched('refusals')) {
      throw failureWith(
        'model_refused',
        'The model refused to answer. What it wrote before is kept, no tool was run for it, and what it cost is on record.',
      );
    }
    if (reply.toolCalls.length === 0) {
      if (reply.stopReason !== 'max_tokens') return isAskedAgain ? 'goes on' : 'answered';
      if (!reply.isCutByBudget) throw cutOff(reply);
      this.lastCall.isDue(cutOff(reply));
      return 'goes on';
    }
    const { desk, sandbox, limit, show } = this.parts;
    const asked = desk.needed(reply.toolCalls);
    let calls: readonly ToolCall[] = reply.toolCalls;
    if (asked.length > 0) {
      show(step, `waiting for a person: ${asked.map(({ name }) => name).join(', ')}`);
      await limit.standStill(() =>
        desk.ask({ step, turnId, calls: asked }, (isOver, seconds) => sandbox.idle(isOver, seconds)),
      );
      if (isPatched('refused-tools')) {
        const refused = await desk.refused(step);
        calls = calls.filter(({ toolUseId }) => !refused.has(toolUseId));
      }
    }
    show(step, 'running code');
    try {
      await runTools(this.parts, step, calls);
    } catch (error) {
      this.lastCall.isDue(error);
    }
    return 'goes on';
  }

  /** Steps of its run or turn were taken by the execution before. */
  goesOn({ turnId, isRepaired }: Pick<CarriedTurn, 'turnId' | 'isRepaired'>): void {
    this.lastCall.noteAnswer(this.parts.input.model);
    this.repair.goesOn(turnId, isRepaired === true);
  }

  /** What of its turn the next execution has to know. */
  get carried(): Pick<CarriedTurn, 'isRepaired'> {
    return this.repair.isUsed ? { isRepaired: true } : {};
  }

  /** Whether one more step is to come, however many there were. */
  get isOneMoreNext(): boolean {
    return this.isLastNext || this.repair.isNext;
  }

  /** Whether the next step is the last call. */
  get isLastNext(): boolean {
    return this.lastCall.isNext;
  }

  /** Gives back what is held for a last call: the run or the turn is over, or goes on in another execution. */
  end(): Promise<void> {
    return this.lastCall.end();
  }

  private async reply(step: number, of?: string): Promise<StepReply> {
    const { model, fallbackModels = [] } = this.parts.input;
    const models = [model, ...fallbackModels];
    for (const [index, name] of models.entries()) {
      const isLast = index === models.length - 1;
      try {
        return await this.askModel(step, { model: name, of }, isLast ? {} : withFallback);
      } catch (error) {
        const known = failureOf(error);
        if (isLast || !known || !fallsBack.includes(known.code)) throw error;
      }
    }
    throw failureWith('internal', 'There was no model to call.');
  }

  private async askModel(
    step: number,
    { model, of }: { model: string; of: string | undefined },
    limits: Partial<PaidStep>,
  ): Promise<StepReply> {
    const { input, budget, show } = this.parts;
    const { tenantId, runId } = input;
    let plan = await this.plan(step, model, of);
    if (plan.bought) {
      const { operationId, reply, toolsAnswered = false } = plan.bought;
      if (operationId !== undefined) budget.noteBought(operationId, reply.costUsd);
      return { ...reply, toolsAnswered };
    }
    const counted = () => this.llm.free.prepareModelCall({ ...this.request(model, of), count: true });
    if (!plan.compaction) await this.lastCall.holdFor(step, plan, counted);
    const asked = (): PaidStep => ({ ...paidModelCall('llm.call', step, plan), ...limits });
    const planAgain = async (): Promise<PaidStep> => {
      const { compaction, inputTokens, isBound } = plan;
      // What a bound could not pay for, a count may.
      const known = isBound ? ({ count: true } as const) : { inputTokens };
      const priced = await this.llm.free.prepareModelCall({ ...this.request(model), ...known });
      plan = { ...priced, ...(compaction ? { compaction } : {}) };
      return asked();
    };
    show(step, 'calling the model');
    return budget.withBudget<StepReply>(
      asked(),
      async ({ operationId, grantedUsd, partial }) => {
        if (plan.compaction) plan = await this.compacted(step, plan, plan.compaction);
        const summary = `${plan.model}, at most $${grantedUsd}`;
        const request = { tenantId, runId, operationId, step, plan, grantedUsd, ...this.repair.asked };
        const answered = await this.slots.in((where) =>
          this.llm.paid.callModel.executeWithOptions({ summary, ...where }, [request]),
        );
        budget.noteCost(operationId, answered.costUsd);
        this.lastCall.noteAnswer(model);
        return { ...answered, isCutByBudget: partial };
      },
      { planAgain },
    );
  }

  private request(model: string, of?: string): PrepareModelCall {
    const { input, budget } = this.parts;
    const { tenantId, runId, maxOutputTokens, maxCostUsd } = input;
    const { envelopeId } = budget;
    const request = { tenantId, runId, model, maxOutputTokens, ...omitUndefined({ envelopeId }) };
    if (maxCostUsd === undefined) return request;
    const leftUsd = maxUsd(0n, parseAmountUsd(maxCostUsd) - parseAmountUsd(budget.counted.spentUsd));
    const knows = of === undefined ? undefined : this.lastCall.known(of);
    return { ...request, leftUsd: formatUsd(leftUsd), ...(knows ? { knows } : {}) };
  }

  private async plan(step: number, model: string, of: string | undefined): Promise<ModelCallPlan> {
    const { input, show } = this.parts;
    show(step, 'preparing a model call');
    const request = { ...this.request(model, of), step };
    const compact = input.compact === true && step >= this.compactFromStep;
    const asked = { ...request, ...(compact ? { compact } : {}) };
    const quick = isPatched('within-the-task') ? await orNull(this.llm.quick.prepareQuickly(asked)) : null;
    const plan = quick ?? (await this.llm.free.prepareModelCall(asked));
    if (!plan.compaction || isPatched('held-before-compacted')) return plan;
    await this.compact(step, model, plan.compaction, { maxAttempts: 2 });
    return this.llm.free.prepareModelCall(request);
  }

  /**
   * The call as it is after older messages were summed up, with the money that is held for the step: what the summary costs comes
   * on top, all of it or none, so that it never takes what the answer needs.
   */
  private async compacted(
    step: number,
    { compaction: _, ...plan }: ModelCallPlan,
    through: { throughSequence: number },
  ): Promise<ModelCallPlan> {
    const { show } = this.parts;
    const isSummedUp = await this.compact(step, plan.model, through, {
      maxAttempts: 2,
      onDenied: 'fail',
      isWhole: true,
    });
    show(step, 'calling the model');
    if (!isSummedUp) return plan;
    const { inputTokens } = await this.llm.free.prepareModelCall({ ...this.request(plan.model), count: true });
    return { ...plan, inputTokens };
  }

  /** Sums older messages up. One that cannot be paid, or fails, leaves the context as it is. Answers whether it was made. */
  private async compact(
    step: number,
    model: string,
    { throughSequence }: { throughSequence: number },
    { isWhole = false, ...limits }: Partial<PaidStep> & { isWhole?: boolean },
  ): Promise<boolean> {
    const { input, budget, show } = this.parts;
    const { tenantId, runId } = input;
    show(step, 'summing up older messages');
    this.compactFromStep = step + compactionRest;
    try {
      const request = { tenantId, runId, model, throughSequence };
      let plan = await this.llm.free.prepareCompaction(request);
      const asked = (): PaidStep => {
        const { minimumUsd, ...whole } = { ...paidModelCall('compaction', step, plan), ...limits };
        return isWhole || minimumUsd === undefined ? whole : { ...whole, minimumUsd };
      };
      const planAgain = async (): Promise<PaidStep> => {
        plan = await this.llm.free.prepareCompaction({ ...request, inputTokens: plan.inputTokens });
        return asked();
      };
      await budget.withBudget(
        asked(),
        async ({ operationId, grantedUsd }) => {
          const summary = `${plan.model} sums up, at most $${grantedUsd}`;
          const request = { tenantId, runId, operationId, throughSequence, plan, grantedUsd };
          const { costUsd } = await this.slots.in((where) =>
            this.llm.paid.compactContext.executeWithOptions({ summary, ...where }, [request]),
          );
          budget.noteCost(operationId, costUsd);
        },
        { planAgain },
      );
      return true;
    } catch (error) {
      if (isCancellation(error)) throw error;
      return false;
    }
  }
}
