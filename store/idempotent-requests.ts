/** The first answer to each Idempotency-Key. */
import { createHash, randomUUID } from 'node:crypto';
import type { Pool } from './pool';

export interface IdempotencyKey {
  apiKeyId: string;
  idempotencyKey: string;
}

export interface StoredResponse {
  status: number;
  body: unknown;
}

export type Admission =
  /** Carry the request out. A repeat of one that was not finished gets the same seed, so that it makes the same ids. */
  | { type: 'proceed'; seed: string }
  | { type: 'answered'; response: StoredResponse }
  | { type: 'in_progress' }
  | { type: 'conflict' };

/** A first request that has not answered for this long has died. */
const abandonedSeconds = 30;

/** Admits a request, or tells what became of the first one with its key. */
export async function admit(
  pool: Pool,
  { apiKeyId, idempotencyKey }: IdempotencyKey,
  request: string,
): Promise<Admission> {
  const hash = createHash('sha256').update(request).digest();
  const { rows } = await pool.query<Row>(
    `INSERT INTO copilot_internal.idempotent_requests AS r (api_key_id, idempotency_key, request_hash, response_body)
     VALUES ($1, $2, $3, $4)
     ON CONFLICT (api_key_id, idempotency_key) DO UPDATE SET created_at = clock_timestamp()
       WHERE r.response_status IS NULL AND r.request_hash = $3
         AND r.created_at < clock_timestamp() - make_interval(secs => $5)
     RETURNING request_hash, response_status, response_body`,
    [apiKeyId, idempotencyKey, hash, JSON.stringify({ seed: randomUUID() }), abandonedSeconds],
  );
  const admitted = rows[0];
  if (admitted) return { type: 'proceed', seed: (admitted.response_body as { seed: string }).seed };
  const existing = await pool.query<Row>(
    'SELECT request_hash, response_status, response_body FROM copilot_internal.idempotent_requests WHERE api_key_id = $1 AND idempotency_key = $2',
    [apiKeyId, idempotencyKey],
  );
  const row = existing.rows[0];
  if (!row) return { type: 'in_progress' };
  if (!row.request_hash.equals(hash)) return { type: 'conflict' };
  if (row.response_status === null) return { type: 'in_progress' };
  return { type: 'answered', response: { status: row.response_status, body: row.response_body } };
}

interface Row {
  request_hash: Buffer;
  response_status: number | null;
  response_body: unknown;
}

/** Keeps the answer for repeats. */
export async function keepResponse(
  pool: Pool,
  { apiKeyId, idempotencyKey }: IdempotencyKey,
  response: StoredResponse,
): Promise<void> {
  await pool.query(
    `UPDATE copilot_internal.idempotent_requests SET response_status = $3, response_body = $4
     WHERE api_key_id = $1 AND idempotency_key = $2`,
    [apiKeyId, idempotencyKey, response.status, JSON.stringify(response.body)],
  );
}

/** A request failed that may succeed when it is sent again: the repeat need not wait, and makes the same ids. */
export async function letGo(pool: Pool, { apiKeyId, idempotencyKey }: IdempotencyKey): Promise<void> {
  await pool.query(
    `UPDATE copilot_internal.idempotent_requests SET created_at = clock_timestamp() - make_interval(secs => $3 + 1)
     WHERE api_key_id = $1 AND idempotency_key = $2 AND response_status IS NULL`,
    [apiKeyId, idempotencyKey, abandonedSeconds],
  );
}

/** Forgets a request that was not carried out, so that it can be sent again at once. */
export async function forget(pool: Pool, { apiKeyId, idempotencyKey }: IdempotencyKey): Promise<void> {
  await pool.query('DELETE FROM copilot_internal.idempotent_requests WHERE api_key_id = $1 AND idempotency_key = $2', [
    apiKeyId,
    idempotencyKey,
  ]);
}
