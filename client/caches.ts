/** What caches of prompts came to, in words that people are shown: writing to them may have cost more than reading has saved yet. */
export const ofCaches = (savedUsd: string): { usd: string; words: string } =>
  savedUsd.startsWith('-')
    ? { usd: savedUsd.slice(1), words: 'spent on caches so far' }
    : { usd: savedUsd, words: 'saved by caches' };
