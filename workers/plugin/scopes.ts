/**
 * Whose calls they are. Whoever runs the worker says it, of all calls or by the activity; on a worker of several tenants the workflow
 * may name its own, in its memo or in a search attribute, among those that the worker serves.
 */
import type { Context, Info } from '@temporalio/activity';
import { isRecord } from '../../core/prices/usage';
import type { SpendScope } from './money';
import { refused } from './refused';

/** How long Temporal is asked what a workflow says of itself. */
const askedMs = 10_000;

/** Where a workflow names its tenant: under this key of its memo, or as the value of this search attribute. */
export type TenantFrom = { memo: string } | { searchAttribute: string };

export interface ScopeOptions {
  /** Whose calls they are: the same for all, or by the activity (its workflow, its task queue, what it is called with). */
  scope?: SpendScope | ((info: Info, args: unknown[]) => SpendScope);
  /** The tenants that calls of this worker may be charged to: any other is refused, whoever names it. */
  tenants?: readonly string[];
  /**
   * On a worker of several tenants: where a workflow names its own, among `tenants`. One that names none is of the tenant of `scope`, or
   * refused; so is a child that names none, which inherits nothing of its parent's.
   */
  tenantFrom?: TenantFrom;
}

/** @throws ApplicationFailure where nobody may be charged. */
export type ScopeOf = (context: Context, args: unknown[]) => Promise<SpendScope>;

/** @throws TypeError where a workflow could name anybody. */
export function scopeOf({ scope = {}, tenants, tenantFrom }: ScopeOptions): ScopeOf {
  if (tenantFrom && !tenants?.length)
    throw new TypeError('tenants must say whom a workflow may name by tenantFrom. Nothing was started.');
  return async (context, args) => {
    const said = typeof scope === 'function' ? scope(context.info, args) : scope;
    const tenantId = (tenantFrom && (await namedIn(context, tenantFrom))) ?? said.tenantId;
    if (tenants && (tenantId === undefined || !tenants.includes(tenantId))) throw notServed(tenantId, tenantFrom);
    return tenantId === undefined ? said : { ...said, tenantId };
  };
}

const isNone = (value: unknown): boolean => value === undefined || value === null || value === '';

const placeOf = (from: TenantFrom): string =>
  'memo' in from ? `memo (${from.memo})` : `search attribute (${from.searchAttribute})`;

/**
 * What Temporal answers the same however often it is asked, by gRPC's numbers: INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED,
 * FAILED_PRECONDITION, UNIMPLEMENTED and UNAUTHENTICATED.
 */
const lasting: readonly unknown[] = [3, 5, 7, 9, 12, 16];

function isLasting(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === 'WorkflowNotFoundError' || (isRecord(error.cause) && lasting.includes(error.cause.code));
}

function notServed(tenantId: string | undefined, from: TenantFrom | undefined): Error {
  const what =
    tenantId === undefined
      ? `No tenant is named${from === undefined ? '' : ` in the workflow's ${placeOf(from)}`}`
      : `This worker makes no calls for the tenant ${JSON.stringify(tenantId)}`;
  return refused('invalid_request', `${what}. No call was made.`);
}

/** What a workflow says now: it may change it, and what is charged follows that. */
async function namedIn({ client, info }: Context, from: TenantFrom): Promise<string | undefined> {
  if (!info.workflowExecution) return undefined;
  const { workflowId, runId } = info.workflowExecution;
  const handle = client.workflow.getHandle(workflowId, runId);
  const about = await client
    .withDeadline(Date.now() + askedMs, () => handle.describe())
    .catch((error: unknown) => {
      const message = `The workflow could not be asked for its tenant: ${String(error)}. No call was made.`;
      throw refused('authority_unavailable', message, { mayRetry: !isLasting(error) });
    });
  const value =
    'memo' in from
      ? about.memo?.[from.memo]
      : about.typedSearchAttributes.getAll().find(({ key }) => key.name === from.searchAttribute)?.value;
  if (typeof value === 'string' && value !== '') return value;
  // Else it would spend the money of the worker's own tenant, and its parent's tenant none.
  if (isNone(value) && about.parentExecution)
    throw refused(
      'invalid_request',
      `A child inherits no tenant, and names none in its ${placeOf(from)}. No call was made.`,
    );
  if (isNone(value)) return undefined;
  throw refused('invalid_request', 'The tenant that the workflow names is no text. No call was made.');
}
