import { Context } from '@temporalio/activity';

/**
 * Runs `work` and heartbeats by timer meanwhile: a model may think, and a program compute, in silence. A heartbeat is
 * also how the activity learns that it was cancelled.
 */
export async function withHeartbeats<T>(work: () => Promise<T>, { intervalMs = 1_000 } = {}): Promise<T> {
  const activity = Context.current();
  const timer = setInterval(() => activity.heartbeat(), intervalMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
