/** Every POST takes an Idempotency-Key: a repeat of the same request gets the first one's answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { admit, forget, keepResponse, keepResponseWith, letGo, type Turn } from '../../store/idempotent-requests';
import type { PoolClient } from '../../store/pool';
import type { ApiDependencies } from './context';
import type { ApiContext } from './request';
import { Denied } from './denials';
import { ApiError } from './errors';

/** How long a repeat waits for the first request before it is told to. */
const waitMs = 2_000;

interface Done {
  status: ContentfulStatusCode;
  body: object;
}

/**
 * Keeps the answer in the transaction of what it tells of, as its last statement. What would have an effect each time has to be
 * carried out with it: a repeat of a request that died before its answer was kept carries it out again.
 *
 * @throws TakenOver when a repeat has taken the request over, so that nothing of the transaction stays.
 */
type KeepWith = (client: PoolClient, done: Done) => Promise<void>;

class TakenOver extends Error {}

/**
 * Carries a request out once per key. `seed` is the same for a repeat of a request that died halfway, so that ids made from
 * it are too. An error is not kept: what was wrong may be put right and sent again.
 */
export async function once(
  c: ApiContext,
  { pool }: ApiDependencies,
  request: unknown,
  work: (seed: string, keepWith: KeepWith) => Promise<Done>,
  /** What is shown beside the answer and never stored: made again from the seed for a repeat. */
  secrets: (seed: string) => Promise<object> | object = () => ({}),
): Promise<Response> {
  const idempotencyKey = c.req.header('idempotency-key');
  if (idempotencyKey === undefined) {
    const seed = randomUUID();
    const { status, body } = await work(seed, () => Promise.resolve());
    return c.json({ ...body, ...(await secrets(seed)) }, status);
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
        return c.json(
          { ...(admission.response.body as object), ...(await secrets(admission.seed)) },
          admission.response.status as ContentfulStatusCode,
        );
      case 'conflict':
        throw new ApiError(
          'idempotency_conflict',
          'Another request was sent with this Idempotency-Key. It stands; this one was not carried out.',
        );
      case 'in_progress':
        if (Date.now() < giveUpMs) continue;
        throw new ApiError(
          'idempotency_in_progress',
          'The first request with this Idempotency-Key is still being carried out.',
        );
      case 'proceed': {
        const { seed, turn } = admission;
        const done = await carryOut(pool, turn, (keepWith) => work(seed, keepWith));
        if (done) return c.json({ ...done.body, ...(await secrets(seed)) }, done.status);
        giveUpMs = Date.now() + waitMs;
      }
    }
  }
}

/** The path with the ids in it as they were read: a repeat may spell them in another way. */
function pathOf(c: ApiContext): string {
  const read = c.req.valid('param' as never) as Record<string, string> | undefined;
  return Object.entries(read ?? {}).reduce((path, [name, id]) => {
    const given = c.req.param(name as never) as string | undefined;
    return given === undefined || given === id ? path : path.replace(given, id);
  }, c.req.path);
}

/** Undefined when a repeat has taken it over, and what this process did came to nothing. */
async function carryOut(
  pool: ApiDependencies['pool'],
  turn: Turn,
  work: (keepWith: KeepWith) => Promise<Done>,
): Promise<Done | undefined> {
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
