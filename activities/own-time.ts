/**
 * The time that an activity has by its start-to-close timeout: first for its call, and the rest for writing what came of it. A
 * paid answer that could not be written is lost, so the call leaves room, and the writing is tried for as long as there is any.
 */
import { Context } from '@temporalio/activity';
import type { Logger } from '../telemetry/log';
import { isDatabaseAway, sqlState } from '../store/pool';

/** Kept for writing, or a third of a shorter timeout. Workflows add it to what a call may take. */
const writingSecondsMax = 300;
/** The server counts from a moment before the activity began, and what was written has to be told before its time is over. */
const tellingMs = 2_000;

const begunMs = new WeakMap<Context, number>();

function currentActivity(): Context | undefined {
  try {
    return Context.current();
  } catch {
    return undefined;
  }
}

/** The clock of the current activity runs from the first call of this. */
export function noteBeginning(activity = currentActivity()): void {
  if (activity && !begunMs.has(activity)) begunMs.set(activity, performance.now());
}

/** What is left of the current activity's time, in milliseconds; of no activity, what is usual for writing. */
function leftMs(): { forCall: number; forWriting: number } {
  const activity = currentActivity();
  const timeoutMs = activity?.info.startToCloseTimeoutMs ?? 0;
  if (!activity || timeoutMs <= 0) return { forCall: Infinity, forWriting: writingSecondsMax * 1_000 };
  noteBeginning(activity);
  const goneMs = performance.now() - (begunMs.get(activity) ?? 0);
  const writingMs = Math.min(writingSecondsMax * 1_000, timeoutMs / 3);
  return { forCall: timeoutMs - writingMs - goneMs, forWriting: timeoutMs - tellingMs - goneMs };
}

/** How long the current activity may run at most from now on, in milliseconds. Undefined where nothing says so. */
export function activityMsLeft(): number | undefined {
  const { forWriting } = leftMs();
  return currentActivity() && forWriting < Infinity ? Math.max(0, forWriting + tellingMs) : undefined;
}

/** Aborted when the current activity is cancelled, or when its call has to end so that there is time to write what came of it. */
export function callSignal(): AbortSignal {
  const { cancellationSignal } = Context.current();
  const { forCall } = leftMs();
  // Timers take no longer time than this; no activity does.
  if (forCall >= 2 ** 31) return cancellationSignal;
  return abortedAfter(Math.max(1, Math.floor(forCall)), cancellationSignal);
}

/**
 * Aborted after so many milliseconds, or with the signal. The timer holds on to what it aborts: `AbortSignal.any` alone holds on to
 * none of its sources, so that one of `AbortSignal.timeout` is collected before its time and never aborts anything (Node 20).
 */
export function abortedAfter(ms: number, signal?: AbortSignal): AbortSignal {
  const over = new AbortController();
  setTimeout(() => over.abort(new DOMException(`It took longer than ${ms} ms.`, 'TimeoutError')), ms).unref();
  return signal ? AbortSignal.any([signal, over.signal]) : over.signal;
}

/**
 * Whether what was to be written may be taken later: all but a refusal of the data, of what was asked, or by a guard. A disk that
 * fails is no reason to throw a paid answer away.
 */
export function mayPass(error: unknown): boolean {
  const state = sqlState(error);
  return isDatabaseAway(error) || (state !== undefined && !/^(0[A-Z]|2|42|P0|SL)/.test(state));
}

const pauseMsFirst = 100;
const pauseMsMax = 5_000;

/**
 * Does what has to be done in Postgres, again while Postgres is away or ill, until it is done or the activity's time is over. A
 * cancellation does not stop it: what was paid for is written first.
 */
export async function patiently<T>(work: () => Promise<T>, { log, what }: { log: Logger; what: string }): Promise<T> {
  const untilMs = performance.now() + leftMs().forWriting;
  for (let tries = 1, pauseMs = pauseMsFirst; ; tries += 1, pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    try {
      const done = await work();
      if (tries > 1) log.info({}, `${what}: done at the ${tries}th try, now that Postgres is back`);
      return done;
    } catch (error) {
      if (!mayPass(error) || performance.now() + pauseMs >= untilMs) throw error;
      if (tries === 1) log.warn({ error }, `${what}: Postgres is away, it is tried until the activity's time is over`);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
