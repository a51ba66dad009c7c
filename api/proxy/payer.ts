/** Who pays for a call that is passed on, and what for: its caller, with the run that it names and the labels of both. */
import type { RunLimitRef } from '../../core/budget/commands';
import { omitUndefined } from '../../core/omit-undefined';
import type { Pool } from '../../store/pool';
import { labelsOver } from '../http/labels';
import { runNamed } from '../http/run-named';
import type { ProxyCaller } from './keys';

export type CallPayer = ReturnType<typeof labelsOver> & {
  tenantId: string;
  userId?: string;
  runId?: string;
  /** Of the run, or of the turn of its conversation. */
  runLimit?: RunLimitRef;
};

/** @throws ApiError for a run that the tenant does not have, or labels that are too many together. */
export async function payerOf(pool: Pool, caller: ProxyCaller): Promise<CallPayer> {
  const { tenantId, userId, runId } = caller;
  const run = await runNamed(pool, { tenantId, runId }, 'No call was made.');
  return {
    ...{ tenantId, ...omitUndefined({ userId, runId, runLimit: run?.limit }) },
    ...labelsOver(caller.sentLabels, { inherited: [caller.labels, run?.labels], nothing: 'No call was made.' }),
  };
}
