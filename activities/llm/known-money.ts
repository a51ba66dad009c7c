/**
 * What a model is told of the money of its run: at the beginning, when half of it and when four fifths are used up, and at its last call. Each
 * stays where it was said, so that the prompts that follow begin alike and are found in caches.
 */
import { stepTokens, toldLevel } from '../../core/agent/last-call';
import { formatUsd, parseAmountUsd } from '../../core/money';
import { estimateModelCall, type PlannedCall } from '../../core/prices/pricing';
import type { ModelPrice } from '../../core/prices/prices';
import type { KnownMoney } from '../../contracts/llm';
import { writeMoneyNote, type MoneyNote } from '../../store/money-notes';
import type { Pool } from '../../store/pool';
import type { Run, RunKey } from '../../store/runs';

/** Whether a run's model is told of its money. */
export const knowsMoney = ({ options }: Pick<Run, 'options'>): boolean => {
  const { maxCostUsd, lastCall } = (options.limits ?? {}) as { maxCostUsd?: string; lastCall?: boolean };
  return maxCostUsd !== undefined && lastCall === true;
};

/** Says what is left, once for each level of a run or turn, after the last message that there is. Answers what it said. */
export async function tellMoney(
  pool: Pool,
  key: RunKey,
  told: { knows: KnownMoney; isLast: boolean; afterSequence: number; notes: readonly MoneyNote[] },
): Promise<MoneyNote | undefined> {
  const { knows, isLast, afterSequence, notes } = told;
  const { of, limitUsd, leftUsd } = knows;
  const money = { limitUsd: parseAmountUsd(limitUsd), leftUsd: parseAmountUsd(leftUsd) };
  const level: MoneyNote['level'] | undefined = isLast ? 'last' : toldLevel(money);
  if (level === undefined || notes.some((note) => note.of === of && note.level === level)) return undefined;
  const note = { of, level, afterSequence, text: isLast ? lastWords : words(knows, level === 0) };
  await writeMoneyNote(pool, key, { ...note, limitUsd, leftUsd });
  return note;
}

const words = ({ limitUsd, leftUsd }: KnownMoney, isBegin: boolean): string =>
  isBegin
    ? `[Budget: $${shown(limitUsd)} for this. Spend it on what matters most, and answer before it is used up.]`
    : `[Budget: $${shown(leftUsd)} of $${shown(limitUsd)} is left. Come to an answer while it lasts.]`;

const lastWords =
  '[Budget: it is used up, and this is the last answer. No tool can be called any more. Answer now from what was found so far, and say what is missing.]';

/** Cents, or as much as there is of less. */
const shown = (usd: string): string => {
  const [whole = '0', fraction = ''] = usd.split('.');
  const digits = Math.max(2, fraction.search(/[1-9]/) + 2);
  return `${whole}.${fraction.padEnd(2, '0').slice(0, whole === '0' ? digits : 2)}`;
};

/** What a last call after this one may cost, whose prompt has this one's answer in it and what tools say to that. */
export function lastCallUsd(price: ModelPrice, call: PlannedCall & { maxOutputTokens: number }): string {
  const inputTokens = call.inputTokens + stepTokens(call.maxOutputTokens);
  return formatUsd(estimateModelCall(price, { ...call, inputTokens, cacheWriteTtl: undefined }));
}
