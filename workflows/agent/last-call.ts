/**
 * The last call of a run, or of a turn, that knows its money: what it costs at most is held from the start, so that there is an answer made of
 * what was found when the next step does not fit any more. As the prompt grows more is held, and where there is no more, that is the end.
 */
import { isCancellation, TemporalFailure } from '@temporalio/workflow';
import { notesTokens, stepTokens } from '../../core/agent/last-call';
import { formatUsd, maxUsd, parseAmountUsd, type Usd } from '../../core/money';
import type { KnownMoney, ModelCallPlan, ModelReply, PrepareModelCall } from '../../contracts/llm';
import type { AgentRunInput } from '../../contracts/messages';
import type { Grant, PaidStep } from '../budget/paid-step';
import type { Budget } from '../budget/with-budget';
import { failureOf, failureWith, isShortOfMoney } from '../failures';
import { isPatched } from '../patches';
import { misfits } from './answer-repair';
import { paidModelCall, type CallSlots } from './call-slots';
import { expiryMarginSeconds, type llmActivities } from './llm-activities';

/** So many times what a last call would cost now is held, since the prompt grows; where that is more than half of the limit, half. */
const heldTimes = 2n;
const heldShareMax = 2n;

export interface LastCallParts {
  input: AgentRunInput;
  budget: Budget;
  llm: ReturnType<typeof llmActivities>;
  slots: CallSlots;
  show: (step: number, doing: string) => void;
}

interface Held {
  grant: Grant;
  priceVersion: string;
  expiresAtMs: number;
}

export class LastCall {
  private held: Held | undefined;
  /** The run or turn that it was held for, or was not to be. */
  private of: string | undefined;
  /** Why the next step is the last call. */
  private dueTo: Error | undefined;
  /** Who answered a step of it; nobody, and there is nothing to make an answer of. */
  private answeredBy: string | undefined;

  constructor(private readonly parts: LastCallParts) {}

  /** Whether the next step is the last call. */
  get isNext(): boolean {
    return this.dueTo !== undefined;
  }

  /** What the model is told; undefined of a run that does not know its money. */
  known(of: string): KnownMoney | undefined {
    const { maxCostUsd } = this.parts.input;
    if (!this.isWanted() || maxCostUsd === undefined) return undefined;
    const leftUsd = parseAmountUsd(maxCostUsd) - parseAmountUsd(this.parts.budget.counted.spentUsd) + this.heldUsd;
    return { of, limitUsd: maxCostUsd, leftUsd: formatUsd(maxUsd(0n, leftUsd)) };
  }

  /** A step was answered by a model. */
  noteAnswer(model: string): void {
    this.answeredBy = model;
  }

  /** The reply of a step; where money is wanting for it and a last call's is held, that one is made. */
  async orLast<T>(step: number, of: string, reply: () => Promise<T>): Promise<T | 'last'> {
    if (!this.isWanted()) return reply();
    if (this.of !== of || this.isExpired()) await this.hold(step, of);
    try {
      if (this.dueTo) throw this.dueTo;
      return await reply();
    } catch (error) {
      if (!this.held || this.answeredBy === undefined || !isShortOfMoney(error)) throw error;
      await this.answer(step, of, error);
      return 'last';
    }
  }

  /**
   * What a call costs after which a last one would cost so much has to be held for it before it is made.
   * @throws ApplicationFailure `run_limit_exceeded` where there is no more to hold: the last call is due.
   */
  async holdFor(step: number, plan: ModelCallPlan, counted: () => Promise<ModelCallPlan>): Promise<void> {
    const { held } = this;
    const isEnough = ({ lastCallUsd = '0' }: ModelCallPlan): boolean => parseAmountUsd(lastCallUsd) <= this.heldUsd;
    if (!held || this.answeredBy === undefined || isEnough(plan)) return;
    const known = plan.isBound ? await counted() : plan;
    const { lastCallUsd = '0', priceVersion } = known;
    if (isEnough(known)) return;
    const more = await this.ask(step, { amountUsd: lastCallUsd, priceVersion });
    if (!more) {
      throw failureWith(
        'run_limit_exceeded',
        'After the next step there would not be money enough left for an answer.',
      );
    }
    this.held = more;
    await this.parts.budget.giveBack(held.grant);
  }

  /** The next step is the last call. @throws What it is due to, where that is no want of money, or none is held. */
  isDue(error: unknown): void {
    if (!this.held || !isShortOfMoney(error)) throw error;
    this.dueTo = error as Error;
  }

  /** The run or turn is over, or goes on in another execution: what is held is given back. */
  async end(): Promise<void> {
    this.dueTo = this.of = this.answeredBy = undefined;
    await this.giveBack();
  }

  private get heldUsd(): Usd {
    return this.held ? parseAmountUsd(this.held.grant.grantedUsd) : 0n;
  }

  private isWanted(): boolean {
    return this.parts.input.lastCall === true && isPatched('last-call');
  }

  /** A wait for a person may take days. */
  private isExpired(): boolean {
    return this.held !== undefined && Date.now() >= this.held.expiresAtMs;
  }

  /** Holds its money. What is too small for that, or has no room for it, goes on without; and so does what no call can be planned for. */
  private async hold(step: number, of: string): Promise<void> {
    const { maxOutputTokens } = this.parts.input;
    await this.giveBack();
    this.of = of;
    this.parts.show(step, 'holding money for a last answer');
    try {
      const plan = await this.plan(of, { growsBy: stepTokens(maxOutputTokens) + notesTokens });
      this.held = await this.ask(step, plan);
    } catch (error) {
      if (isCancellation(error) || !failureOf(error)) throw error;
    }
  }

  /** Twice of what a last call costs at most, or as much as there is of that; undefined where there is not even once. */
  private async ask(
    step: number,
    { amountUsd: least, priceVersion }: Pick<ModelCallPlan, 'amountUsd' | 'priceVersion'>,
  ): Promise<Held | undefined> {
    const { maxCostUsd = '0', timeoutSeconds, model: first } = this.parts.input;
    const most = parseAmountUsd(maxCostUsd) / heldShareMax;
    const leastUsd = parseAmountUsd(least);
    if (leastUsd > most) return undefined;
    const twice = leastUsd * heldTimes;
    const amountUsd = formatUsd(twice > most ? most : twice);
    const planned = { model: this.answeredBy ?? first, priceVersion, amountUsd, minimumUsd: least };
    const asked = paidModelCall('llm.call', step, { ...planned, inputTokens: 0, maxOutputTokens: 0 });
    const ttlSeconds = asked.ttlSeconds + timeoutSeconds;
    const grant = await this.parts.budget.hold({ ...asked, ttlSeconds });
    return grant && { grant, priceVersion, expiresAtMs: Date.now() + (ttlSeconds - expiryMarginSeconds) * 1_000 };
  }

  /** The last call, from the money that is held for it. @throws What it was due to, where it cannot be made or is no answer. */
  private async answer(step: number, of: string, dueTo: unknown): Promise<void> {
    const { budget, show } = this.parts;
    this.dueTo = undefined;
    show(step, 'making the last call');
    const leftUsd = formatUsd(this.heldUsd);
    try {
      let plan = await this.plan(of, { step, leftUsd });
      if (plan.bought) {
        const { operationId, reply } = plan.bought;
        if (operationId !== undefined) budget.noteBought(operationId, reply.costUsd);
        return refuseNoAnswer(reply, dueTo);
      }
      const asked = (): PaidStep => ({ ...paidModelCall('llm.call', step, plan), onDenied: 'fail' });
      const planAgain = async (): Promise<PaidStep> => {
        plan = await this.plan(of, {});
        return asked();
      };
      const held = await this.take(plan);
      const reply = await budget.withBudget(asked(), (grant) => this.call(step, plan, grant), { planAgain, held });
      refuseNoAnswer(reply, dueTo);
    } catch (error) {
      // Any other error is the code's own, and fails the task.
      const isKnown = error instanceof TemporalFailure && !isCancellation(error);
      throw isKnown && !ownEndings.includes(failureOf(error)?.code) ? dueTo : error;
    }
  }

  private async call(step: number, plan: ModelCallPlan, { operationId, grantedUsd }: Grant): Promise<ModelReply> {
    const { input, budget, llm, slots } = this.parts;
    const { tenantId, runId } = input;
    const summary = `${plan.model} for the last time, at most $${grantedUsd}`;
    const request = { tenantId, runId, operationId, step, plan, grantedUsd };
    const reply = await slots.in((where) => llm.paid.callModel.executeWithOptions({ summary, ...where }, [request]));
    budget.noteCost(operationId, reply.costUsd);
    return reply;
  }

  private plan(of: string, more: Pick<PrepareModelCall, 'step' | 'growsBy' | 'leftUsd'>): Promise<ModelCallPlan> {
    const { tenantId, runId, model: first, maxOutputTokens } = this.parts.input;
    const knows = this.known(of);
    const request = { tenantId, runId, model: this.answeredBy ?? first, maxOutputTokens, isLast: true };
    return this.parts.llm.free.prepareModelCall({ ...request, ...(knows ? { knows } : {}), ...more });
  }

  /** What is held, for a call at these terms: all of it, or in part. Given back where it was held at others, or is too little. */
  private async take({ minimumUsd, priceVersion }: ModelCallPlan): Promise<Grant | undefined> {
    const { grant, priceVersion: heldAt } = this.held ?? {};
    if (!grant) return undefined;
    if (heldAt !== priceVersion || parseAmountUsd(minimumUsd) > this.heldUsd || this.isExpired()) {
      await this.giveBack();
      return undefined;
    }
    this.held = undefined;
    return grant;
  }

  private async giveBack(): Promise<void> {
    const { grant } = this.held ?? {};
    this.held = undefined;
    if (grant) await this.parts.budget.giveBack(grant);
  }
}

/** What a last call ends in by itself, whatever made it due. */
const ownEndings: (string | undefined)[] = ['model_refused', 'answer_invalid'];

const noMoneyForRepair =
  'The budget had come to its end: it is of the last call, after which there is no money to ask for it once more. Start again with a higher limit.';

/** @throws `model_refused`, `answer_invalid`, or what the last call was due to, where nothing was said in it. */
function refuseNoAnswer({ stopReason, toolCalls, isWordless, misfit }: ModelReply, dueTo: unknown): void {
  if (stopReason === 'refusal')
    throw failureWith(
      'model_refused',
      'The model refused to answer. What it wrote before is kept, and what it cost is on record.',
    );
  if (toolCalls.length > 0 || isWordless) throw dueTo as Error;
  if (misfit !== undefined) throw misfits(noMoneyForRepair);
}
