/**
 * What an installation does for its tenants again and again, in one workflow of each kind that goes on for good: round, pause,
 * round, and now and then it continues as new. A schedule starts it, and starts it again within a minute where somebody ended it;
 * while it is there the schedule has nothing to do, so the list of workflows shows one line of each kind, not one for every minute.
 *
 * A round that fails is said in the current details; the next one comes all the same.
 */
import { continueAsNew, isCancellation, setCurrentDetails, sleep, workflowInfo } from '@temporalio/workflow';
import { problemOfUpkeep } from '../../core/inputs/workflow-inputs';
import { refuseNonsense } from '../inputs';

/** What a schedule starts without anything; by hand it may be something else. */
export interface UpkeepInput {
  /** One round, whose result is the workflow's. */
  once?: boolean;
  /** A pause of another length. */
  everySeconds?: number;
  /** It continues as new after so many rounds. */
  rounds?: number;
}

/** About 2,600 events: quickly replayed by a worker that has not seen them. */
const roundsMax = 240;

/** Does rounds until it continues as new, or is cancelled. */
export async function keepUp<R extends object>(
  input: UpkeepInput | null | undefined,
  { everySeconds, round }: { everySeconds: number; round: () => Promise<R> },
): Promise<R> {
  refuseNonsense(problemOfUpkeep(input));
  if (input?.once) return round();
  const most = Math.max(1, Number(input?.rounds) || roundsMax);
  const everyMs = Math.max(1, Number(input?.everySeconds) || everySeconds) * 1_000;
  for (let rounds = 1; ; rounds += 1) {
    const startedAtMs = Date.now();
    const came = await round().then(
      (result) =>
        Object.entries(result)
          .map(([what, count]) => `${what} ${String(count)}`)
          .join(', '),
      (error: unknown) => {
        if (isCancellation(error)) throw error;
        return '**it failed**; the worker log and the activity in the history say why';
      },
    );
    const nextAtMs = Math.max(startedAtMs + everyMs, Date.now() + 1);
    setCurrentDetails(
      `Round of ${new Date(startedAtMs).toISOString()}: ${came}.\n\nThe next is at ${new Date(nextAtMs).toISOString()}.`,
    );
    await sleep(nextAtMs - Date.now(), { summary: 'until the next round' });
    if (rounds >= most || workflowInfo().continueAsNewSuggested) await continueAsNew(input ?? {});
  }
}
