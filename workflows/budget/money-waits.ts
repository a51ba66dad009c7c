/** The waits for money of one workflow: woken by who frees some, ended by what people answer. */
import { CancellationScope, condition, setHandler, sleep, workflowInfo } from '@temporalio/workflow';
import { answerMoneySignal, moneyFreedSignal } from '../../contracts/messages';
import { isUnreadable, readMoneyAnswer, type MoneyAnswerSignal } from '../../core/inputs/read-signals';
import { omitUndefined } from '../../core/omit-undefined';
import { quotaExceeded } from '../failures';
import type { AskedActivities } from './budget-activities';
import type { BudgetScope, PaidStep } from './paid-step';
import { moneyAsked, type Denial, type Patience } from './patience';

/** Of what people answered by signal so much goes with one look. */
const answersAtOnce = 20;

export class MoneyWaits {
  private freed = false;
  /** What people answered by signal since the last look. */
  private readonly answers: MoneyAnswerSignal[] = [];

  constructor(
    private readonly scope: BudgetScope,
    private readonly activities: AskedActivities['activities'],
    /** Told of each answer to a request for money what was wrong with it; of nothing when it was taken. */
    private readonly onHeard: (problem: string | undefined) => void,
  ) {
    setHandler(moneyFreedSignal, () => void (this.freed = true));
    setHandler(answerMoneySignal, (given: unknown) => this.hear(given));
  }

  /**
   * Waits until the authority says that there may be money, until the same request may fit, or until people answer. Holds nothing meanwhile.
   * @throws ApplicationFailure `quota_exceeded` where people were asked, and refuse or do not answer.
   */
  async wait(
    patience: Patience,
    { waiterId, prefersWhole }: { waiterId: string; prefersWhole: boolean },
    answer: Denial,
    step: PaidStep,
  ): Promise<void> {
    this.freed = false;
    if (patience.restsMs > 0) await sleep(patience.restsMs, { summary: 'pause of an envelope that was woken in vain' });
    const { workflowId } = workflowInfo();
    const answers = this.answers.splice(0, answersAtOnce);
    const asked = moneyAsked(this.scope, step, { answer, prefersWhole, answers });
    const turn = await this.activities.awaitMoney({ waiterId, workflowId, ...asked });
    // A worker of the version before heard none of them.
    if (!turn?.isHeard) this.answers.unshift(...answers);
    if (turn?.notTaken !== undefined) this.onHeard(turn.notTaken);
    if (turn?.refusal !== undefined) throw denied({ ...answer, message: `${answer.message} ${turn.refusal}` }, step);
    if (turn?.isGranted) return;
    const againMs = patience.untilAskedAgainMs(answer, step, { prefersWhole, ...turn });
    if (await condition(() => this.freed, Math.min(againMs, turn?.answerWithinMs ?? Infinity))) patience.noteWake();
  }

  /** A wait is over, or was given up. Not cancellable. */
  async end(waiterId: string): Promise<void> {
    const { tenantId, runId } = this.scope;
    const waiter = { tenantId, waiterId, ...(runId === undefined ? {} : { runId }) };
    await CancellationScope.nonCancellable(() => this.activities.endWaiting(waiter));
  }

  /** An answer that cannot be meant is refused here; whether it is to what is asked is for who records it. */
  private hear(given: unknown): void {
    const answer = readMoneyAnswer(given);
    if (!isUnreadable(answer)) this.answers.push(answer);
    this.onHeard(isUnreadable(answer) ? `answerMoney: ${answer.problem}.` : undefined);
    this.freed = true;
  }
}

/** The failure of a step that is given no money. */
export function denied({ message, quota, retryAfterSeconds, billedAs }: Denial, { resource }: PaidStep): Error {
  return quotaExceeded(message, { resource: billedAs ?? resource, quota, ...omitUndefined({ retryAfterSeconds }) });
}
