/** Calls that an execution of a run's workflow left under way as it was reset: what they cost is the run's too. */
import type { Pool } from '../../store/pool';
import { hasCallUnderWay } from '../../store/run-steps';
import type { RunKey } from '../../store/runs';
import { heartbeatMs } from '../heartbeat';

/** Their workers hear at the next heartbeat that the execution is gone, and have told the authority some seconds later. */
const waitedForMs = 2 * heartbeatMs;
const lookMs = 250;

/** Waits until none is under way any more, so that a run has cost at its end what it will have cost; not for a worker that is gone. */
export async function awaitCutCalls(pool: Pool, run: RunKey): Promise<void> {
  const untilMs = performance.now() + waitedForMs;
  while ((await hasCallUnderWay(pool, run)) && performance.now() < untilMs)
    await new Promise((resolve) => setTimeout(resolve, lookMs));
}
