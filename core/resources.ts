/**
 * What a paid step is billed as: `llm` for models, `e2b` for sandboxes, or anything else by a name of its own, such as `tool`, `search` or
 * `geocoding`. Limits are of one of them or of `all`, which covers every one. Here is how they may be spelled and which switch they
 * follow (docs/decisions/0057-resources-by-name.md).
 */
import type { Enforced, Resource, ReserveCommand } from './budget/commands';

/** What limits cover that are of no resource alone. No request names it. */
export const allResources = 'all';
/** One spelling for each, as for the key of a label: two that look alike are one. The schema of the database says the same. */
export const resourcePattern = /^[a-z][a-z0-9_.-]{0,31}$/;
export const resourceWords = '1 to 32 small letters, digits, dots, hyphens and underscores, a letter first';

/** Whether something can be billed as that. */
export const isResource = (name: unknown): name is Resource =>
  typeof name === 'string' && name !== allResources && resourcePattern.test(name);

/** How many the limits of a tenant may name, beside `all`: each has rows, gauges and alerts of its own. */
export const resourcesMax = 32;

/** Whether limits bind it: sandboxes have a switch of their own, and all else follows that of models. */
export const binds = (enforced: Enforced, resource: Resource): boolean => enforced[resource === 'e2b' ? 'e2b' : 'llm'];

/** What a tool of an agent is billed as that has a price. */
export const tool = 'tool';

/**
 * How a request names its resource on its way: a tool as a process of the version before takes it, which knows two resources and refuses
 * every other. Say `resource` alone a version later.
 */
export const sentAs = (resource: Resource): Pick<ReserveCommand, 'resource' | 'isTool'> =>
  resource === tool ? { resource: 'e2b', isTool: true } : { resource };

/**
 * The same of an envelope, and of a part that is for that alone: a process of the version before refuses `all`, and so never takes one for
 * an ordinary request.
 */
export const sentOfEnvelope = (resource: Resource): Pick<ReserveCommand, 'resource' | 'ofResource'> => ({
  resource: allResources,
  ofResource: resource,
});

/** What a request asks to be billed as. */
export const resourceAsked = ({
  resource,
  isTool,
  ofResource,
}: Pick<ReserveCommand, 'resource' | 'isTool' | 'ofResource'>): Resource => ofResource ?? (isTool ? tool : resource);

/** What a limit is of, as far as it says how a tool is billed. */
export interface OfResource {
  scope: string;
  scopeId: string;
  resourceType: string;
}

/** Whether limits are of sandboxes, and none of them of tools or of everything. */
const areOfSandboxes = (limits: readonly OfResource[]): boolean => {
  const of = limits.map(({ resourceType }) => resourceType);
  return of.includes('e2b') && !of.includes(tool) && !of.includes(allResources);
};

/**
 * What a request is billed as, by the limits of its tenant, its user and the platform: a tool as a sandbox where the tenant itself limits
 * those, and neither tools nor everything, or where all three together do. They were billed so when there was no other resource, and nobody
 * is refused for want of a limit that was never needed. `billed_as` is the same in SQL.
 */
export function billedAs(
  resource: Resource,
  limits: readonly OfResource[],
  { userId }: { userId?: string | undefined } = {},
): Resource {
  if (resource !== tool) return resource;
  const own = limits.filter(({ scope }) => scope === 'tenant');
  // Who asks chooses its labels.
  const others = limits.filter(
    ({ scope, scopeId }) => scope === 'platform' || (scope === 'user' && scopeId === userId),
  );
  return areOfSandboxes(own) || areOfSandboxes([...own, ...others]) ? 'e2b' : resource;
}

/** What there was before resources had names, and what tools became of it. */
const before: readonly Resource[] = ['llm', 'e2b', tool];

/**
 * Whether the limits that cover a request allow it anything. Who asks chooses labels and names, and may make up users: the limit of a label
 * allows nothing by itself, and what goes by another name than there were before needs one of the tenant, of it or of `all`.
 */
export const mayBeGranted = (resource: Resource, covering: readonly Pick<OfResource, 'scope'>[]): boolean =>
  covering.some(({ scope }) => scope === 'tenant' || (scope !== 'label' && before.includes(resource)));

/** Whether what is on record was asked for as this: a tool may be billed as a sandbox. */
export const isRecordedAs = (recorded: Resource, asked: Resource): boolean =>
  recorded === asked || (asked === tool && recorded === 'e2b');
