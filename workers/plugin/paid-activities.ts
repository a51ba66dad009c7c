/**
 * What happens around each activity that costs money, on the worker that runs it: its cost is bounded, reserved and claimed, then it is
 * called, priced by its result, and committed. An attempt is an operation; a retry is another.
 */
import type { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { AttemptTime } from './attempt-time';
import { modelActivities, type ModelTerms } from './model-calls';
import type { ModelTelemetry } from './model-telemetry';
import { emptyAnswer, isEmptyAnswer, type CallMoney, type CallOutcome, type HeldMoney, type SpendScope } from './money';
import { planNamed, type PaidActivity } from './named-activities';
import { operationIdOf } from './operation-id';
import type { PlannedActivity } from './planned-call';
import { asRefused, refused } from './refused';
import type { ScopeOf } from './scopes';
import type { Settling } from './settling';

/** So many attempts before are asked after, in one question. */
const lookedBackMax = 1_000;

/**
 * Activities that are budgeted already: a worker takes its connection's plugins too, so that one may come twice, as may another copy of
 * this code. All of a process know them.
 */
const key = Symbol.for('spendlock/temporal: budgeted activities');
const budgeted = ((globalThis as { [key]?: WeakSet<Context> })[key] ??= new WeakSet());

export interface PaidActivityTerms extends ModelTerms {
  money: CallMoney;
  settling: Settling;
  telemetry: ModelTelemetry;
  /** How often a hold is prolonged while its call goes on. */
  extendEveryMs: number;
  /** Whose calls they are. */
  scopeOf: ScopeOf;
  /** Activities that cost money, by their names; null for one that costs none although it has a name that is known here. */
  activities: Readonly<Record<string, PaidActivity<unknown[], unknown> | null>>;
}

export class PaidActivities implements ActivityInboundCallsInterceptor {
  constructor(
    private readonly context: Context,
    private readonly terms: PaidActivityTerms,
  ) {}

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    if (budgeted.has(this.context)) return next(input);
    const planning = this.plan(input.args);
    if (!planning) return next(input);
    budgeted.add(this.context);
    try {
      return await this.paid(planning, input, next);
    } finally {
      budgeted.delete(this.context);
    }
  }

  private async paid(
    planning: Promise<PlannedActivity>,
    input: ActivityExecuteInput,
    next: Next<ActivityInboundCallsInterceptor, 'execute'>,
  ): Promise<unknown> {
    const { context } = this;
    const time = new AttemptTime(context);
    const found = await time.heartbeating(async () => {
      const planned = await time.said(planning).catch((error: unknown) => {
        throw asRefused(error);
      });
      if (!planned) throw unplanned();
      const scope = await this.terms.scopeOf(context, input.args);
      return (await this.boughtBefore(scope)) ?? this.holdOrBought(planned, scope);
    });
    if ('result' in found) return found.result;
    const { planned, held } = found;
    const over = time.over();
    if (over) {
      await this.settle(held, { billed: 'no' });
      throw over;
    }
    return this.call(held, { planned, time }, () => next({ ...input, args: planned.args ?? input.args }));
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
    const { namespace, activityId, activityRunId, scheduledTimestampMs } = info;
    const { workflowId = '', runId = '' } = info.workflowExecution ?? {};
    return operationIdOf({ namespace, workflowId, runId, activityId, activityRunId, scheduledTimestampMs, attempt });
  }

  /** An activity that was reset counts its attempts anew: what it bought under this number is used. */
  private async holdOrBought(
    planned: PlannedActivity,
    scope: SpendScope,
  ): Promise<{ planned: PlannedActivity; held: HeldMoney } | { result: unknown }> {
    try {
      return { planned, held: await this.hold(planned, scope) };
    } catch (error) {
      const hasEnded = error instanceof ApplicationFailure && error.type === 'claim_refused';
      const bought = hasEnded ? await this.bought([this.context.info.attempt], scope) : undefined;
      if (!bought) throw error;
      return bought;
    }
  }

  /** What an attempt before bought is used, where it is kept: its worker died before Temporal heard of it. */
  private async boughtBefore(scope: SpendScope): Promise<{ result: unknown } | undefined> {
    const last = this.context.info.attempt - 1;
    return this.bought(
      Array.from({ length: Math.min(last, lookedBackMax) }, (_, back) => last - back),
      scope,
    );
  }

  private async bought(attempts: readonly number[], scope: SpendScope): Promise<{ result: unknown } | undefined> {
    const { money } = this.terms;
    if (attempts.length === 0) return undefined;
    const operationIds = attempts.map((attempt) => this.operationOf(attempt));
    const found = await money.bought?.(operationIds, scope);
    return found && isEmptyAnswer(found.result) ? { result: null } : found;
  }

  private async call(held: HeldMoney, { planned, time }: Attempted, call: () => Promise<unknown>): Promise<unknown> {
    const { telemetry } = this.terms;
    const timer = this.prolonging(held, time);
    const startedMs = performance.now();
    try {
      const result = await call();
      const outcome = await this.priced(held, { planned, time }, result);
      telemetry.note({ planned, held, outcome, startedMs, hasFailed: false });
      await this.settle(held, outcome, (planned.kept ? planned.kept(result) : result) ?? emptyAnswer);
      return result;
    } catch (error) {
      const outcome = failed(planned, error);
      telemetry.note({ planned, held, outcome, startedMs, hasFailed: true });
      await this.settle(held, outcome);
      throw error;
    } finally {
      clearInterval(timer);
    }
  }

  /** Prolongs a hold while its attempt lasts. An activity that hangs goes on after that, and its retries hold money of their own. */
  private prolonging(held: HeldMoney, time: AttemptTime): NodeJS.Timeout {
    const { money, extendEveryMs } = this.terms;
    const { log } = this.context;
    const { operationId } = held;
    const extend = (): void => {
      if (time.isUp) return clearInterval(timer);
      void money.extend(held).catch((error: unknown) => {
        log.warn('a hold could not be held for longer', { operationId, error: String(error) });
      });
    };
    const timer = setInterval(extend, extendEveryMs).unref();
    return timer;
  }

  private settle(held: HeldMoney, outcome: CallOutcome, result?: unknown): Promise<void> {
    const { log, info } = this.context;
    return this.terms.settling.settle(held, outcome, { log, result, heartbeatTimeoutMs: info.heartbeatTimeoutMs });
  }

  /** A result is paid for, whatever its price: what cannot be priced is charged at its grant. */
  private async priced(held: HeldMoney, { planned, time }: Attempted, result: unknown): Promise<CallOutcome> {
    const { log } = this.context;
    const { operationId } = held;
    const price = async (): Promise<CallOutcome> => planned.priced(result, held);
    try {
      const outcome = (await time.said(price())) ?? unpriced;
      if (outcome.billed === 'unknown')
        log.error('what a call cost is not known', { operationId, reason: outcome.reason });
      return outcome;
    } catch (error) {
      log.error('the price of a call could not be told', { operationId, error: String(error) });
      return unpriced;
    }
  }
}

/** One attempt: what it is to cost, and how long it lasts. */
interface Attempted {
  planned: PlannedActivity;
  time: AttemptTime;
}

const unplanned = (): Error =>
  refused(
    'authority_unavailable',
    'What the activity may cost was not said in time (its estimateUsd, or the list of prices). No call was made and nothing is held. It is tried again by its retry policy.',
    { mayRetry: true },
  );

const unpriced: CallOutcome = {
  billed: 'unknown',
  knownUsd: 0n,
  reason: 'The price of the result could not be told.',
};

/** The activity fails as it did, whatever its error is made of. */
function failed(planned: PlannedActivity, error: unknown): CallOutcome {
  try {
    return planned.failed(error);
  } catch {
    return unpriced;
  }
}
