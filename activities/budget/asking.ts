/** What a denied step asks of people, and hears of them. */
import type { AskForMoney, Awaited } from '../../contracts/budget';
import { answerInWords, askDaysMax, requestsPerDayMax } from '../../core/budget/money-requests';
import { problemOfExpiry } from '../../core/budget/expiry';
import type { MoneyAnswerSignal } from '../../core/inputs/read-signals';
import { parseAmountUsd, type Usd } from '../../core/money';
import { askForMoney, type Asked, type AskedMoney } from '../../store/asking';
import { answerMoneyRequest } from '../../store/money-answers';
import { findMoneyRequest } from '../../store/money-requests';
import type { Pool } from '../../store/pool';
import type { Logger } from '../../telemetry/log';
import { failure } from '../failures';

interface AskingDependencies {
  pool: Pool;
  alertsRaised: (() => void) | undefined;
  log: Logger;
}

/** A step that waits, as it asks. */
type Asker = Omit<AskedMoney, 'operationId' | 'kind' | 'days' | 'amountUsd' | 'leastUsd'> & { neededUsd: Usd };

/** An answer is waited for a little longer than it may come, so that the look after it finds the time over. */
const graceMs = 100;

export function createAsking({ pool, alertsRaised, log }: AskingDependencies) {
  /** Records an answer that came by signal. Answers why it was not taken. */
  async function hear(
    { tenantId, workflowId }: Asker,
    { requestId, decidedBy = 'Temporal UI', expiresAt, ...answer }: MoneyAnswerSignal,
  ): Promise<string | undefined> {
    const problem = expiresAt === undefined ? undefined : problemOfExpiry(expiresAt, Date.now());
    if (problem !== undefined) return `expiresAt ${problem}`;
    const request = await findMoneyRequest(pool, { tenantId, requestId });
    if (request?.workflowId !== workflowId) return `it asked nothing under the id ${requestId}`;
    const until = expiresAt === undefined ? undefined : new Date(expiresAt).toISOString();
    const by = { author: decidedBy };
    const taken = await answerMoneyRequest(pool, { tenantId, requestId }, { ...answer, expiresAt: until, by });
    return taken && 'code' in taken ? taken.message : undefined;
  }

  return {
    /** Records what people answered by signal, asks them where they were not asked yet, and tells how that stands. */
    async ask(
      { neededUsd, ...asker }: Asker,
      { answers = [], amountUsd, ...asks }: AskForMoney,
    ): Promise<Omit<Awaited, 'afterMs'>> {
      const { tenantId, runId } = asker;
      const { days } = asks;
      // Of a run this was looked at as it was started; a workflow of one's own says what it likes.
      if (!(days > 0 && days <= askDaysMax))
        throw failure(
          'invalid_request',
          `askDays: must be above 0 and at most ${askDaysMax}. Nobody was asked for money, and nothing is held.`,
        );
      const problems: string[] = [];
      for (const answer of answers) {
        const problem = await hear({ neededUsd, ...asker }, answer);
        if (problem === undefined) continue;
        log.warn({ tenantId, runId, requestId: answer.requestId }, `an answer was not taken: ${problem}`);
        problems.push(problem);
      }
      const step = { amountUsd: parseAmountUsd(amountUsd), leastUsd: neededUsd };
      const asked = await askForMoney(pool, { ...asker, ...asks, ...step });
      alertsRaised?.();
      const notTaken = problems.length === 0 ? {} : { notTaken: `answerMoney: ${problems.join('; ')}` };
      return { isHeard: true, ...notTaken, ...standing(asked, asks) };
    },
  };
}

/** How what was asked stands, for the workflow. */
function standing(asked: Asked | undefined, { days }: Pick<AskForMoney, 'days'>): Omit<Awaited, 'afterMs'> {
  if (!asked) return {};
  if ('granted' in asked) return { isGranted: true };
  if ('leftMs' in asked) return { answerWithinMs: Math.max(0, asked.leftMs) + graceMs };
  const { refused } = asked;
  switch (refused) {
    case 'platform':
      return {
        refusal: `Nobody of the tenant can grant what the platform's quota lacks, and it had no room for ${days} days: the administration sets it (\`npx spendlock budget set --platform\`).`,
      };
    case 'asked_too_often':
      return { refusal: `People were asked ${requestsPerDayMax} times within a day, as often as may be.` };
    default:
      return { refusal: `People were asked for more. ${answerInWords(refused)}` };
  }
}
