/** Forgetting: what was said and done in runs that ended long ago. Steps and costs stay in the ledger. */
import { Context } from '@temporalio/activity';
import { dayMs } from '../../core/budget/periods';
import type { Logger } from '../../telemetry/log';
import type { Pool } from '../../store/pool';
import { forgetEvents, forgetLeftovers, forgetTranscripts } from '../../store/retention';
import type { Forgotten, RetentionActivities } from '../../contracts/retention';

/** For how many days after a run's end. Undefined keeps for good. */
export interface Keep {
  transcriptsDays: number | undefined;
  eventsDays: number | undefined;
}

/** A request is repeated within minutes; its answer is kept for a day. */
const requestsDays = 1;
/** Runs of one statement: short enough to hold nobody up. */
const atOnce = 200;

export function createRetentionActivities({
  pool,
  log,
  keep,
}: {
  pool: Pool;
  log: Logger;
  keep: Keep;
}): RetentionActivities {
  /** Batch after batch, until there is nothing left that old. */
  const all = async (
    days: number | undefined,
    forget: (before: Date, max: number) => Promise<number>,
  ): Promise<number> => {
    if (days === undefined) return 0;
    const before = new Date(Date.now() - days * dayMs);
    for (let removed = 0; ;) {
      const now = await forget(before, atOnce);
      removed += now;
      Context.current().heartbeat(removed);
      if (now < atOnce) return removed;
    }
  };
  return {
    async forgetOld(): Promise<Forgotten> {
      const forgotten = {
        transcripts: await all(keep.transcriptsDays, (before, max) => forgetTranscripts(pool, before, max)),
        events: await all(keep.eventsDays, (before, max) => forgetEvents(pool, before, max)),
        requests: await all(requestsDays, (before, max) => forgetLeftovers(pool, before, max)),
      };
      for (const [type, removed] of Object.entries(forgotten))
        if (removed > 0) log.info({ type, removed }, 'forgotten');
      return forgotten;
    },
  };
}
