/** An operator's order to a tenant's budget: how its route is described, and how it is carried out once. */
import type { z } from '@hono/zod-openapi';
import { omitUndefined } from '../../core/omit-undefined';
import type { Operator } from '../../store/operator';
import type { PoolClient } from '../../store/pool';
import { whoSteers } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { once } from '../http/idempotency';
import { body, idParam, postRoute, type Described, type json } from '../http/openapi';
import type { ApiContext } from '../http/request';

export const params = idParam('The tenant');

/** What an operator orders of a tenant's budget. */
interface Order {
  tenantId: string;
  by: Operator;
  /** Keeps the answer for repeats in the transaction of what it tells of. */
  keepAnswer: (client: PoolClient, answer: object) => Promise<void>;
}
export type CarryOut = ReturnType<typeof orders>;

/** Carries an operator's order out once, and has the authority read what it changed. */
export const orders =
  (dependencies: ApiDependencies) =>
  async <B extends object>(
    c: ApiContext,
    { param, body }: { param: { id: string }; body: { author?: string | undefined } },
    work: (order: Order) => Promise<B>,
  ) => {
    const tenantId = await tenantFor(c, dependencies, param.id);
    const by = operatorOf(c.get('caller'), body.author);
    return once(c, dependencies, { param, body }, async (_seed, keepWith) => {
      const keepAnswer = (client: PoolClient, answer: object): Promise<void> =>
        keepWith(client, { status: 200, body: answer });
      const answer = await work({ tenantId, by, keepAnswer });
      dependencies.authority.reload(tenantId);
      return { status: 200, body: answer };
    });
  };

/** A POST of an operator on one tenant. */
export const ordering = <V extends string, S extends z.ZodType, A extends ReturnType<typeof json>>(
  [verb, operationId, summary]: [V, string, string],
  schema: S,
  answer: A,
  { example, refuses }: Pick<Described, 'refuses'> & { example?: z.input<S> } = {},
) =>
  postRoute(
    { operationId, summary, tag: 'Budgets', access: whoSteers, ...omitUndefined({ refuses }) },
    {
      path: `/v1/tenants/{id}/${verb}`,
      request: { params, body: body(schema, example) },
      responses: { 200: answer },
    },
  );
