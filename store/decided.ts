/** What was decided of operations, for whoever asks again; and what may go on undecided. */
import type { ReserveAnswer, ReserveCommand } from '../core/budget/commands';
import { answerFromRecord } from '../core/budget/decision';
import { refusedAsFrozen, type Freeze } from '../core/budget/denials';
import type { Reservation } from '../core/budget/reservations';
import { freezeOf, type FrozenPayer } from './freezes';
import { asTenant, type Pool, type PoolClient } from './pool';
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

interface Unreserved {
  tenantId: string;
  command: ReserveCommand;
}

/**
 * Lets an operation go on without a grant, unless it was decided meanwhile, or its payer is frozen: then it is recorded as refused.
 * Answers what holds now.
 */
export const allowUnreserved = (pool: Pool, unreserved: Unreserved): Promise<ReserveAnswer> =>
  letThrough(pool, unreserved, freezeOf);

/** Makes the row of a call that was made already, without asking: whoever was frozen by then has spent all the same. */
export const recordMade = (pool: Pool, unreserved: Unreserved): Promise<ReserveAnswer> => letThrough(pool, unreserved);

async function letThrough(
  pool: Pool,
  { tenantId, command }: Unreserved,
  freezeOf?: (client: PoolClient, payer: FrozenPayer) => Promise<Freeze | undefined>,
): Promise<ReserveAnswer> {
  await asTenant(pool, tenantId, async (client, commitWith) => {
    const freeze = await freezeOf?.(client, { tenantId, userId: command.userId });
    const asked = freeze ? { ...command, refusal: refusedAsFrozen(freeze) } : command;
    return commitWith(
      client.query('SELECT copilot_internal.allow_unreserved($1, $2)', [tenantId, JSON.stringify(asked)]),
    );
  });
  const [reservation] = await readReservations(pool, { tenantId, operationIds: [command.operationId] });
  if (!reservation) throw new Error(`The operation ${command.operationId} could not be recorded.`);
  return answerFromRecord(reservation, command);
}
