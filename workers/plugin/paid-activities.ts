/**
 * What happens around each activity that costs money, on the worker that runs it: its cost is bounded, reserved and claimed, then it is
 * called, priced by its result, and committed. An attempt is an operation; a retry is another.
 */
import type { Context, Info } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { outcomeOfError } from './call-errors';
import { modelActivities, type ModelTerms } from './model-calls';
import type { CallMoney, CallOutcome, HeldMoney, SpendScope } from './money';
import { planNamed, type PaidActivity } from './named-activities';
import { operationIdOf } from './operation-id';
import type { PlannedActivity } from './planned-call';
import { asRefused } from './refused';
import type { Settling } from './settling';

/** So many attempts before are asked after: those between may have been lost before they began. */
const lookedBackMax = 5;

export interface PaidActivityTerms extends ModelTerms {
  money: CallMoney;
  settling: Settling;
  /** How often a hold is prolonged while its call goes on. */
  extendEveryMs: number;
  /** Whose calls they are. */
  scopeOf: (info: Info, args: unknown[]) => SpendScope;
  /** Activities that cost money, by their names; null for one that costs none although it has a name that is known here. */
  activities: Readonly<Record<string, PaidActivity<unknown[], unknown> | null>>;
}

export class PaidActivities implements ActivityInboundCallsInterceptor {
  constructor(
    private readonly context: Context,
    private readonly terms: PaidActivityTerms,
  ) {}

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const planning = this.plan(input.args);
    if (!planning) return next(input);
    const planned = await planning.catch((error: unknown) => {
      throw asRefused(error);
    });
    const scope = this.terms.scopeOf(this.context.info, input.args);
    const bought = await this.boughtBefore(scope);
    if (bought) return bought.result;
    const held = await this.hold(planned, scope);
    return this.call(held, planned, () => next({ ...input, args: planned.args ?? input.args }));
  }

  /** Undefined of an activity that costs nothing. */
  private plan(args: unknown[]): Promise<PlannedActivity> | undefined {
    const { activities, money } = this.terms;
    const { activityType: name } = this.context.info;
    const own = Object.hasOwn(activities, name) ? activities[name] : undefined;
    if (own === null) return undefined;
    if (own) return planNamed(own, { name, args });
    const planModel = Object.hasOwn(modelActivities, name) ? modelActivities[name] : undefined;
    return planModel && money.prices().then((prices) => planModel(args, prices, this.terms));
  }

  private hold(planned: PlannedActivity, scope: SpendScope): Promise<HeldMoney> {
    const { amountUsd, resource, kind, model, priceVersion } = planned;
    const operationId = this.operationOf(this.context.info.attempt);
    return this.terms.money.hold({ operationId, scope, amountUsd, resource, kind, model, priceVersion });
  }

  private operationOf(attempt: number): string {
    const { info } = this.context;
    const { namespace, activityId } = info;
    const { workflowId = '', runId = '' } = info.workflowExecution ?? {};
    return operationIdOf({ namespace, workflowId, runId, activityId, attempt });
  }

  /** What an attempt before bought is used, where it is kept: its worker died before Temporal heard of it. */
  private async boughtBefore(scope: SpendScope): Promise<{ result: unknown } | undefined> {
    const { money } = this.terms;
    if (!money.bought) return undefined;
    const last = this.context.info.attempt - 1;
    for (let attempt = last; attempt > Math.max(0, last - lookedBackMax); attempt -= 1) {
      const bought = await money.bought(this.operationOf(attempt), scope);
      if (bought) return bought;
    }
    return undefined;
  }

  private async call(held: HeldMoney, planned: PlannedActivity, call: () => Promise<unknown>): Promise<unknown> {
    const { money, settling, extendEveryMs } = this.terms;
    const { log } = this.context;
    const { operationId } = held;
    const extend = (): void =>
      void money.extend(held).catch((error: unknown) => {
        log.warn('a hold could not be held for longer', { operationId, error: String(error) });
      });
    const timer = setInterval(extend, extendEveryMs).unref();
    try {
      const result = await call();
      await settling.settle(held, await this.priced(held, planned, result), { log, result });
      return result;
    } catch (error) {
      await settling.settle(held, outcomeOfError(error), { log });
      throw error;
    } finally {
      clearInterval(timer);
    }
  }

  /** A result is paid for, whatever its price: what cannot be priced is charged at its grant. */
  private async priced(held: HeldMoney, planned: PlannedActivity, result: unknown): Promise<CallOutcome> {
    const { log } = this.context;
    const { operationId } = held;
    try {
      const outcome = await planned.priced(result, held);
      if (outcome.billed === 'unknown')
        log.error('what a call cost is not known', { operationId, reason: outcome.reason });
      return outcome;
    } catch (error) {
      log.error('the price of a call could not be told', { operationId, error: String(error) });
      return { billed: 'unknown', knownUsd: 0n, reason: 'The price of the result could not be told.' };
    }
  }
}
