/** Which limit made a grant less than was asked for. */
import type { BindingQuota, Resource } from '../core/budget/commands';
import { quotaState, tightest } from '../core/budget/quotas';
import type { Labels } from '../core/labels';
import { parseUsd } from '../core/money';
import { omitUndefined } from '../core/omit-undefined';
import { limitsOfStep } from './money-requests';
import { asTenant, type Pool } from './pool';
import type { OperationKey } from './reservations';

interface Granted {
  resource: Resource;
  kind: string;
  userId: string | null;
  labels: Labels;
  requestedUsd: string;
  grantedUsd: string;
  /** All that the limit of its run, or the platform, left for it. */
  mostUsd: string | null;
}

/**
 * The limit of the tenant, the user or a label that leaves the least for an operation that was granted in part, as it stands now. Undefined where the
 * limit of its run made it less, or the platform, and where all was granted.
 */
export async function quotaThatCut(
  pool: Pool,
  { tenantId, operationId }: OperationKey,
): Promise<BindingQuota | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Granted>(
      `SELECT resource, kind, user_id AS "userId", labels, trim_scale(requested_usd)::text AS "requestedUsd", trim_scale(granted_usd)::text AS "grantedUsd",
         decided_with ->> 'mostUsd' AS "mostUsd"
       FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2 AND granted_usd < requested_usd`,
      [tenantId, operationId],
    );
    const [granted] = rows;
    if (!granted || (granted.mostUsd !== null && parseUsd(granted.grantedUsd) >= parseUsd(granted.mostUsd)))
      return undefined;
    const { resource, kind, userId, labels, requestedUsd } = granted;
    const payer = { tenantId, resource, step: { kind }, ...omitUndefined({ userId: userId ?? undefined, labels }) };
    const quota = tightest(await limitsOfStep(client, payer));
    return quota && { ...quotaState(quota), estimatedUsd: requestedUsd };
  });
}
