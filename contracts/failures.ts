/** What a failed paid activity tells its workflow besides the code: types only. */

export interface AttemptFailureDetails {
  /** The outcome is written (or there was surely nothing to write): nothing is left to find out. */
  settled: boolean;
  /** Whether the same step may succeed when it is tried again, under a new reservation. */
  retry: boolean;
  /** Nothing is wrong but that there is no room now: it is tried again for as long as it takes. */
  waits?: boolean;
  /** How long the provider asked to be left alone. */
  retryAfterSeconds?: number;
}
