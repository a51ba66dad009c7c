/** What each pair of the authority benchmark reserves and commits. */
export const amountUsd = '0.01';
export const costUsd = '0.008';
