/** Tools of a tenant's own. A credential is sealed before it comes here, and leaves only with what calls the tool. */
import type { RegisteredTool, ShownTool } from '../core/agent/own-tools';
import { change } from './change';
import type { Operator } from './operator';
import { asTenant, type Pool, type PoolClient } from './pool';
import { appendRunEvent, type RunKey } from './runs';

export interface SealedCredential {
  header: string;
  sealed: string;
}

/** A tool as it is registered, with when that was and which header it is called with. */
export interface StoredTool extends RegisteredTool {
  credentialHeader: string | undefined;
  createdAt: Date;
  updatedAt: Date;
}

interface ToolRow extends Omit<StoredTool, 'shown' | 'priceUsd' | 'credentialHeader'> {
  shown: string;
  priceUsd: string | null;
  credentialHeader: string | null;
  sealed: string | null;
}

const columns = `name, kind, url, method, shown, requires_approval AS "requiresApproval", trim_scale(price_usd)::text AS "priceUsd",
  timeout_seconds AS "timeoutSeconds", result_bytes_max AS "resultBytesMax", credential_header AS "credentialHeader",
  sealed_credential AS sealed, created_at AS "createdAt", updated_at AS "updatedAt"`;

const fromRow = ({ shown, priceUsd, credentialHeader, sealed: _, ...row }: ToolRow): StoredTool => ({
  ...row,
  shown: JSON.parse(shown) as ShownTool[],
  priceUsd: priceUsd ?? undefined,
  credentialHeader: credentialHeader ?? undefined,
});

/** So many a tenant may have. */
export const toolsMax = 100;

/** All of a tenant's, by name. */
export async function listTools(pool: Pool, tenantId: string): Promise<StoredTool[]> {
  const { rows } = await asTenant(pool, tenantId, (client) =>
    client.query<ToolRow>(`SELECT ${columns} FROM copilot_internal.tools WHERE tenant_id = $1 ORDER BY name`, [
      tenantId,
    ]),
  );
  return rows.map(fromRow);
}

/** One to be called, with its credential as it is sealed. */
export interface ToolToCall {
  tool: StoredTool;
  credential: SealedCredential | undefined;
}

export async function findTool(
  pool: Pool,
  { tenantId, name }: { tenantId: string; name: string },
): Promise<ToolToCall | undefined> {
  const { rows } = await asTenant(pool, tenantId, (client) =>
    client.query<ToolRow>(`SELECT ${columns} FROM copilot_internal.tools WHERE tenant_id = $1 AND name = $2`, [
      tenantId,
      name,
    ]),
  );
  const [row] = rows;
  if (!row) return undefined;
  const { credentialHeader: header, sealed } = row;
  return { tool: fromRow(row), credential: header !== null && sealed !== null ? { header, sealed } : undefined };
}

interface ToolOrder {
  tenantId: string;
  by: Operator;
  /** The last statement of the transaction. */
  finish?: (client: PoolClient) => Promise<void>;
}

/** Registers a tool: `exists` for a name that is taken, unless it is to replace that; `full` beyond `toolsMax`. Undefined without such a tenant. */
export async function addTool(
  pool: Pool,
  {
    tenantId,
    by,
    tool,
    credential,
    replaces,
    finish,
  }: ToolOrder & {
    tool: RegisteredTool;
    credential: SealedCredential | undefined;
    replaces: boolean;
  },
): Promise<'added' | 'exists' | 'full' | undefined> {
  const { name, kind, url, method, shown, requiresApproval, priceUsd, timeoutSeconds, resultBytesMax } = tool;
  let problem: 'exists' | 'full' | undefined;
  const details = {
    name,
    kind,
    url,
    priceUsd,
    requiresApproval,
    credentialHeader: credential?.header,
    tools: shown.length,
  };
  const added = await change(pool, { tenantId, by, action: 'add_tool', details, finish }, async (client) => {
    const { rows } = await client.query<{ others: number; exists: boolean }>(
      `SELECT count(*) FILTER (WHERE name <> $2)::integer AS others, coalesce(bool_or(name = $2), false) AS exists
       FROM copilot_internal.tools WHERE tenant_id = $1`,
      [tenantId, name],
    );
    const { others = 0, exists = false } = rows[0] ?? {};
    problem = exists && !replaces ? 'exists' : others >= toolsMax ? 'full' : undefined;
    if (problem) return undefined;
    await client.query(
      `INSERT INTO copilot_internal.tools AS t (tenant_id, name, kind, url, method, shown, requires_approval, price_usd, timeout_seconds,
         result_bytes_max, credential_header, sealed_credential)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8::numeric, $9, $10, $11, $12)
       ON CONFLICT (tenant_id, name) DO UPDATE SET (kind, url, method, shown, requires_approval, price_usd, timeout_seconds,
         result_bytes_max, credential_header, sealed_credential, updated_at) = ROW (excluded.kind, excluded.url, excluded.method,
         excluded.shown, excluded.requires_approval, excluded.price_usd, excluded.timeout_seconds, excluded.result_bytes_max,
         excluded.credential_header, excluded.sealed_credential, clock_timestamp())`,
      [
        ...[tenantId, name, kind, url, method, JSON.stringify(shown), requiresApproval, priceUsd ?? null],
        ...[timeoutSeconds, resultBytesMax, credential?.header ?? null, credential?.sealed ?? null],
      ],
    );
    return true as const;
  });
  return problem ?? (added ? 'added' : undefined);
}

/** Removes a tool: runs that have it are told that it is not there any more. False where there is none. */
export async function removeTool(
  pool: Pool,
  { tenantId, by, name, finish }: ToolOrder & { name: string },
): Promise<boolean> {
  const removed = await change(
    pool,
    { tenantId, by, action: 'remove_tool', details: { name }, finish },
    async (client) => {
      const { rowCount } = await client.query('DELETE FROM copilot_internal.tools WHERE tenant_id = $1 AND name = $2', [
        tenantId,
        name,
      ]);
      return rowCount ? (true as const) : undefined;
    },
  );
  return removed === true;
}

interface ToolCallId {
  toolUseId: string;
  /** Of this call of it: where the answer was lost with a connection, asking again is no other call. */
  callId: string;
}

/** Notes that a tool is about to be called. False where another call of it is on record: it was called before, and may be still. */
export async function beginToolCall(
  pool: Pool,
  { tenantId, runId, step, toolUseId, name, callId }: RunKey & ToolCallId & { step: number; name: string },
): Promise<boolean> {
  const key = `tool-${step}-${toolUseId}`;
  return asTenant(pool, tenantId, async (client) => {
    await client.query('SELECT FROM copilot_internal.runs WHERE run_id = $1 FOR NO KEY UPDATE', [runId]);
    const { rows } = await client.query<{ callId: string }>(
      `SELECT data ->> 'callId' AS "callId" FROM copilot_internal.run_events WHERE run_id = $1 AND event_key = $2`,
      [runId, key],
    );
    if (rows[0]) return rows[0].callId === callId;
    await appendRunEvent(client, runId, { key, type: 'tool.called', data: { step, tool: name, callId } });
    return true;
  });
}
