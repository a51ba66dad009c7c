/**
 * Direct decisions of a process with what they are taken by: connections that are theirs alone, beside what `pool` has, so that whoever
 * waits for a tenant's lock keeps none from others; its pace, which Postgres shows as the name of a connection; and the signals by
 * which an authority hears what was left for it.
 */
import type { Enforced } from '../../core/budget/commands';
import { decideUnderMandate } from '../../store/budget-batch';
import { decisionsName, roundTripAs } from '../../store/deciding-processes';
import { createPool, type Pool } from '../../store/pool';
import { measureWay } from '../../telemetry/metrics';
import type { Logger } from '../../telemetry/log';
import { processClock } from './clock';
import type { Coalescer } from './coalescer';
import { commandsMax, DirectDecisions } from './direct-decisions';
import { Promptness } from './promptness';

/** Tenants that are decided for at once. */
const connectionsMax = 4;
/** Of what is due of the tenant that much is settled beside them: no less than comes of as many calls as a decision takes. */
const dueMax = commandsMax;
/** Postgres ends the transaction of a process that stands still after this long: nobody waits longer for it. */
const decidingMs = 1_000;
/** Who waits longer for a lock goes by signal. By the time that its authority decides, who stands still holds it no more. */
const lockMs = 500;
/** Nobody waits longer than that for a connection: signals take no longer. */
const readyMs = 500;

export function directDecisions({
  pool: { options },
  enforced,
  coalescer,
  log,
}: {
  pool: Pool;
  enforced: Enforced;
  coalescer: Coalescer;
  log: Logger;
}): { direct: DirectDecisions; close: () => Promise<void> } {
  const pool = createPool(options.connectionString ?? '', {
    ...{ application_name: decisionsName(process.pid), max: connectionsMax },
    idleTimeoutMillis: 60_000,
  });
  const promptness = new Promptness({
    clock: processClock,
    async measure(pace) {
      const trip = await roundTripAs(pool, { processId: process.pid, state: pace });
      measureWay(trip.tookMs / 1_000);
      return trip;
    },
    changed: (pace, wayMs) =>
      log.warn(
        { state: pace, ...(wayMs === undefined ? {} : { seconds: Math.round(wayMs) / 1_000 }) },
        pace === 'prompt'
          ? 'this process decides under mandates again'
          : pace === 'far'
            ? 'this process signals instead of deciding under mandates: its way to Postgres takes more than 5 ms'
            : 'this process signals instead of deciding under mandates for some seconds: its event loop stood still',
      ),
  });
  const direct = new DirectDecisions({
    log,
    pace: () => promptness.ask(),
    decide: (tenantId, commands) =>
      decideUnderMandate(pool, { tenantId, commands, enforced, timeoutMs: decidingMs, lockMs, readyMs, dueMax }),
    leave(tenantId, when) {
      const told = when === 'now' ? coalescer.send(tenantId, { type: 'reload' }) : coalescer.nudge(tenantId);
      told.catch((error: unknown) =>
        log.warn({ tenantId, error }, 'an authority could not be told what is left to do'),
      );
    },
  });
  const close = async (): Promise<void> => {
    promptness.close();
    direct.close();
    await pool.end();
  };
  return { direct, close };
}
