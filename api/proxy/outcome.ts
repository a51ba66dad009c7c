/** What a call that was passed on means for money, by what its provider answered or did not. */
import { callFailure, type ErrorFacts } from '../../core/prices/call-failures';
import { doubts } from '../../core/prices/doubts';
import { priceCall } from '../../core/prices/price-call';
import type { ModelPrice } from '../../core/prices/prices';
import type { ModelUsage } from '../../core/prices/usage';
import type { ModelAccount } from '../../temporal/model-accounts';
import type { EndedModelCall } from '../../telemetry/gen-ai';
import type { CallOutcome } from './money';
import type { AnswerRead, CallWire } from './wire';

type Counted = EndedModelCall['outcome'];

export interface PricedAnswer {
  outcome: CallOutcome;
  /** For metrics. */
  counted: Counted;
  usage?: ModelUsage | undefined;
}

/** Nothing reached the model. */
export const notSent: PricedAnswer = { outcome: { billed: 'no' }, counted: 'not_billed' };

/** Refused before any output is not billed; what may have reached the model is charged at its estimate until its cost is known. */
export function failedCall(facts: ErrorFacts, { outputBegan }: { outputBegan: boolean }): PricedAnswer {
  const { billed, message } = callFailure(facts, { outputBegan, nowMs: Date.now() });
  return billed === 'no'
    ? notSent
    : { outcome: { billed: 'unknown', knownUsd: 0n, reason: message }, counted: 'unknown' };
}

/** An answer that was accepted, however far it came. */
export function answeredCall(
  read: AnswerRead,
  answered: { call: CallWire; price: ModelPrice; prices: readonly ModelPrice[]; account: ModelAccount },
): PricedAnswer {
  const { errorType, outputBegan } = read;
  const { call, price, prices, account } = answered;
  if (read.unread !== undefined) return withReport(failedCall({ kind: 'other' }, { outputBegan: true }), read);
  if (!read.usageIsFinal) {
    const status = undefined;
    const facts: ErrorFacts = errorType === undefined ? { kind: 'other' } : { kind: 'status', status, type: errorType };
    return withReport(failedCall(facts, { outputBegan }), read);
  }
  const priced =
    read.usage === undefined
      ? { isPriced: false as const, reason: doubts.noReport, knownUsd: 0n, usage: undefined }
      : priceCall(() => call.usageOf(read, price, account), { price, prices, at: Date.now() });
  const { usage } = priced;
  if (priced.isPriced) return { outcome: { billed: 'known', costUsd: priced.costUsd, usage }, counted: 'ok', usage };
  const { reason, knownUsd } = priced;
  return withReport({ outcome: { billed: 'unknown', knownUsd, usage, reason }, counted: 'unpriced', usage }, read);
}

/** What was reported stays on record, for whoever looks its cost up. */
function withReport(answer: PricedAnswer, { usage: reported }: AnswerRead): PricedAnswer {
  const { outcome } = answer;
  if (outcome.billed !== 'unknown' || reported === undefined) return answer;
  return { ...answer, outcome: { ...outcome, usage: { ...(outcome.usage as object | undefined), reported } } };
}
