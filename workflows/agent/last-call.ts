/**
 * The last call of a run, or of a turn, that knows its money: what it costs at most is held from the start, so that there is an answer made of
 * what was found when the next step does not fit any more.
 */
import { isCancellation } from '@temporalio/workflow';
import { lastAnswerTokens, notesTokens, stepTokens } from '../../core/agent/last-call';
import { formatUsd, maxUsd, parseAmountUsd } from '../../core/money';
import type { KnownMoney, ModelCallPlan, PrepareModelCall } from '../../contracts/llm';
import type { AgentRunInput } from '../../contracts/messages';
import type { Grant, PaidStep } from '../budget/paid-step';
import type { Budget } from '../budget/with-budget';
import { isShortOfMoney } from '../failures';
import { paidModelCall, type CallSlots } from './call-slots';
import { expiryMarginSeconds, type llmActivities } from './llm-activities';

/** Of the limit at least so much is held, since the prompt grows; where more than half would be, nothing is. */
const heldShareMin = 5n;
const heldShareMax = 2n;

export interface LastCallParts {
  input: AgentRunInput;
  budget: Budget;
  llm: ReturnType<typeof llmActivities>;
  slots: CallSlots;
  show: (step: number, doing: string) => void;
}

export class LastCall {
  private held: { grant: Grant; priceVersion: string } | undefined;
  /** The run or turn that it was held for, or was not to be. */
  private of: string | undefined;
  /** Why the next step is the last call. */
  private dueTo: Error | undefined;

  constructor(private readonly parts: LastCallParts) {}

  /** Whether there is money for it. */
  get isHeld(): boolean {
    return this.held !== undefined;
  }

  /** What the model is told; undefined of a run that does not know its money. */
  known(of: string): KnownMoney | undefined {
    const { maxCostUsd, lastCall } = this.parts.input;
    if (!lastCall || maxCostUsd === undefined) return undefined;
    const heldUsd = this.held?.grant.grantedUsd;
    const leftUsd = parseAmountUsd(maxCostUsd) - parseAmountUsd(this.parts.budget.counted.spentUsd);
    return {
      of,
      limitUsd: maxCostUsd,
      leftUsd: formatUsd(maxUsd(0n, leftUsd + parseAmountUsd(heldUsd ?? '0'))),
      ...(heldUsd === undefined ? {} : { heldUsd }),
    };
  }

  /** The reply of a step; where money is wanting for it and a last call's is held, that one is made. */
  async orLast<T>(step: number, of: string, reply: () => Promise<T>): Promise<T | 'last'> {
    if (!this.parts.input.lastCall) return reply();
    await this.hold(step, of);
    try {
      if (this.dueTo) throw this.dueTo;
      return await reply();
    } catch (error) {
      if (!this.held || !isShortOfMoney(error)) throw error;
      await this.answer(step, of, error);
      return 'last';
    }
  }

  /** The next step is the last call. @throws What it is due to, where that is no want of money, or none is held. */
  isDue(error: unknown): void {
    if (!this.held || !isShortOfMoney(error)) throw error;
    this.dueTo = error as Error;
  }

  /** The run or turn is over, or goes on in another execution: what is held is given back. */
  async end(): Promise<void> {
    this.dueTo = this.of = undefined;
    await this.giveBack();
  }

  /** Holds its money, once for each run or turn. What is too small for that, or has no room for it, goes on without. */
  private async hold(step: number, of: string): Promise<void> {
    const { input, budget, show } = this.parts;
    const { maxCostUsd, maxOutputTokens, timeoutSeconds } = input;
    if (this.of === of || maxCostUsd === undefined) return;
    this.of = of;
    show(step, 'holding money for a last answer');
    const plan = await this.plan(of, { growsBy: stepTokens(maxOutputTokens) + notesTokens });
    const limitUsd = parseAmountUsd(maxCostUsd);
    const amountUsd = maxUsd(parseAmountUsd(plan.amountUsd), limitUsd / heldShareMin);
    if (amountUsd > limitUsd / heldShareMax) return;
    const { ttlSeconds, minimumUsd: _, ...asked } = paidModelCall('llm.call', step, plan);
    const grant = await budget.hold({
      ...asked,
      amountUsd: formatUsd(amountUsd),
      ttlSeconds: ttlSeconds + timeoutSeconds + expiryMarginSeconds,
    });
    if (grant) this.held = { grant, priceVersion: plan.priceVersion };
  }

  /** The last call, from the money that is held for it. @throws What it was due to, where it cannot be made. */
  private async answer(step: number, of: string, dueTo: unknown): Promise<void> {
    const { input, budget, show, llm, slots } = this.parts;
    const { tenantId, runId } = input;
    this.dueTo = undefined;
    show(step, 'making the last call');
    try {
      let plan = await this.plan(of, { step });
      if (plan.bought) {
        const { operationId, reply } = plan.bought;
        if (operationId !== undefined) budget.noteBought(operationId, reply.costUsd);
        return;
      }
      const asked = (): PaidStep => ({ ...paidModelCall('llm.call', step, plan), onDenied: 'fail' });
      const planAgain = async (): Promise<PaidStep> => {
        plan = await this.plan(of);
        return asked();
      };
      const held = await this.take(plan);
      await budget.withBudget(
        asked(),
        async ({ operationId, grantedUsd }) => {
          const summary = `${plan.model} for the last time, at most $${grantedUsd}`;
          const request = { tenantId, runId, operationId, step, plan, grantedUsd };
          const { costUsd } = await slots.in((where) =>
            llm.paid.callModel.executeWithOptions({ summary, ...where }, [request]),
          );
          budget.noteCost(operationId, costUsd);
        },
        { planAgain, held },
      );
    } catch (error) {
      throw isCancellation(error) ? error : dueTo;
    }
  }

  private plan(of: string, more: Pick<PrepareModelCall, 'step' | 'growsBy'> = {}): Promise<ModelCallPlan> {
    const { tenantId, runId, model, maxOutputTokens: most } = this.parts.input;
    const knows = this.known(of);
    const maxOutputTokens = Math.min(most, lastAnswerTokens);
    const request = { tenantId, runId, model, maxOutputTokens, isLast: true, ...(knows ? { knows } : {}), ...more };
    return this.parts.llm.free.prepareModelCall(knows ? { ...request, leftUsd: knows.leftUsd } : request);
  }

  /** What is held, for a call at these terms; given back where it was held at others, or is less. */
  private async take({ amountUsd, priceVersion }: ModelCallPlan): Promise<Grant | undefined> {
    const { grant, priceVersion: heldAt } = this.held ?? {};
    if (!grant) return undefined;
    if (heldAt !== priceVersion || parseAmountUsd(amountUsd) > parseAmountUsd(grant.grantedUsd)) {
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
