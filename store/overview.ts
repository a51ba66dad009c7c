/** How a tenant stands: what an operator looks at first, read in one transaction so that its figures fit each other. */
import type { BindingQuota, Resource } from '../core/budget/commands';
import { dayMs } from '../core/budget/periods';
import { alertsOf, type Alert } from './audit';
import { databaseLimits } from './connections';
import { asTenantTaking, type Pool, type PoolClient } from './pool';
import { columnsOf, type RequestView } from './reservation-rows';
import { reservationsOf, type PlacedReservation } from './reservations';
import { frozenOf, type Frozen } from './frozen';
import type { StoredQuota } from './quota-rows';
import { ownQuotasOf, type OwnQuotas } from './quotas';
import { shadowsOf } from './shadow-quotas';
import { labelKeysOf, usageOf, type UsageLine } from './usage';

const denialFields = [
  'operationId',
  'runId',
  'workflowId',
  'userId',
  'kind',
  'resource',
  'model',
  'requestedUsd',
] as const;

/** A request that was refused money: by a quota, or because its payer is frozen. */
export interface DenialRecord extends RequestView<(typeof denialFields)[number]> {
  /** In words. */
  reason: string;
  /** The quota that stood in the way. */
  quota: BindingQuota | null;
  deniedAt: Date;
}

/** A step that was denied and waits for money, of a run or of a workflow of one's own. */
export interface WaitingStep {
  workflowId: string;
  runId: string | null;
  userId: string | null;
  resource: Resource;
  /** The least that it can use. */
  neededUsd: string;
  since: Date;
}

export interface TenantOverview extends Frozen, OwnQuotas {
  tenantId: string;
  name: string;
  /** When it was made. */
  createdAt: Date;
  /** Limits that are only watched. */
  shadowQuotas: StoredQuota[];
  /** Since `from`. */
  spend: {
    from: Date;
    byDay: UsageLine[];
    byModel: UsageLine[];
    byUser: UsageLine[];
    byKind: UsageLine[];
    byResource: UsageLine[];
    labelKeys: string[];
  };
  denials: DenialRecord[];
  alerts: Alert[];
  holds: PlacedReservation[];
  /** In the order in which money comes to them. */
  waiting: WaitingStep[];
  open: { runs: number; conversations: number; waitingForMoney: number; sandboxes: number; approvals: number };
}

const latestMax = 20;
const holdsMax = 100;
const waitingMax = 100;

/** Undefined when there is no such tenant. Spend is summed from `from`, a day's beginning in UTC, to `now`. */
export async function readOverview(
  pool: Pool,
  { tenantId, from, now }: { tenantId: string; from: Date; now: Date },
): Promise<TenantOverview | undefined> {
  return asTenantTaking(databaseLimits.patientMs)(pool, tenantId, async (client) => {
    // What is posted while this is read belongs to it too.
    const to = new Date(Math.ceil(now.getTime() / dayMs) * dayMs);
    const usage = (groupBy: 'day' | 'model' | 'user' | 'kind' | 'resource'): Promise<UsageLine[]> =>
      usageOf(client, { tenantId, from, to, groupBy });
    const [
      tenant,
      frozen,
      own,
      shadowQuotas,
      byDay,
      byModel,
      byUser,
      byKind,
      byResource,
      labelKeys,
      denials,
      alerts,
      holds,
      waiting,
      open,
    ] = await Promise.all([
      client.query<{ name: string; createdAt: Date }>(
        'SELECT name, created_at AS "createdAt" FROM copilot_internal.tenants WHERE tenant_id = $1',
        [tenantId],
      ),
      frozenOf(client, tenantId),
      ownQuotasOf(client, tenantId),
      shadowsOf(client, tenantId),
      usage('day'),
      usage('model'),
      usage('user'),
      usage('kind'),
      usage('resource'),
      labelKeysOf(client, tenantId),
      latestDenials(client, tenantId),
      alertsOf(client, tenantId, { limit: latestMax }),
      reservationsOf(client, tenantId, { limit: holdsMax }),
      waitingOf(client, tenantId),
      countOpen(client, tenantId),
    ]);
    const [found] = tenant.rows;
    if (!found) return undefined;
    return {
      tenantId,
      ...found,
      ...frozen,
      ...own,
      shadowQuotas,
      spend: { from, byDay, byModel, byUser, byKind, byResource, labelKeys },
      denials,
      alerts,
      holds,
      waiting,
      open,
    };
  });
}

async function latestDenials(client: PoolClient, tenantId: string): Promise<DenialRecord[]> {
  const { rows } = await client.query<DenialRecord>(
    `SELECT ${columnsOf(denialFields)}, refusal ->> 'message' AS reason, refusal -> 'quota' AS quota, decided_at AS "deniedAt"
     FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND status IN ('denied', 'rejected')
       AND (status = 'denied' OR refusal ->> 'code' = 'budget_frozen')
     ORDER BY decided_at DESC LIMIT ${latestMax}`,
    [tenantId],
  );
  return rows;
}

async function waitingOf(client: PoolClient, tenantId: string): Promise<WaitingStep[]> {
  const { rows } = await client.query<WaitingStep>(
    `SELECT workflow_id AS "workflowId", run_id AS "runId", user_id AS "userId", resource,
            trim_scale(needed_usd)::text AS "neededUsd", waiting_since AS since
     FROM copilot_internal.money_waiters WHERE tenant_id = $1 ORDER BY waiting_since, waiter_id LIMIT ${waitingMax}`,
    [tenantId],
  );
  return rows;
}

async function countOpen(client: PoolClient, tenantId: string): Promise<TenantOverview['open']> {
  const { rows } = await client.query<TenantOverview['open']>(
    `SELECT count(*) FILTER (WHERE type = 'task')::integer AS runs,
            count(*) FILTER (WHERE type = 'conversation')::integer AS conversations,
            (count(*) FILTER (WHERE waiting IS NOT NULL)
             + (SELECT count(*) FROM copilot_internal.money_waiters WHERE tenant_id = $1 AND run_id IS NULL))::integer AS "waitingForMoney",
            (SELECT count(*)::integer FROM copilot_internal.reservations
             WHERE tenant_id = $1 AND status = 'granted' AND kind LIKE 'sandbox.%' AND claimed_at IS NOT NULL AND outcome IS NULL) AS sandboxes,
            (SELECT count(*)::integer FROM copilot_internal.approvals WHERE tenant_id = $1 AND status = 'pending') AS approvals
     FROM copilot_internal.runs WHERE tenant_id = $1 AND status = 'running'`,
    [tenantId],
  );
  return rows[0] ?? { runs: 0, conversations: 0, waitingForMoney: 0, sandboxes: 0, approvals: 0 };
}
