/** What the books have to say of other people's agents, once all has ended: by SQL of its own, and by what their provider was asked. */
import { parseUsd } from '../../core/money';
import { agentsTenant, answerUsd, type DoorBill } from './doors';
import type { Installation } from './installation';
import type { Hold } from './scene';

interface DoorRow {
  operation_id: string;
  status: string;
  settlement: string | null;
  granted: string | null;
  ledger: string;
  mark: string | null;
  decided_ms: number;
  ended_ms: number;
}

const rowsOfDoors = `
  SELECT r.operation_id::text, r.status, r.settlement, trim_scale(r.granted_usd)::text AS granted, r.user_id AS mark,
         (extract(epoch FROM r.decided_at) * 1000)::double precision AS decided_ms,
         (extract(epoch FROM coalesce(r.ended_at, r.decided_at)) * 1000)::double precision AS ended_ms,
         trim_scale(coalesce(sum(c.amount_usd), 0))::text AS ledger
  FROM copilot_internal.reservations r LEFT JOIN copilot_internal.cost_records c USING (tenant_id, operation_id)
  WHERE r.tenant_id = $1 GROUP BY r.tenant_id, r.operation_id`;

const heldByQuotas = `
  SELECT trim_scale(coalesce(sum(reserved_usd), 0))::text AS held FROM copilot_internal.cost_quotas WHERE tenant_id = $1`;

/** What was said to a call of another's agent may be lost so long after it was billed: until its hold has run out and is settled. */
const settledMs = 60_000;

/** @returns how many rows, marks and streams say nothing, since what Postgres had of them may be lost. */
export async function checkDoors(installation: Installation, hold: Hold): Promise<number> {
  const { admin, doors } = installation;
  if (!doors) return 0;
  const { rows } = await admin.query<DoorRow>(rowsOfDoors, [agentsTenant]);
  const { rows: quotas } = await admin.query<{ held: string }>(heldByQuotas, [agentsTenant]);
  let leftOut = 0;
  const isLost = (fromMs: number, toMs: number): boolean => {
    const found = installation.lostBetween(fromMs, toMs);
    leftOut += found ? 1 : 0;
    return found;
  };
  hold('nothing is held for good', quotas[0]?.held === '0', () => `${agentsTenant}: ${quotas[0]?.held}`);
  for (const row of rows) {
    hold('nothing is held for good', row.status !== 'granted', () => about(row));
    if (isLost(row.decided_ms, row.ended_ms)) continue;
    // What was told late has a line more, which corrects the first.
    const dueUsd = row.settlement === 'actual' ? answerUsd : row.settlement === 'unverified' ? row.granted : '0';
    hold('a call of another’s agent is charged once', row.ledger === dueUsd, () => about(row));
  }
  for (const [mark, bill] of doors.bills)
    if (!isLost(bill.askedMs, bill.billedMs + settledMs)) checkBill(hold, { mark, bill, rows });
  for (const row of rows)
    hold(
      'a call of another’s agent is charged once',
      doors.bills.has(row.mark ?? ''),
      () => `nobody asked: ${about(row)}`,
    );
  for (const { operationId, mark, isWhole } of doors.streams) {
    const { askedMs, billedMs } = doors.bills.get(mark) ?? { askedMs: 0, billedMs: 0 };
    if (isLost(askedMs, billedMs + settledMs)) continue;
    const row = rows.find(({ operation_id }) => operation_id === operationId);
    // Its head came: it was claimed, and whatever became of it, it is charged.
    const isOnRecord = row?.mark === mark && ['actual', 'unverified'].includes(row.settlement ?? '');
    const what = (): string => `${operationId}, ${isWhole ? 'whole' : 'cut'}: ${about(row)}`;
    hold('a stream is on record, or unverified', isOnRecord, what);
  }
  return leftOut;
}

/** Processes that ended by themselves, those of other people among them. */
export const unexpectedEnds = ({ processes, doors }: Installation): string[] => [
  ...processes.unexpectedEnds,
  ...(doors?.unexpectedEnds ?? []),
];

const about = (row: DoorRow | undefined): string => JSON.stringify(row ?? 'no row');

/** What was billed of one prompt, and repeated by its agent, has as many operations that are charged. */
function checkBill(
  hold: Hold,
  { mark, bill: { calls }, rows }: { mark: string; bill: DoorBill; rows: readonly DoorRow[] },
): void {
  const own = rows.filter((row) => row.mark === mark);
  const charged = own.filter(({ ledger }) => parseUsd(ledger) > 0n);
  const actual = own.filter(({ settlement }) => settlement === 'actual');
  const what = (): string => `${mark}: ${calls} calls, on record ${own.map(about).join(', ')}`;
  hold('a call of another’s agent is charged', charged.length >= calls, what);
  hold('a call of another’s agent is charged once', actual.length <= calls, what);
}
