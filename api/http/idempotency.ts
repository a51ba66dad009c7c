/** Every POST takes an Idempotency-Key: a repeat of the same request gets the first one's answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import type { Context, TypedResponse } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { JSONParsed } from 'hono/utils/types';
import { admit, forget, keepResponse, keepResponseWith, letGo, type Turn } from '../../store/idempotent-requests';
import type { Pool, PoolClient } from '../../store/pool';
import type { ApiContext, ApiEnv } from './request';
import { Denied } from './denials';
import { ApiError } from './errors';

/** How long a repeat waits for the first request before it is told to. */
const waitMs = 2_000;

interface Answer<S, B> {
  status: S;
  body: B;
}

/**
 * Keeps the answer in the transaction of what it tells of, as its last statement. What would have an effect each time has to be
 * carried out with it: a repeat of a request that died before its answer was kept carries it out again.
 *
 * @throws TakenOver when a repeat has taken the request over, so that nothing of the transaction stays.
 */
type KeepWith = (client: PoolClient, done: Answer<ContentfulStatusCode, object>) => Promise<void>;

class TakenOver extends Error {}

/** An answer of JSON, of which the compiler knows what is in it. */
type JsonAnswer<S extends ContentfulStatusCode, B> = Response & TypedResponse<JSONParsed<B>, S, 'json'>;

/**
 * Carries a request out once per key. `seed` is the same for a repeat of a request that died halfway, so that ids made from
 * it are too. An error is not kept: what was wrong may be put right and sent again.
 */
export async function once<S extends ContentfulStatusCode, const B extends object, M extends object = object>(
  c: ApiContext,
  dependencies: { pool: Pool },
  request: unknown,
  work: (seed: string, keepWith: KeepWith) => Promise<Answer<S, B>>,
  /** What is shown beside the answer and never stored: made again from the seed for a repeat. */
  secrets?: (seed: string) => Promise<M>,
): Promise<JsonAnswer<S, B & M>> {
  const { status, body } = await answerOnce(c, dependencies, request, work, secrets);
  return c.json(body, status);
}

/** The same, of which the answer goes on in another way than as JSON. */
export async function answerOnce<S extends ContentfulStatusCode, const B extends object, M extends object = object>(
  c: ApiContext,
  { pool }: { pool: Pool },
  request: unknown,
  work: (seed: string, keepWith: KeepWith) => Promise<Answer<S, B>>,
  secrets?: (seed: string) => Promise<M>,
): Promise<Answer<S, B & M>> {
  const shown = async (seed: string, { status, body }: Answer<S, B>): Promise<Answer<S, B & M>> => ({
    status,
    body: { ...body, ...((await secrets?.(seed)) as M) },
  });
  const idempotencyKey = c.req.header('idempotency-key');
  if (idempotencyKey === undefined) {
    const seed = randomUUID();
    return shown(seed, await work(seed, () => Promise.resolve()));
  }
  if (idempotencyKey.length === 0 || idempotencyKey.length > 255) {
    throw new ApiError('invalid_request', 'Idempotency-Key: must be 1 to 255 characters. Nothing was done.');
  }
  const { tenantId, apiKeyId } = c.get('caller');
  const key = { tenantId, apiKeyId, idempotencyKey };
  const text = `${c.req.method} ${pathOf(c)} ${JSON.stringify(request)}`;
  for (let giveUpMs = Date.now() + waitMs; ; await sleep(50)) {
    const admission = await admit(pool, key, text);
    switch (admission.type) {
      case 'answered':
        c.header('idempotent-replayed', 'true');
        // It was kept as the same route answered it.
        return shown(admission.seed, admission.response as Answer<S, B>);
      case 'conflict':
        throw new ApiError(
          'idempotency_conflict',
          'Another request was sent with this Idempotency-Key. It stands; this one was not carried out.',
        );
      case 'in_progress':
        if (Date.now() < giveUpMs) continue;
        throw new ApiError(
          'idempotency_in_progress',
          'The same request was sent before, and is still being carried out.',
        );
      case 'proceed': {
        const { seed, turn } = admission;
        const done = await carryOut(pool, turn, (keepWith) => work(seed, keepWith));
        if (done) return shown(seed, done);
        giveUpMs = Date.now() + waitMs;
      }
    }
  }
}

/** The path with the ids in it as they were read: a repeat may spell them in another way. */
function pathOf(c: ApiContext): string {
  const ids = (c as Context<ApiEnv, string, WithIds>).req.valid('param') ?? {};
  const sent: Record<string, string | undefined> = c.req.param();
  return Object.entries(ids).reduce((path, [name, id]) => {
    const spelt = sent[name];
    return spelt === undefined || spelt === id ? path : path.replace(spelt, id);
  }, c.req.path);
}

/** What a route that has ids in its path made of them. */
interface WithIds {
  out: { param: Record<string, string> | undefined };
}

/** Undefined when a repeat has taken it over, and what this process did came to nothing. */
async function carryOut<D extends Answer<ContentfulStatusCode, object>>(
  pool: Pool,
  turn: Turn,
  work: (keepWith: KeepWith) => Promise<D>,
): Promise<D | undefined> {
  let isKept = false;
  try {
    const done = await work(async (client, done) => {
      if (!(await keepResponseWith(client, turn, done))) throw new TakenOver();
      isKept = true;
    });
    if (!isKept) await keepResponse(pool, turn, done);
    return done;
  } catch (error) {
    if (error instanceof TakenOver) return undefined;
    // What failed for a reason that passes keeps its seed, so that trying again goes on with the same ids.
    if ((error instanceof ApiError && error.status < 500) || error instanceof Denied) {
      if (!(await forget(pool, turn))) return undefined;
    } else await letGo(pool, turn).catch(() => undefined);
    throw error;
  }
}
