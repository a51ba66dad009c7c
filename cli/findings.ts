/** What `npx spendlock doctor` found, one of each thing that it looks at. */
export interface Finding {
  what: string;
  state: 'ok' | 'wrong' | 'skipped';
  /** What was seen; of what is wrong also what to do. */
  says: string;
}

export const ok = (what: string, says: string): Finding => ({ what, state: 'ok', says });
export const wrong = (what: string, says: string): Finding => ({ what, state: 'wrong', says });
export const skipped = (what: string, says: string): Finding => ({ what, state: 'skipped', says });
