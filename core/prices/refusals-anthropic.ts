/**
 * What Anthropic bills of a refusal. One that comes after the beginning of an answer is billed as any answer. Of one before any output
 * the usage is reported and, by its category, billed or not ("How refusals are billed" in its documentation, as of 2026-09-24).
 */

/** Categories of `stop_details` whose refusals before any output are not billed; `null` is a refusal of no named category. */
const notBilled: readonly (string | null)[] = [null, 'cyber', 'general_harms'];
/** Those whose are. */
const billed: readonly (string | null)[] = ['bio', 'frontier_llm', 'reasoning_extraction'];

/** Whether a refusal before any output is billed. A category that came later, or none that is told, is not known. */
export function billingOfRefusal(category: string | null | undefined): 'billed' | 'not_billed' | 'unknown' {
  if (category === undefined) return 'unknown';
  if (notBilled.includes(category)) return 'not_billed';
  return billed.includes(category) ? 'billed' : 'unknown';
}
