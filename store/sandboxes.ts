/** Sandboxes as the ledger knows them: who owns one, and which windows are open. */
import type { Pool } from './pool';

/** The name under which this installation's sandboxes are found at their provider. */
export async function readInstallationId(pool: Pool): Promise<string> {
  const { rows } = await pool.query<{ id: string }>('SELECT installation_id AS id FROM copilot_internal.installation');
  const id = rows[0]?.id;
  if (id === undefined) throw new Error('The installation has no name. Run `npm run migrate`.');
  return id;
}

/** A run that owns sandboxes, with one of its windows; the window's fields are null when it has none. */
export interface SandboxOwnerRow {
  runId: string;
  tenantId: string;
  runStatus: string;
  operationId: string | null;
  kind: string | null;
  priceVersion: string | null;
  /** Since it was claimed, by Postgres' clock. */
  seconds: number | null;
  /** Claimed, and nothing is known of its end. */
  isOpen: boolean | null;
}

/** The runs of these ids with their open windows, and with those that the given operations began. */
export async function readSandboxOwners(
  pool: Pool,
  { operationIds, runIds }: { operationIds: readonly string[]; runIds: readonly string[] },
): Promise<SandboxOwnerRow[]> {
  const { rows } = await pool.query<SandboxOwnerRow>(
    `SELECT run_id AS "runId", tenant_id AS "tenantId", run_status AS "runStatus", operation_id AS "operationId", kind,
            price_version AS "priceVersion", is_open AS "isOpen",
            ceil(extract(epoch FROM clock_timestamp() - claimed_at))::float8 AS seconds
     FROM copilot_internal.sandbox_owners($1::uuid[], $2::uuid[])`,
    [operationIds, runIds],
  );
  return rows;
}

/** Sandboxes of all tenants that run and are paid for now. */
export async function countRunningSandboxes(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>('SELECT copilot_internal.count_running_sandboxes() AS count');
  return rows[0]?.count ?? 0;
}
