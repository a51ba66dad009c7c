/** What a run that has ended leaves for others: money that its steps did not begin to use, and its place in the line for money. */
import type { Coalescer } from '../../authority/client/coalescer';
import { isAwaited } from '../../store/money-waiters';
import type { Pool } from '../../store/pool';
import { findUnclaimed } from '../../store/run-steps';
import type { RunKey } from '../../store/runs';

/**
 * Gives back what steps of an ended run were granted and did not begin: those of an execution that was reset, or whose workflow
 * is gone. A step that begins at this moment finds its hold gone and calls nobody, or keeps it. Where others of the tenant wait
 * for money they are looked at again: the run may have been woken for some. Harmless when repeated.
 */
export async function releaseUnclaimed(
  { pool, coalescer }: { pool: Pool; coalescer: Coalescer },
  run: RunKey,
): Promise<void> {
  const { tenantId } = run;
  const operationIds = await findUnclaimed(pool, run);
  await Promise.all(operationIds.map((operationId) => coalescer.send(tenantId, { type: 'release', operationId })));
  if (operationIds.length === 0 && (await isAwaited(pool, tenantId)))
    await coalescer.send(tenantId, { type: 'reload' });
}
