/** What the books have to say of other people's agents, once all has ended: by SQL of its own, and by what their provider was asked. */
import { parseUsd } from '../../core/money';
import { agentsTenant, answerUsd } from './doors';
import type { Installation } from './installation';
import type { Hold } from './scene';

interface DoorRow {
  operation_id: string;
  status: string;
  settlement: string | null;
  granted: string | null;
  ledger: string;
}

const rowsOfDoors = `
  SELECT r.operation_id::text, r.status, r.settlement, trim_scale(r.granted_usd)::text AS granted,
         trim_scale(coalesce(sum(c.amount_usd), 0))::text AS ledger
  FROM copilot_internal.reservations r LEFT JOIN copilot_internal.cost_records c USING (tenant_id, operation_id)
  WHERE r.tenant_id = $1 GROUP BY r.tenant_id, r.operation_id`;

const heldByQuotas = `
  SELECT trim_scale(coalesce(sum(reserved_usd), 0))::text AS held FROM copilot_internal.cost_quotas WHERE tenant_id = $1`;

export async function checkDoors({ admin, doors, lost }: Installation, hold: Hold): Promise<void> {
  // What Postgres lost, nobody has.
  if (!doors || lost.length > 0) return;
  const { rows } = await admin.query<DoorRow>(rowsOfDoors, [agentsTenant]);
  const { rows: quotas } = await admin.query<{ held: string }>(heldByQuotas, [agentsTenant]);
  const { billable } = doors.provider.calls();
  const about = (row: DoorRow | undefined): string => JSON.stringify(row ?? 'no row');
  const charged = rows.filter(({ ledger }) => parseUsd(ledger) > 0n);
  hold(
    'a call of another’s agent is charged',
    charged.length >= billable,
    () => `${billable} calls, ${charged.length} of ${rows.length} operations charged`,
  );
  const actual = rows.filter(({ settlement }) => settlement === 'actual');
  hold(
    'a call of another’s agent is charged once',
    actual.length <= billable,
    () => `${billable} calls, ${actual.length} charged at what they cost`,
  );
  for (const row of rows) {
    // What was told late has a line more, which corrects the first.
    const dueUsd = row.settlement === 'actual' ? answerUsd : row.settlement === 'unverified' ? row.granted : '0';
    hold('a call of another’s agent is charged once', row.ledger === dueUsd, () => about(row));
    hold('nothing is held for good', row.status !== 'granted', () => about(row));
  }
  hold('nothing is held for good', quotas[0]?.held === '0', () => `${agentsTenant}: ${quotas[0]?.held}`);
  for (const { operationId, isWhole } of doors.streams) {
    const row = rows.find(({ operation_id }) => operation_id === operationId);
    const isOnRecord = row?.settlement === 'unverified' || (isWhole ? row?.settlement === 'actual' : row !== undefined);
    hold('a stream is on record, or unverified', isOnRecord, () => `${operationId}: ${about(row)}`);
  }
}
