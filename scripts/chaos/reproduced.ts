/** What-if of all that a run decided: the limits that there were give each request the answer that is on record. */
import type { Difference } from '../../core/budget/what-if';
import { Replay } from '../../core/budget/what-if-result';
import { formatUsd } from '../../core/money';
import { playRecord } from '../../store/what-if';
import { dateRecord, moveIntoOneMonth } from './days';
import type { Installation } from './installation';
import type { Hold } from './scene';

/** @returns how many answers were reproduced. */
export async function checkReproduced({ admin }: Installation, hold: Hold): Promise<number> {
  const { rows } = await admin.query<{ tenantId: string }>(
    'SELECT tenant_id AS "tenantId" FROM copilot_internal.tenants ORDER BY tenant_id',
  );
  for (const { tenantId } of rows) await moveIntoOneMonth(admin, tenantId);
  await dateRecord(admin);
  let reproduced = 0;
  for (const { tenantId } of rows) {
    const replay = new Replay([]);
    const span = { tenantId, from: new Date(0), to: new Date(Date.now() + 60_000), tried: [] };
    const { unnumbered } = await playRecord(admin, span, replay);
    reproduced += replay.reproduced;
    hold('every recorded answer is reproduced', replay.unlike.length === 0, () =>
      replay.unlike.map((unlike) => `${tenantId} ${inWords(unlike)}`).join('; '),
    );
    const unplaced = unnumbered['decided before the order was recorded'] ?? 0;
    hold('each decision has its place in the order', unplaced === 0, () => `${tenantId}: ${unplaced} have none`);
  }
  return reproduced;
}

function inWords({ request, grantedUsd, quota }: Difference): string {
  const [asked, got, would] = [request.amountUsd, request.grantedUsd, grantedUsd].map((usd) => usd && formatUsd(usd));
  const by = quota
    ? `${quota.scope} ${quota.scopeId} ${quota.resourceType} of ${formatUsd(quota.limitUsd)}, ${formatUsd(quota.spentUsd)} spent, ${formatUsd(quota.reservedUsd)} held, from ${new Date(quota.periodStartMs).toISOString()}`
    : 'no limit';
  return `${request.operationId} at ${new Date(request.atMs).toISOString()} asked for ${asked}, got ${got}, and would get ${would} by ${by}`;
}
