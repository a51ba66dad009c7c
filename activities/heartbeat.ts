/** How often a long activity tells Temporal that it lives, and so how soon it hears that it is cancelled. */
import { Context } from '@temporalio/activity';
import { noteBeginning } from './own-time';

/**
 * Beats come this often at most, and so a cancellation is heard this soon at the latest; each is a request to Temporal, and an
 * action where actions are billed. Workers let none through more often than that.
 */
export const heartbeatMs = 5_000;
/** So many beats fit into a heartbeat timeout: one that comes late on a busy machine is no lost worker. */
const beatsInTimeout = 3;

/** How often an activity with this heartbeat timeout beats; one without a timeout does so to hear of its cancellation. */
export const beatEveryMs = (timeoutMs: number | undefined): number =>
  timeoutMs ? Math.min(heartbeatMs, timeoutMs / beatsInTimeout) : heartbeatMs;

/**
 * Runs `work` and heartbeats by timer meanwhile: a model may think, and a program compute, in silence. A heartbeat is
 * also how the activity learns that it was cancelled.
 */
export async function withHeartbeats<T>(work: () => Promise<T>): Promise<T> {
  const activity = Context.current();
  noteBeginning(activity);
  const timer = setInterval(() => activity.heartbeat(), beatEveryMs(activity.info.heartbeatTimeoutMs));
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
