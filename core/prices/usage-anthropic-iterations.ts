/**
 * The requests that one call of Anthropic's API consisted of, as `usage.iterations` lists them:
 *
 *   message            a part of the totals; of another model when a model that declined came before a fallback
 *   fallback_message   the request of the fallback that answered, of the model that it names
 *   advisor_message    of the model that it names, in no total
 *   compaction         of the model that was asked, in no total
 */
import { asRecord, countsFrom } from './usage-anthropic-counts';
import { UsageError, usageOf, type ModelUsage, type OtherModelUsage, type TokenCounts } from './usage';

/**
 * Adds what the entries say to the stated totals: compactions, and what other models served. Where several models took
 * part in the answer the totals are of no use (they are those of one of them, or of all), so the entries count.
 * @throws UsageError for an entry of another kind or shape, and for totals that the entries contradict.
 */
export function withIterations(stated: ModelUsage, iterations: unknown, model: string | undefined): ModelUsage {
  if (iterations === null || iterations === undefined) return stated;
  if (!Array.isArray(iterations)) throw new UsageError('The usage cannot be billed: iterations is no list.', stated);
  const own: TokenCounts[] = [];
  const compactions: TokenCounts[] = [];
  const served: OtherModelUsage[] = [];
  const advice: OtherModelUsage[] = [];
  for (const entry of iterations as unknown[]) {
    const iteration = asRecord(entry, 'iterations');
    const { type } = iteration;
    const isOwn = type === 'compaction' || (type === 'message' && iteration.model == null);
    if (!isOwn && !isOfAnotherModel(iteration)) {
      throw new UsageError(
        `The usage cannot be billed: it has an iteration of type ${JSON.stringify(type)}, which another model may have ` +
          'served. The call is settled at its estimate until its cost is corrected.',
        stated,
      );
    }
    const counts = countsFrom(iteration, String(type));
    if (type === 'compaction') compactions.push(counts);
    else if (isOwn || isSameModel(String(iteration.model), model)) own.push(counts);
    else (type === 'advisor_message' ? advice : served).push({ model: String(iteration.model), ...counts });
  }
  const others = [...served, ...advice];
  const inside = { ...stated, compactions, ...(others.length === 0 ? {} : { otherModels: others }) };
  const parts = sumOf([...own, ...served]);
  if (served.length > 0) {
    checkTotals(stated, parts, { known: { ...inside, ...sumOf(own) }, isSum: false });
    return { ...inside, ...sumOf(own) };
  }
  if (own.length > 0) checkTotals(stated, parts, { known: inside, isSum: true });
  return inside;
}

const isOfAnotherModel = ({ type, model }: Record<string, unknown>): boolean =>
  typeof model === 'string' && ['message', 'fallback_message', 'advisor_message'].includes(String(type));

/** `claude-haiku-4-5` and `claude-haiku-4-5-20251001` are one model: an alias and the snapshot that it stands for. */
function isSameModel(served: string, asked: string | undefined): boolean {
  if (asked === undefined || served === asked) return served === asked;
  const [longer, shorter] = served.length > asked.length ? [served, asked] : [asked, served];
  return longer.startsWith(shorter) && /^-\d{8}$/.test(longer.slice(shorter.length));
}

function sumOf(all: readonly TokenCounts[]): TokenCounts {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens } = usageOf();
  const sum = { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens };
  for (const counts of all) {
    for (const kind of Object.keys(sum) as (keyof TokenCounts)[]) sum[kind] += counts[kind];
  }
  return sum;
}

/** @param isSum whether the totals are the sum of the parts; else they are of some of them, and never more. */
function checkTotals(
  stated: TokenCounts,
  parts: TokenCounts,
  { known, isSum }: { known: ModelUsage; isSum: boolean },
): void {
  const kinds: [string, (counts: TokenCounts) => number][] = [
    ['input', (counts) => counts.inputTokens],
    ['output', (counts) => counts.outputTokens],
    ['cache read', (counts) => counts.cacheReadTokens],
    ['cache write', (counts) => counts.cacheWrite5mTokens + counts.cacheWrite1hTokens],
  ];
  for (const [kind, count] of kinds) {
    const [total, sum] = [count(stated), count(parts)];
    if (isSum ? total === sum : total <= sum) continue;
    throw new UsageError(
      `The usage cannot be billed: it reports ${total} ${kind} tokens in total, and its requests add up to ${sum}. ` +
        'The call is settled at its estimate until its cost is corrected.',
      known,
    );
  }
}
