/** The first answer to each Idempotency-Key. */
import { createHash, randomUUID } from 'node:crypto';
import type { QueryResult, QueryResultRow } from 'pg';
import { asTenant, sqlState, type Pool, type PoolClient } from './pool';

/** A key counts for a tenant, or for the administration when there is none: whoever rotates its API key goes on with it. */
export interface IdempotencyKey {
  tenantId: string | undefined;
  /** By whom it was sent first. */
  apiKeyId: string;
  idempotencyKey: string;
}

export interface StoredResponse {
  status: number;
  body: unknown;
}

/** The right to carry a request out, until a repeat is given it, because nothing was heard of this one for so long. */
export interface Turn extends IdempotencyKey {
  since: string;
}

export type Admission =
  /** Carry the request out. A repeat of one that was not finished gets the same seed, so that it makes the same ids. */
  | { type: 'proceed'; seed: string; turn: Turn }
  | { type: 'answered'; seed: string; response: StoredResponse }
  | { type: 'in_progress' }
  | { type: 'conflict' };

/** A first request that has not answered for this long has died. */
const abandonedSeconds = 30;

/** Admits a request, or tells what became of the first one with its key. */
export async function admit(pool: Pool, key: IdempotencyKey, request: string): Promise<Admission> {
  const { tenantId, apiKeyId, idempotencyKey } = key;
  const hash = createHash('sha256').update(request).digest();
  const answer = asTenant(pool, tenantId ?? '', async (client, commitWith): Promise<Admission> => {
    const { rows } = await commitWith(
      client.query<Row & { admitted: boolean }>(
        `WITH admitted AS (
           INSERT INTO copilot_internal.idempotent_requests AS r (api_key_id, tenant_id, idempotency_key, request_hash, seed)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (tenant_id, idempotency_key) WHERE seed IS NOT NULL DO UPDATE SET created_at = clock_timestamp()
             WHERE r.response_status IS NULL AND r.request_hash = $4
               AND r.created_at < clock_timestamp() - make_interval(secs => $6)
           RETURNING request_hash, response_status, response_body, seed, created_at::text AS since)
         SELECT true AS admitted, * FROM admitted
         UNION ALL
         SELECT false, request_hash, response_status, response_body, seed, created_at::text FROM copilot_internal.idempotent_requests
         WHERE tenant_id IS NOT DISTINCT FROM $2 AND idempotency_key = $3 AND seed IS NOT NULL
           AND NOT EXISTS (SELECT FROM admitted)`,
        [apiKeyId, tenantId ?? null, idempotencyKey, hash, randomUUID(), abandonedSeconds],
      ),
    );
    const row = rows[0];
    if (!row) return { type: 'in_progress' };
    if (row.admitted) return { type: 'proceed', seed: row.seed, turn: { ...key, since: row.since } };
    if (!row.request_hash.equals(hash)) return { type: 'conflict' };
    if (row.response_status === null) return { type: 'in_progress' };
    return { type: 'answered', seed: row.seed, response: { status: row.response_status, body: row.response_body } };
  });
  return answer.catch((error: unknown): Admission => {
    // A process of the version before carries it out, or did: what it answered counts for its key alone.
    if (sqlState(error) === '23505') return { type: 'in_progress' };
    throw error;
  });
}

interface Row {
  request_hash: Buffer;
  response_status: number | null;
  response_body: unknown;
  seed: string;
  since: string;
}

const ofKey = 'tenant_id IS NOT DISTINCT FROM $1 AND idempotency_key = $2 AND seed IS NOT NULL';
const unanswered = `${ofKey} AND response_status IS NULL`;

/** Runs one statement on the row of a key. */
const onRequest = <R extends QueryResultRow>(
  pool: Pool,
  { tenantId, idempotencyKey }: IdempotencyKey,
  statement: string,
  values: readonly unknown[],
): Promise<QueryResult<R>> =>
  asTenant(pool, tenantId ?? '', (client, commitWith) =>
    commitWith(client.query<R>(statement, [tenantId ?? null, idempotencyKey, ...values])),
  );

const keeping = `UPDATE copilot_internal.idempotent_requests SET response_status = $3, response_body = $4 WHERE ${unanswered}`;

/** Keeps the answer for repeats. Where another process has answered meanwhile, that answer stands. */
export async function keepResponse(pool: Pool, key: IdempotencyKey, { status, body }: StoredResponse): Promise<void> {
  await onRequest(pool, key, keeping, [status, JSON.stringify(body)]);
}

/**
 * The same in the transaction of what is answered, whose last statement it is: neither is there without the other. False when a
 * repeat has taken the request over.
 */
export async function keepResponseWith(
  client: PoolClient,
  { tenantId, idempotencyKey, since }: Turn,
  { status, body }: StoredResponse,
): Promise<boolean> {
  await client.query("SELECT set_config('spendlock.tenant_id', $1, true)", [tenantId ?? '']);
  const values = [tenantId ?? null, idempotencyKey, status, JSON.stringify(body), since];
  return (await client.query(`${keeping} AND created_at = $5`, values)).rowCount === 1;
}

/** A request failed that may succeed when it is sent again: the repeat need not wait, and makes the same ids. */
export async function letGo(pool: Pool, turn: Turn): Promise<void> {
  await onRequest(
    pool,
    turn,
    `UPDATE copilot_internal.idempotent_requests SET created_at = clock_timestamp() - make_interval(secs => $3 + 1)
     WHERE ${unanswered} AND created_at = $4`,
    [abandonedSeconds, turn.since],
  );
}

/**
 * Forgets a request that was not carried out, so that it can be sent again at once. False when a repeat has taken it over: what that
 * does, or did, stands.
 */
export async function forget(pool: Pool, turn: Turn): Promise<boolean> {
  const { rows } = await onRequest<{ isTakenOver: boolean }>(
    pool,
    turn,
    `WITH forgotten AS (DELETE FROM copilot_internal.idempotent_requests WHERE ${unanswered} AND created_at = $3 RETURNING 1)
     SELECT NOT EXISTS (SELECT FROM forgotten) AND EXISTS (
       SELECT FROM copilot_internal.idempotent_requests WHERE ${ofKey}) AS "isTakenOver"`,
    [turn.since],
  );
  return !rows[0]?.isTakenOver;
}

/** Whether a request was answered before. */
export async function wasAnswered(
  client: PoolClient,
  { tenantId, idempotencyKey }: Omit<IdempotencyKey, 'apiKeyId'>,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM copilot_internal.idempotent_requests
     WHERE tenant_id IS NOT DISTINCT FROM $1 AND idempotency_key = $2 AND seed IS NOT NULL AND response_status IS NOT NULL`,
    [tenantId ?? null, idempotencyKey],
  );
  return (rowCount ?? 0) > 0;
}
