/** What a run that has ended holds for steps that nobody begins any more. */
import type { Coalescer } from '../../authority/client/coalescer';
import type { Pool } from '../../store/pool';
import { findUnbegun } from '../../store/reservations';
import type { RunKey } from '../../store/runs';

/**
 * Gives back what steps of an ended run were granted and did not begin: those of an execution that was reset, or whose workflow
 * is gone. A step that begins at this moment finds its hold gone and calls nobody, or keeps it. Harmless when repeated.
 */
export async function releaseUnbegun(
  { pool, coalescer }: { pool: Pool; coalescer: Coalescer },
  run: RunKey,
): Promise<void> {
  const operationIds = await findUnbegun(pool, run);
  await Promise.all(operationIds.map((operationId) => coalescer.send(run.tenantId, { type: 'release', operationId })));
}
