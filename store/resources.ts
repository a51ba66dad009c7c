/** What the database knows of resources: where nothing is decided, what a request is billed as; and how many limits may name. */
import { resourcesMax, resourceAsked } from '../core/resources';
import type { ReserveCommand, Resource } from '../core/budget/commands';
import { knowsFunction } from './known-functions';
import type { PoolClient } from './pool';

/** Limits would name more resources than they may. */
export class TooManyResourcesError extends Error {
  constructor() {
    super(`Limits and defaults would name more than ${resourcesMax} resources.`);
  }
}

/** What there was before resources had names. */
export const resourcesBefore: readonly Resource[] = ['llm', 'e2b'];

/** Those that a database of the version before can hold; undefined where it holds any. */
export const resourcesHeld = async (client: PoolClient): Promise<readonly Resource[] | undefined> =>
  (await knowsFunction(client, 'are_too_many_resources(text, integer)')) ? undefined : resourcesBefore;

/** What a request is billed as that no decision says it of. In a database of the version before a tool is what it was there. */
export async function billedResource(
  client: PoolClient,
  tenantId: string,
  asked: Pick<ReserveCommand, 'resource' | 'isTool'> & { userId?: string | undefined },
): Promise<string> {
  const resource = resourceAsked(asked);
  // No other is billed as anything else.
  if (resource !== 'tool') return resource;
  if (!(await knowsFunction(client, 'billed_as(text, text, text)'))) return asked.resource;
  const { rows } = await client.query<{ resource: string }>(
    'SELECT copilot_internal.billed_as($1, $2, $3) AS resource',
    [tenantId, asked.userId ?? null, resource],
  );
  return rows[0]?.resource ?? resource;
}

/**
 * Refuses a change after which limits name too many. Under the lock of whoever changes them; `tenantId` null: the platform's.
 * @throws TooManyResourcesError
 */
export async function refuseTooManyResources(client: PoolClient, tenantId: string | null): Promise<void> {
  if (await resourcesHeld(client)) return;
  const { rows } = await client.query<{ tooMany: boolean }>(
    'SELECT copilot_internal.are_too_many_resources($1, $2) AS "tooMany"',
    [tenantId, resourcesMax],
  );
  if (rows[0]?.tooMany) throw new TooManyResourcesError();
}
