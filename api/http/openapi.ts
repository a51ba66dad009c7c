/** How a route describes itself: what it takes, and every answer that it gives. Its code is held to that by the compiler. */
import { createRoute, z, type RouteConfig } from '@hono/zod-openapi';
import { errorCatalogue, type ErrorCode } from '../../core/errors';
import type { Role } from '../../core/roles';
import { denialView } from './denials';
import { pathIdSchema } from './ids';
import { refuseUnknown } from './parameters';
import { errorView } from './schemas';

export const json = <S extends z.ZodType>(schema: S, description: string) => ({
  content: { 'application/json': { schema } },
  description,
});
/** A request's body, which has to be there, and what one may look like. */
export const body = <S extends z.ZodType>(schema: S, example?: z.input<S>) => ({
  required: true as const,
  content: { 'application/json': example === undefined ? { schema } : { schema, example } },
});
/** A request's body, which may be left out. */
export const optionalBody = <S extends z.ZodType>(schema: S) => ({ ...body(schema), required: false as const });
export const idParam = (description: string) => z.object({ id: z.string().openapi({ description }) });
/** Of what has a UUID. */
export const uuidParam = (description: string) => z.object({ id: pathIdSchema(description) });

const failures = { default: json(errorView, 'What went wrong, what was kept, and what to do') };
const security = [{ bearer: [] }];
const idempotencyHeader = z.object({
  'idempotency-key': z
    .string()
    .optional()
    .openapi({ description: 'A repeat with the same key gets the first answer.' }),
});

/** The groups that routes are shown in. */
export const tags = {
  Runs: 'One task each: started, followed, stopped.',
  Conversations: 'Runs that people talk with, message by message.',
  Approvals: 'What a run or conversation asks of people, and what they decide.',
  Reservations: 'Money that a call of your own is granted before it is made, and what it cost.',
  Agents: 'What agents ask for themselves, by the Model Context Protocol.',
  'Requests for money': 'What denied runs ask people for, and what they grant.',
  Budgets: 'What a tenant and its users may spend, and how a person corrects what is held or was spent.',
  Tenants: 'Tenants: made, seen, taken along, deleted.',
  Usage: 'What was spent, line by line or in sums, and what would fit.',
  Tools: 'Tools of a tenant of its own, which its runs may call.',
  Prices: 'What models and sandboxes cost.',
  Keys: 'Who may speak to the API.',
  Platform: 'The quotas that bind all tenants together.',
  Books: 'Whether balances agree with the ledger, and mending them.',
  Records: 'What operators changed, and which alerts were raised.',
  Health: 'Whether the process lives, and whether what it needs answers. These need no key.',
} as const;
type Tag = keyof typeof tags;

/** What tells a route from the others, for whoever reads the document or generates a client from it. */
interface Named {
  /** A verb and what it is done to, as a generated client calls it: `listKeys`. */
  operationId: string;
  /** A short sentence without a full stop. */
  summary: string;
  tag: Tag;
}
/** The same, and who may use it: `http/access.ts` holds to it. */
export interface Described extends Named {
  access: readonly Role[];
  /** Why it says 409 or 422, which few routes do; what any may fail with is its `default`. */
  refuses?: readonly ErrorCode[];
}

/** The answers to what is refused for these reasons, by their status. The compiler needs none of them: they are thrown. */
function refusals(codes: readonly ErrorCode[]): object {
  const statuses = [...new Set(codes.map((code) => errorCatalogue[code].httpStatus))];
  return Object.fromEntries(
    statuses.map((status) => {
      const ofStatus = codes.filter((code) => errorCatalogue[code].httpStatus === status);
      const lines = ofStatus.map((code) => `\`${code}\`: ${errorCatalogue[code].action}`);
      return [status, json(z.object({ ...errorView.shape, error: z.enum(ofStatus) }), lines.join(' '))];
    }),
  );
}

/** How the document has it. */
const named = ({ operationId, summary, tag }: Named) => ({ operationId, summary, tags: [tag] });

/** A route that needs a key, as all under /v1 do: it may fail as any of them. */
export const route = <P extends string, R extends Omit<RouteConfig, 'path'> & { path: P }>(
  described: Described,
  config: R,
) =>
  createRoute({
    ...config,
    ...named(described),
    'x-roles': described.access,
    security,
    responses: { ...config.responses, ...refusals(described.refuses ?? []), ...failures },
    middleware: refuseUnknown(parametersOf(config)),
  });

/** The names of what a route takes behind the `?` of its address. */
const parametersOf = ({ request }: Pick<RouteConfig, 'request'>): string[] =>
  request?.query instanceof z.ZodObject ? Object.keys(request.query.shape) : [];

/** A route that needs none. */
export const keylessRoute = <P extends string, R extends Omit<RouteConfig, 'path'> & { path: P }>(
  described: Named,
  config: R,
) => createRoute({ ...config, ...named(described), security: [] });

/** A POST under a key, which a repeat may be sent of. */
export const postRoute = <
  P extends string,
  Q extends NonNullable<RouteConfig['request']>,
  A extends RouteConfig['responses'],
>(
  described: Described,
  config: { path: P; request: Q; responses: A },
) =>
  route(
    { ...described, refuses: ['idempotency_conflict', 'idempotency_in_progress', ...(described.refuses ?? [])] },
    { ...config, method: 'post', request: { ...config.request, headers: idempotencyHeader } },
  );

/**
 * An answer of a medium of its own, piece by piece. Of a name that ends in json, which this is not, `string` keeps the compiler
 * from asking for a value.
 */
export const medium = <M extends string>(type: M, description: string) => ({
  content: { [type]: { schema: z.string() } } as Record<M, { schema: z.ZodString }>,
  description,
});
/** An answer that goes on: server-sent events. */
export const eventStream = (description: string) => medium('text/event-stream', description);
export const streamHeaders = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' };

/** The answer to a request that money was refused for, or that there were too many of; as events where those were asked for. */
export const denied = {
  429: {
    description: 'Denied: the quota that stands in the way, and when to try again; or too many requests',
    content: {
      ...json(z.union([denialView, errorView]), '').content,
      ...medium('text/event-stream', '').content,
    },
  },
};
