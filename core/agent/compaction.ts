/**
 * When a context is compacted, and what is kept of it word for word. A summary stands for the older messages; it ends where
 * no tool call is separated from its result.
 */

/** Compaction as a run's options have it. */
export interface CompactionOptions {
  /** Tokens that the context may have; what the model takes when absent. */
  contextTokens?: number | undefined;
  /** The share of them at which it is compacted, above 0 and at most 1. */
  atShare?: number | undefined;
}

const shareDefault = 0.7;
/** The share of the limit that the newest messages may fill and are kept as they are. */
const keptShare = 0.3;
/** The share of the limit that a summary has to stand for at least: what is long beside the messages (a file, say) stays as it is. */
const summedShareMin = 0.1;
/** What a token is in characters, roughly: for choosing where to cut, never for money. */
const charsPerToken = 4;

/** More prompt tokens than this, and the context is compacted. */
export const compactionLimit = (
  { contextTokens, atShare = shareDefault }: CompactionOptions,
  windowTokens: number,
): number => Math.floor((contextTokens ?? windowTokens) * atShare);

/** A message as far as cutting is concerned. */
export interface CuttableMessage {
  sequence: number;
  chars: number;
  /** It calls tools: what comes next answers them. */
  callsTools: boolean;
}

/**
 * The last message that a summary may stand for: the newest ones that fill less than a share of the limit stay, and at least
 * one does. Undefined when there is next to nothing before them.
 */
export function lastSummarised(messages: readonly CuttableMessage[], limitTokens: number): number | undefined {
  const keptChars = limitTokens * keptShare * charsPerToken;
  let cut: number | undefined;
  let chars = 0;
  for (let index = messages.length - 1; index > 0; index -= 1) {
    chars += messages[index]?.chars ?? 0;
    const before = messages[index - 1];
    if (!before || before.callsTools) continue;
    if (cut !== undefined && chars > keptChars) break;
    cut = before.sequence;
  }
  const summed = messages.filter(({ sequence }) => cut !== undefined && sequence <= cut);
  const summedChars = summed.reduce((sum, message) => sum + message.chars, 0);
  return summedChars >= limitTokens * summedShareMin * charsPerToken ? cut : undefined;
}
