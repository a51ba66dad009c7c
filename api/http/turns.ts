/**
 * Whose request is begun next: an owner that sends a flood waits for the rest of its own, and has its turns as others have theirs.
 * What came in with a flood is read before what Postgres answers others, so it would all be begun before that too.
 */
import type { MiddlewareHandler } from 'hono';
import { ApiError } from './errors';
import { refuseLate } from './rate-limit';
import { ownerOf, type ApiContext, type ApiEnv } from './request';

/** So many requests of one owner (a tenant, or a key of the administration) begin between two looks at what came in. */
const perTurn = 2;
/** So many whose clients have gone are dropped meanwhile. */
const dropsPerTurn = 10;
/** So many may wait for their turn. Each takes some 20 KB, also where its client has gone. */
const waitingMax = 5_000;

interface Waiting {
  /** False where its client has gone and nobody reads what it asks for. */
  isWanted: () => boolean;
  begin: () => void;
  drop: () => void;
}

interface Owner {
  begun: number;
  /** In their order. */
  waiting: Set<Waiting>;
}

/**
 * Begins each owner's requests in their order, some at a time, whatever others send. A read whose client has gone is not begun:
 * whoever cuts its connections sends more than can be carried out.
 * @throws ApiError `too_much_at_once` where very many of the same owner wait already.
 */
export function takeTurns(): MiddlewareHandler<ApiEnv> {
  const owners = new Map<string, Owner>();
  let isPlanned = false;
  const plan = (): void => {
    if (isPlanned || owners.size === 0) return;
    isPlanned = true;
    setImmediate(() => {
      isPlanned = false;
      for (const [name, owner] of owners) {
        owner.begun = 0;
        let dropped = 0;
        for (const waiting of owner.waiting) {
          if (owner.begun === perTurn || dropped === dropsPerTurn) break;
          owner.waiting.delete(waiting);
          if (waiting.isWanted()) {
            owner.begun += 1;
            waiting.begin();
          } else {
            dropped += 1;
            waiting.drop();
          }
        }
        if (owner.begun + dropped === 0) owners.delete(name);
      }
      plan();
    });
  };
  return async (c, next) => {
    const name = ownerOf(c.get('caller'));
    const owner = owners.get(name) ?? { begun: 0, waiting: new Set() };
    if (owner.waiting.size >= waitingMax) await refuseLate(tooMany());
    owners.set(name, owner);
    plan();
    if (owner.begun < perTurn) owner.begun += 1;
    else await turnOf(c, owner);
    return next();
  };
}

const turnOf = (c: ApiContext, { waiting }: Owner): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    const isRead = c.req.method === 'GET' || c.req.method === 'HEAD';
    const isWanted = (): boolean => !isRead || !isGone(c);
    waiting.add({ isWanted, begin: resolve, drop: () => reject(gone()) });
  });

const isGone = ({ env }: ApiContext): boolean => env.incoming?.socket.destroyed ?? false;

const gone = (): ApiError => new ApiError('invalid_request', 'Its client went before the request was begun.');

const tooMany = (): ApiError =>
  new ApiError(
    'too_much_at_once',
    `There are ${waitingMax} requests already that wait for their turn. Nothing was done.`,
    { retryAfter: 1 },
  );
