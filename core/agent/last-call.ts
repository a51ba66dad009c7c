/** The last call of a run that knows its money. */

/**
 * By how many tokens a step makes the prompt of a last call longer, at most as a rule: its answer, and what its tools say to that. What they
 * say beyond leaves less for the last answer.
 */
export const stepTokens = (maxOutputTokens: number): number => maxOutputTokens + 2_048;

/** What the model is told of its money, in tokens, all of it. */
export const notesTokens = 1_024;
