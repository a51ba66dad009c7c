/** How long a request waits for Temporal. A server that takes a call and says nothing is given up, not the one who asks. */
import type { Client } from '@temporalio/client';

/** Temporal answers in milliseconds. What it took and did not answer for may have happened all the same. */
const patienceMs = 10_000;

/** Carries out calls of Temporal, all tries together, within the time that a request has for it. */
export const answeredBy = <T>(temporal: Client, call: () => Promise<T>): Promise<T> =>
  temporal.withDeadline(Date.now() + patienceMs, call);
