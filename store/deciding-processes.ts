/**
 * Processes that may decide under mandates, as Postgres shows them: each names one of its connections by its process id and by whether
 * it decides now. So the state is nobody's to keep, and goes with the process.
 */
import { performance } from 'node:perf_hooks';
import type { ClientBase } from 'pg';
import type { Pool } from './pool';

const prefix = 'spendlock-decisions';

/** The name of a process's connections for decisions. */
export const decisionsName = (processId: number): string => `${prefix} ${processId}`;

/** Names a connection by what its process does, and measures a round trip by that. */
export async function roundTripAs(
  pool: Pool,
  { processId, state }: { processId: number; state: string },
): Promise<{ tookMs: number; waitedMs: number }> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const before = performance.eventLoopUtilization();
    const beganMs = performance.now();
    const name = `${decisionsName(processId)} ${state}`;
    await client.query(`SELECT set_config('application_name', $1, false)`, [name]);
    return { tookMs: performance.now() - beganMs, waitedMs: performance.eventLoopUtilization(before).idle };
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}

/** A process that asked for money of late. `state` is `prompt` where it decides, and else says why it signals. */
export interface DecidingProcess {
  processId: number;
  /** Of the host that it is on; absent where that is this one. */
  address: string | null;
  state: string;
}

/** Those that are connected now. A change shows within a second. */
export async function decidingProcesses(client: Pool | ClientBase): Promise<DecidingProcess[]> {
  const { rows } = await client.query<DecidingProcess>(
    `SELECT DISTINCT ON (host(client_addr), split_part(application_name, ' ', 2))
       split_part(application_name, ' ', 2)::integer AS "processId", host(client_addr) AS address,
       split_part(application_name, ' ', 3) AS state
     FROM pg_stat_activity
     WHERE datname = current_database() AND application_name ~ '^${prefix} [0-9]+ [a-z]+$'
     ORDER BY host(client_addr), split_part(application_name, ' ', 2), query_start DESC`,
  );
  return rows;
}

/** The state of this very process; undefined where it asked nobody of late, or may not decide. Others may have its id elsewhere. */
export async function ownState(client: Pool | ClientBase): Promise<string | undefined> {
  const { rows } = await client.query<Pick<DecidingProcess, 'state'>>(
    `SELECT split_part(application_name, ' ', 3) AS state FROM pg_stat_activity
     WHERE datname = current_database() AND client_addr IS NOT DISTINCT FROM inet_client_addr()
       AND application_name ~ ('^' || $1 || ' [a-z]+$')
     ORDER BY query_start DESC LIMIT 1`,
    [decisionsName(process.pid)],
  );
  return rows[0]?.state;
}
