/** The last call of a run that knows its money. */
import type { Usd } from '../money';

/**
 * By how many tokens a step makes the prompt of a last call longer, at most as a rule: its answer, and what its tools say to that. What they
 * say beyond leaves less for the last answer.
 */
export const stepTokens = (maxOutputTokens: number): number => maxOutputTokens + 2_048;

/** Shares of the limit, in percent, that are told once they are used up. */
const toldPercents = [80, 50, 0];

/** The share, in percent, that is to be told of: of those that are used up the greatest. */
export const toldLevel = ({ limitUsd, leftUsd }: { limitUsd: Usd; leftUsd: Usd }): number | undefined =>
  toldPercents.find((percent) => (limitUsd - leftUsd) * 100n >= limitUsd * BigInt(percent));

/** What the model is told of its money, in tokens, all of it. */
export const notesTokens = 1_024;
