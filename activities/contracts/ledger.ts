/** The ledger activities as workflows see them: types only. */
import type { BindingQuota, Resource } from '../../core/commands';
import type { AgentRunResult } from '../../workflows/messages';

/** Runs on the runs queue. */
export interface LedgerActivities {
  /** Ends the run in Postgres. The answer is taken from its transcript. A repeat changes nothing. */
  endRun(request: {
    tenantId: string;
    runId: string;
    status: AgentRunResult['status'];
    failure?: { code: string; message: string; resource?: Resource; quota?: BindingQuota; retryAfterSeconds?: number };
  }): Promise<void>;
}
