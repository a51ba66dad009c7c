/** Where the paid calls of models wait for a slot, and what one asks for. */
import { workflowInfo, type ActivityOptions } from '@temporalio/workflow';
import type { ModelCallPlan } from '../../contracts/llm';
import { siblingQueues } from '../../contracts/messages';
import type { PaidStep } from '../budget/paid-step';
import { wasNotTaken } from '../failures';
import { callSecondsMax, expiryMarginSeconds } from './llm-activities';

export class CallSlots {
  private queue: string;

  /** @param calls The queue of its paid calls. */
  constructor(calls: 'calls' | 'turns') {
    this.queue = siblingQueues(workflowInfo().taskQueue)[calls];
  }

  /**
   * Makes a paid call where such calls have their slots. One that nobody took up for as long as its money was held found no worker
   * there: they may all be of a version that does not know that queue, and take its next attempt from the queue of its workflow.
   */
  async in<T>(call: (where: ActivityOptions) => Promise<T>): Promise<T> {
    try {
      return await call({ taskQueue: this.queue });
    } catch (error) {
      if (wasNotTaken(error)) this.queue = workflowInfo().taskQueue;
      throw error;
    }
  }
}

export const paidModelCall = (kind: string, step: number, plan: ModelCallPlan): PaidStep => ({
  resource: 'llm',
  kind,
  amountUsd: plan.amountUsd,
  minimumUsd: plan.minimumUsd,
  priceVersion: plan.priceVersion,
  // Its context may be summed up first, in two attempts.
  ttlSeconds: callSecondsMax * (plan.compaction ? 3 : 1) + expiryMarginSeconds,
  step,
  model: plan.model,
});
