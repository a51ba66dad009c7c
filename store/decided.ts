/** What was decided of operations, for whoever asks again; and what may go on undecided. */
import type { ReserveAnswer, ReserveCommand } from '../core/budget/commands';
import { answerFromRecord } from '../core/budget/decision';
import type { Reservation } from '../core/budget/reservations';
import { asTenant, type Pool } from './pool';
import { reservationFrom, type ReservationJson } from './reservation-rows';

/** Reservations as they are recorded, for answering who asks again. */
export async function readReservations(
  pool: Pool,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<Reservation[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ reservation: ReservationJson }>(
      `SELECT copilot_internal.reservation_as_json(r) AS reservation FROM copilot_internal.reservations r
       WHERE r.tenant_id = $1 AND r.operation_id = ANY ($2::uuid[])`,
      [tenantId, operationIds],
    );
    return rows.map((row) => reservationFrom(row.reservation));
  });
}

/** Lets an operation go on without a grant, unless it was decided meanwhile; answers what holds now. */
export async function allowUnreserved(
  pool: Pool,
  { tenantId, command }: { tenantId: string; command: ReserveCommand },
): Promise<ReserveAnswer> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(client.query('SELECT copilot_internal.allow_unreserved($1, $2)', [tenantId, JSON.stringify(command)])),
  );
  const [reservation] = await readReservations(pool, { tenantId, operationIds: [command.operationId] });
  if (!reservation) throw new Error(`The operation ${command.operationId} could not be recorded.`);
  return answerFromRecord(reservation, command);
}
