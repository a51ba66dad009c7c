/**
 * Whose request is begun next: an owner that sends a flood waits for the rest of its own, and has its turns as others have theirs.
 * What came in with a flood is read before what Postgres answers others, so it would all be begun before that too.
 */
import type { MiddlewareHandler } from 'hono';
import { ownerOf, type ApiEnv } from './request';

/** So many requests of one owner (a tenant, or a key of the administration) begin between two looks at what came in. */
const perTurn = 2;

interface Owner {
  begun: number;
  waiting: (() => void)[];
}

/** Begins each owner's requests in their order, some at a time, whatever others send. */
export function takeTurns(): MiddlewareHandler<ApiEnv> {
  const owners = new Map<string, Owner>();
  let isPlanned = false;
  const plan = (): void => {
    if (isPlanned || owners.size === 0) return;
    isPlanned = true;
    setImmediate(() => {
      isPlanned = false;
      for (const [name, owner] of owners) {
        const next = owner.waiting.splice(0, perTurn);
        owner.begun = next.length;
        if (next.length === 0) owners.delete(name);
        for (const begin of next) begin();
      }
      plan();
    });
  };
  return async (c, next) => {
    const name = ownerOf(c.get('caller'));
    const owner = owners.get(name) ?? { begun: 0, waiting: [] };
    owners.set(name, owner);
    plan();
    if (owner.begun < perTurn) owner.begun += 1;
    else await new Promise<void>((resolve) => owner.waiting.push(resolve));
    return next();
  };
}
