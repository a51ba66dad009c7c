/** The retention activities as workflows see them: types only. */

/** How many were forgotten. */
export interface Forgotten {
  /** Runs and conversations whose words are gone. */
  transcripts: number;
  /** Those whose events are gone. */
  events: number;
  /** Kept answers of requests. */
  requests: number;
}

/** Runs on the budget queue. */
export interface RetentionActivities {
  /** Forgets what is older than the installation keeps it. A repeat goes on where the last one stopped. */
  forgetOld(): Promise<Forgotten>;
}
