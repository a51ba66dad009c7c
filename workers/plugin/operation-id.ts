/** The operation of an attempt: the same however often its worker asks, and another for the next attempt, since each may be billed. */
import { createHash } from 'node:crypto';

/** What tells one attempt from every other; of a workflow that was reset the run is another. */
export interface Attempt {
  namespace: string;
  workflowId: string;
  runId: string;
  activityId: string;
  /** Of an activity without a workflow. */
  activityRunId?: string | undefined;
  /** When its first attempt was scheduled: another activity may get its id once it has ended. */
  scheduledTimestampMs: number;
  attempt: number;
}

/** A UUID of version 8, made of what the attempt is. */
export function operationIdOf({ attempt, activityRunId = '', scheduledTimestampMs, ...of }: Attempt): string {
  const { namespace, workflowId, runId, activityId } = of;
  const activity = [namespace, workflowId, runId, activityId, activityRunId, scheduledTimestampMs];
  const named = JSON.stringify(['spendlock/temporal', ...activity, attempt]);
  const digits = [...createHash('sha256').update(named).digest('hex').slice(0, 32)];
  digits[12] = '8';
  digits[16] = '89ab'[parseInt(digits[16] ?? '0', 16) % 4] ?? '8';
  return digits.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
