/** What-if of all that a run decided: the limits that there were give each request the answer that is on record. */
import { Replay } from '../../core/budget/what-if-result';
import { formatUsd } from '../../core/money';
import { playRecord } from '../../store/what-if';
import { ageHolds } from './days';
import type { Installation } from './installation';
import type { Hold } from './scene';

/** @returns how many answers were reproduced. */
export async function checkReproduced({ admin }: Installation, hold: Hold): Promise<number> {
  await ageHolds(admin);
  const { rows } = await admin.query<{ tenantId: string }>(
    'SELECT tenant_id AS "tenantId" FROM copilot_internal.tenants ORDER BY tenant_id',
  );
  let reproduced = 0;
  for (const { tenantId } of rows) {
    const replay = new Replay([]);
    const span = { tenantId, from: new Date(0), to: new Date(Date.now() + 60_000), tried: [] };
    const { unnumbered } = await playRecord(admin, span, replay);
    reproduced += replay.reproduced;
    hold('every recorded answer is reproduced', replay.unlike.length === 0, () =>
      replay.unlike
        .map(({ request, grantedUsd }) => {
          const texts = [request.amountUsd, request.grantedUsd, grantedUsd].map((usd) => usd && formatUsd(usd));
          return `${tenantId} ${request.operationId} asked for ${texts[0]}, got ${texts[1]}, and would get ${texts[2]}`;
        })
        .join('; '),
    );
    const unplaced = unnumbered['decided before the order was recorded'] ?? 0;
    hold('each decision has its place in the order', unplaced === 0, () => `${tenantId}: ${unplaced} have none`);
  }
  return reproduced;
}
