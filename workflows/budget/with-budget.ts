/**
 * The one way to a paid step: reserve, act, and see the reservation ended.
 *
 *   reserve ── granted ──▶ act ── returns ──────────────────────▶ the activity wrote its outcome and told the authority
 *      │                    ├──── fails, settled ───────────────▶ surely not billed: perhaps again, newly reserved
 *      │                    ├──── fails or is lost, unsettled ──▶ commit: go on with what was bought, or it is charged as
 *      │                    │                                     unverified: perhaps again, newly reserved
 *      │                    └──── refused the claim ────────────▶ again, newly reserved
 *      ├── denied ──▶ wait a moment for what others hold, or as its policy says for as long as it takes, and ask again;
 *      │              `quota_exceeded`, with the quota that bound
 *      ├── refused by its run's limit ──▶ ask again for a moment where others hold what is missing; `run_limit_exceeded`
 *      └── cancelled ──▶ release
 *
 * Each attempt has an operation id and a reservation of its own, because each can be billed.
 */
import { CancellationScope, sleep, uuid4, workflowInfo } from '@temporalio/workflow';
import type { Resource } from '../../core/budget/commands';
import { envelopeKind } from '../../core/budget/envelopes';
import { omitUndefined } from '../../core/omit-undefined';
import { failureOf, failureWith, isCancellation, isShortOfMoney } from '../failures';
import { isPatched } from '../patches';
import { orNull } from '../within-the-task';
import { answerTo, budgetActivities, envelopeHeld, type AskedActivities } from './budget-activities';
import { OwnLimit, type Counted } from './own-limit';
import { denied, MoneyWaits } from './money-waits';
import { Patience, plannedAgain, type Denial, type Refused } from './patience';
import { envelopeStep, requestOf, type BudgetScope, type Grant, type PaidStep, type PaidStepHooks } from './paid-step';
import type { StepLine } from './step-line';

/** First and longest pause before a step is tried again, when the provider names none. */
const retryPauseMs = 1_000;
const retryPauseMsMax = 60_000;

type Answer = (Grant & { decision: 'granted' }) | Denial | Refused;

/** The paid steps of one workflow. */
export class Budget {
  /** Wraps the wait of a step for money: what else is to be put to rest meanwhile, so that the wait holds none. */
  whileWaiting: (wait: () => Promise<void>) => Promise<void> = (wait) => wait();
  /** The operations whose money stays held after their step, such as the window of a sandbox: no wait brings that back. */
  keepsOpen: () => readonly string[] = () => [];
  /** Told how far each attempt has come. */
  onStep: (line: Partial<StepLine> & { operationId: string }) => void = () => undefined;
  /** Told of each refusal, in words. */
  onDenial: (message: string) => void = () => undefined;
  /** Told of each answer to a request for money what was wrong with it; of nothing when it was taken. */
  onHeard: (problem: string | undefined) => void = () => undefined;
  /** All of a step's money was waited for in vain a while ago: the next takes what there is. */
  private takesLess = false;
  /** What its steps take their money from, where there is room. */
  private envelope: string | undefined;
  private readonly operationIds: string[] = [];
  private readonly asked: AskedActivities;
  private readonly limit: OwnLimit;
  private readonly money: MoneyWaits;

  /** @param limitId Under which `maxCostUsd` stands in the books, for as long as it is the same limit; null for none. */
  constructor(
    private readonly scope: BudgetScope,
    limitId: string | null = scope.runId ?? workflowInfo().firstExecutionRunId,
  ) {
    this.limit = new OwnLimit(scope, limitId);
    this.asked = budgetActivities(scope);
    this.money = new MoneyWaits(scope, this.asked.activities, (problem) => this.onHeard(problem));
  }

  /**
   * Runs `act` with a grant, and again with a new one when it failed in a way that may pass.
   * @throws ApplicationFailure `quota_exceeded` when the money is refused, and the failure of `act` when it is final.
   */
  async withBudget<T>(planned: PaidStep, act: (grant: Grant) => Promise<T>, hooks: PaidStepHooks = {}): Promise<T> {
    const { maxAttempts = 4, pauseMsMax = Infinity } = planned;
    let step = planned;
    let { held } = hooks;
    for (let attempt = 1, counted = 1; ; attempt += 1) {
      const grant = held ?? (await this.ask(step, attempt, hooks));
      held = undefined;
      this.limit.begin(grant.operationId);
      try {
        const result = await act(grant);
        this.noteEnd(grant);
        return result;
      } catch (error) {
        const end = await this.endAttempt(grant, error, hooks);
        this.noteEnd(grant);
        if ('bought' in end) return end.bought as T;
        const pauseMs = end.pauseMs ?? Math.min(retryPauseMs * 2 ** (attempt - 1), retryPauseMsMax);
        if (isCancellation(error) || !end.retry || pauseMs > pauseMsMax) throw error;
        if (counted >= maxAttempts && !(end.waits && isPatched('room-waited-for'))) throw error;
        // Waiting for room is no failed attempt.
        if (!end.waits) counted += 1;
        await sleep(pauseMs, { summary: `pause before attempt ${attempt + 1} of ${step.kind}` });
        step = await plannedAgain(step, hooks);
      }
    }
  }

  /**
   * Money for a step that may come: its first attempt takes it as `held`, or it is given back. Undefined where it is denied, also after a
   * moment for what others hold.
   */
  async hold(step: PaidStep): Promise<Grant | undefined> {
    try {
      const grant = await this.ask({ ...step, onDenied: 'fail-unless-held' }, 1, {});
      this.limit.keep(grant.operationId);
      return grant;
    } catch (error) {
      if (isShortOfMoney(error)) return undefined;
      throw error;
    }
  }

  /**
   * Reserves what steps to come may surely spend, of these resources: they take it in parts, and the rest is given back where all is settled.
   * After a reset it goes on with what is left of what its run holds already, beside which the same would hardly be had again.
   * @throws ApplicationFailure `quota_exceeded` when it is refused, as a step is.
   */
  async guarantee(amountUsd: string, resources: Resource[]): Promise<void> {
    const held = await envelopeHeld(this.scope, this.asked);
    if (held) {
      const { operationId, restUsd: heldUsd } = held;
      this.operationIds.push(operationId);
      this.onStep({ operationId, kind: envelopeKind, attempt: 1, state: 'holds', askedUsd: heldUsd, heldUsd });
    }
    this.envelope = (held ?? (await this.ask(envelopeStep(amountUsd, resources), 1, {}))).operationId;
  }

  /** What its steps are parts of, where there is room. */
  get envelopeId(): string | undefined {
    return this.envelope;
  }

  /** Gives back what was held and not used. Not cancellable. */
  async giveBack({ operationId }: Grant): Promise<void> {
    const { tenantId } = this.scope;
    await CancellationScope.nonCancellable(() => this.asked.activities.release({ tenantId, operationId }));
    this.limit.drop(operationId);
    this.onStep({ operationId, state: 'ended' });
  }

  /** Notes what an attempt really cost, which leaves more of `maxCostUsd` for the next. */
  noteCost(operationId: string, costUsd: string): void {
    this.limit.hold(operationId, costUsd);
    this.onStep({ operationId, costUsd });
  }

  /** Notes what was bought before, by an execution that this one goes on for: it counts, and is read back at the end. */
  noteBought(operationId: string, costUsd: string): void {
    this.operationIds.push(operationId);
    this.noteCost(operationId, costUsd);
  }

  /** What to hand on of its limit: what its steps have cost or may cost, and whether the books count that. */
  get counted(): Counted {
    return this.limit.counted;
  }

  /** Counts for the limit of `limitId` from here on, as if nothing but this had been spent. */
  countFrom(limitId: string, counted: Counted): void {
    this.limit.countFrom(limitId, counted);
  }

  /**
   * The scope of a child workflow whose cost counts for this one's limit too. It is on record from then on, so that it holds for children
   * of a parent that has not spent anything.
   */
  async scopeForChild(): Promise<Pick<BudgetScope, 'tenantId' | 'userId' | 'labels' | 'parentRunId'>> {
    const { tenantId, userId, labels } = this.scope;
    const payer = { tenantId, ...omitUndefined({ userId, labels }) };
    const runLimit = this.limit.ref;
    if (!runLimit) return payer;
    const opened = await this.asked.activities.openRunLimit({ tenantId, runLimit });
    if ('refusal' in opened) throw failureWith(opened.refusal.code, opened.refusal.message);
    return opened.isOnRecord ? { ...payer, parentRunId: runLimit.id } : payer;
  }

  /**
   * Resolves when every reservation that was asked for has ended in Postgres, but for those that stay open. Not
   * cancellable.
   */
  async settled(stayOpen: readonly string[] = []): Promise<void> {
    const { tenantId } = this.scope;
    const operationIds = this.operationIds.splice(0).filter((operationId) => !stayOpen.includes(operationId));
    this.operationIds.push(...stayOpen);
    if (operationIds.length === 0) return;
    await CancellationScope.nonCancellable(async () => {
      const left = isPatched('within-the-task')
        ? ((await orNull(this.asked.quick.settleQuickly({ tenantId, operationIds }))) ?? operationIds)
        : operationIds;
      if (left.length > 0) await this.asked.activities.confirmSettled({ tenantId, operationIds: left });
    });
  }

  /** A grant for one attempt; a step that waits asks for as long as it is denied. */
  private async ask(asked: PaidStep, attempt: number, hooks: PaidStepHooks): Promise<Grant> {
    const patience = new Patience(this.scope, asked, this.envelopeId !== undefined);
    let planned = asked;
    try {
      for (;;) {
        const prefersWhole = patience.prefersWhole && !this.takesLess;
        const { step, isWhole, refused } = this.withinOwn(planned, patience);
        const answer = refused ?? (await this.askOnce(step, attempt, { waiterId: patience.waiterId, prefersWhole }));
        if (answer.decision === 'granted') {
          this.takesLess = answer.partial && (patience.waiterId !== undefined || this.takesLess);
          return isWhole ? { ...answer, partial: step.amountUsd !== planned.amountUsd } : answer;
        }
        if (answer.decision === 'rejected') {
          if (isWhole && patience.isCutBy(answer)) continue;
          const pauseMs = patience.pauseForRunMs(answer, step, this.limit.keptUsd(this.keepsOpen()));
          if (pauseMs === undefined) throw failureWith(answer.code, answer.message);
          this.onDenial(answer.message);
          await sleep(pauseMs, { summary: "pause for what others hold of its run's limit" });
          planned = await plannedAgain(planned, hooks);
          continue;
        }
        const waiterId = patience.placeAfter(answer, step);
        if (waiterId === undefined) throw denied(answer, step);
        const wait = (): Promise<void> => this.money.wait(patience, { waiterId, prefersWhole }, answer, step);
        await (patience.isLong ? this.whileWaiting(wait) : wait());
        planned = await plannedAgain(planned, hooks);
      }
    } finally {
      if (patience.waiterId !== undefined) await this.money.end(patience.waiterId);
    }
  }

  /** What is asked for: all of a step that insists on it, and else what its run's own limit leaves room for, or why that is too little. */
  private withinOwn(planned: PaidStep, patience: Patience): { step: PaidStep; isWhole: boolean; refused?: Refused } {
    const within = this.limit.within(planned, this.keepsOpen());
    if ('decision' in within) return { step: planned, isWhole: false, refused: within };
    const whole = patience.insistsOn(planned) ? this.limit.whole(within) : undefined;
    return { step: whole ?? within, isWhole: whole !== undefined };
  }

  private async askOnce(
    step: PaidStep,
    attempt: number,
    place: { waiterId: string | undefined; prefersWhole: boolean },
  ): Promise<Answer> {
    const { tenantId } = this.scope;
    const operationId = uuid4();
    this.operationIds.push(operationId);
    // Held from now on, so that steps side by side cannot pass the limit together.
    this.limit.hold(operationId, step.amountUsd);
    this.limit.begin(operationId);
    this.onStep({ operationId, kind: step.kind, step: step.step, attempt, state: 'asks', askedUsd: step.amountUsd });
    try {
      const { envelopeId } = this;
      const request = { scope: this.scope, step, operationId, attempt, runLimit: this.limit.ref, envelopeId, ...place };
      const answer = await answerTo(requestOf(request), { ...this.asked, scope: this.scope });
      if (answer.decision !== 'granted') this.onStep({ operationId, state: answer.decision });
      if (answer.decision === 'granted') {
        // What is held ahead counts for no limit: its parts do.
        if (step.envelopeOf) this.limit.drop(operationId);
        else this.limit.granted(operationId, answer);
        this.onStep({ operationId, state: 'holds', heldUsd: answer.grantedUsd });
      } else {
        this.limit.drop(operationId);
        if (answer.decision === 'denied') this.onDenial(answer.message);
      }
      return answer;
    } catch (error) {
      this.limit.drop(operationId);
      // Whoever gives up a reserve says so, or a grant that comes too late would hold money until it expires.
      if (isCancellation(error)) {
        await CancellationScope.nonCancellable(() => this.asked.activities.release({ tenantId, operationId }));
      }
      throw error;
    }
  }

  private noteEnd({ operationId }: Grant): void {
    this.limit.end(operationId);
    this.onStep({ operationId, state: 'ended' });
  }

  /** What became of a failed attempt: what it bought after all, or whether to try again. */
  private async endAttempt(
    { operationId }: Grant,
    error: unknown,
    hooks: PaidStepHooks,
  ): Promise<{ bought: unknown } | { retry: boolean; waits?: boolean; pauseMs?: number | undefined }> {
    const known = failureOf(error);
    const { settled = false, retry = true, waits = false, retryAfterSeconds } = known?.details ?? {};
    const pauseMs = retryAfterSeconds === undefined ? undefined : retryAfterSeconds * 1000;
    if (settled) {
      this.limit.drop(operationId);
      return { retry, waits, pauseMs };
    }
    const end = await CancellationScope.nonCancellable(async () => {
      await hooks.beforeCommit?.(operationId);
      return this.asked.activities.commit({ tenantId: this.scope.tenantId, operationId });
    });
    if (end.costUsd !== undefined) this.noteCost(operationId, end.costUsd);
    // A lost activity's answer was paid for and kept, perhaps at a cost that nobody can tell: the step goes on with it.
    if (!known && end.outcome !== 'not_billed' && end.result) return { bought: end.result };
    return { retry: known ? retry && known.details !== undefined : true, pauseMs };
  }
}
