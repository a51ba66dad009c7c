/** Tenants and their quotas. A new tenant gets its default quotas from a trigger. */
import type { BindingQuota } from '../core/budget/commands';
import type { Period } from '../core/budget/periods';
import { addApiKey, hasApiKey, holdApiKey } from './api-keys';
import { databaseLimits } from './connections';
import { wasAnswered } from './idempotent-requests';
import { asTenant, asTenantTaking, type Pool, type PoolClient } from './pool';

export interface Tenant {
  tenantId: string;
  name: string;
  createdAt: Date;
}

/** A quota as people read it: amounts as decimal strings, in the period around now. */
export interface QuotaView {
  scope: BindingQuota['scope'];
  scopeId: string;
  resourceType: BindingQuota['resourceType'];
  period: Period;
  limitUsd: string;
  spentUsd: string;
  reservedUsd: string;
  /** What is added to the limit until the period ends. */
  topupUsd: string;
  warningThreshold: number;
  moreWarningThresholds: number[];
  periodStart: Date;
  periodEnd: Date;
  /** Its period had ended, and it is shown as the next one begins. */
  wasEnded?: boolean;
}

/** Who may not reserve for now, and why. */
export interface Frozen {
  /** Of the whole tenant; null when it is not frozen. */
  frozenReason: string | null;
  /** Its users that are frozen themselves, the first hundred by name. */
  frozenUsers: { userId: string; reason: string }[];
}

/** Not a lease of the platform's quota, which is drawn as it is needed and so is no limit of the tenant's. */
export const isOwn = ({ scope }: Pick<QuotaView, 'scope'>): boolean => scope !== 'platform';

/** What names a quota of a tenant. */
export interface QuotaKey {
  scope: 'tenant' | 'user';
  scopeId: string;
  resourceType: QuotaView['resourceType'];
  period: Period;
}

export interface QuotaChange extends QuotaKey {
  limitUsd: string;
  warningThreshold?: number | undefined;
  /** More thresholds to warn at. */
  moreWarningThresholds?: readonly number[] | undefined;
}

/** Makes a tenant. Undefined when there is one of that id already; nothing is changed then. */
export async function createTenant(pool: Pool, order: NewTenant): Promise<Tenant | undefined> {
  return asTenant(pool, order.tenantId, (client) => addTenant(client, order));
}

export interface NewTenant {
  tenantId: string;
  name?: string | undefined;
}

async function addTenant(client: PoolClient, { tenantId, name = '' }: NewTenant): Promise<Tenant | undefined> {
  const { rows } = await client.query<{ created_at: Date }>(
    `INSERT INTO copilot_internal.tenants (tenant_id, name) VALUES ($1, $2)
     ON CONFLICT DO NOTHING RETURNING created_at`,
    [tenantId, name],
  );
  return rows[0] && { tenantId, name, createdAt: rows[0].created_at };
}

/**
 * Makes a tenant with its first key for an operator, and notes it: all of it or nothing. `exists` when there is one of that id
 * that this same order did not make.
 * @throws KeyEndedError when the operator's own key is revoked.
 */
export async function orderTenant(
  pool: Pool,
  { by, key, ...order }: NewTenant & { by: { apiKeyId: string; author: string }; key: string },
): Promise<'made' | 'exists'> {
  const { tenantId, name } = order;
  return asTenant(pool, tenantId, async (client) => {
    await holdApiKey(client, by.apiKeyId);
    const made = await addTenant(client, order);
    // A repeat of an order that was not answered finds its own key.
    if (!made) return (await hasApiKey(client, key)) ? 'made' : 'exists';
    await addApiKey(client, { tenantId, key, label: 'made with the tenant' });
    await client.query(
      `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
       VALUES ($1, $2, $3, 'create_tenant', $4)`,
      [tenantId, by.apiKeyId, by.author, JSON.stringify({ tenantId, ...(name === undefined ? {} : { name }) })],
    );
    return 'made';
  });
}

/**
 * Deletes a tenant with all that is its own, and notes it in the administration's audit. `busy` while a run is open or money is held:
 * nothing is changed then, nor when there is no such tenant.
 */
export async function deleteTenant(
  pool: Pool,
  {
    tenantId,
    apiKeyId,
    author,
    reason,
  }: { tenantId: string; apiKeyId?: string | undefined; author: string; reason: string },
): Promise<'deleted' | 'busy' | 'unknown'> {
  return asTenantTaking(databaseLimits.longStatementMs)(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ outcome: 'deleted' | 'busy' | 'unknown' }>(
      'SELECT copilot_internal.delete_tenant($1, $2, $3, $4) AS outcome',
      [tenantId, apiKeyId ?? null, author, reason],
    );
    return rows[0]?.outcome ?? 'unknown';
  });
}

export async function tenantExists(pool: Pool, tenantId: string): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    const { rowCount } = await client.query(
      'SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 AND deleted_at IS NULL',
      [tenantId],
    );
    return rowCount === 1;
  });
}

/** What a step of the tenant does when its authority does not answer in time, and how long that is. */
export interface TenantPolicy {
  onUnavailable: 'wait' | 'deny' | 'allow';
  answerTimeoutMs: number;
}

/** Undefined when there is no such tenant. */
export async function readPolicy(pool: Pool, tenantId: string): Promise<TenantPolicy | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<TenantPolicy>(
      `SELECT on_unavailable AS "onUnavailable", answer_timeout_ms AS "answerTimeoutMs"
       FROM copilot_internal.tenants WHERE tenant_id = $1`,
      [tenantId],
    );
    return rows[0];
  });
}

/**
 * The quotas that bind a tenant and these users of it. One of scope `platform` is its own lease of the platform's quota: what others
 * spend is not its to know. One whose period has ended shows the current period, with nothing spent, as the next decision will make it.
 */
export async function listQuotas(pool: Pool, tenantId: string, userIds: readonly string[]): Promise<QuotaView[]> {
  return asTenant(pool, tenantId, (client) => quotasOf(client, tenantId, userIds));
}

/** A tenant's own quotas, as far as they are shown at once. Leases of the platform's quotas are no limits of its own. */
export interface OwnQuotas {
  quotas: QuotaView[];
  /** How many quotas of users there are beyond those. */
  moreUserQuotas: number;
}

/** The tenant's own quotas, of these users or of the first by name, and who is frozen, as they stand together. */
export async function readBudget(
  pool: Pool,
  tenantId: string,
  userIds?: readonly string[],
): Promise<Frozen & OwnQuotas> {
  return asTenant(pool, tenantId, async (client) => {
    const [own, frozen] = await Promise.all([ownQuotasOf(client, tenantId, userIds), frozenOf(client, tenantId)]);
    return { ...own, ...frozen };
  });
}

/** Who is frozen, within the caller's transaction. */
export async function frozenOf(client: PoolClient, tenantId: string): Promise<Frozen> {
  const { rows } = await client.query<Frozen>(
    `SELECT CASE WHEN t.frozen_at IS NOT NULL THEN coalesce(t.frozen_reason, '') END AS "frozenReason",
            coalesce((SELECT jsonb_agg(jsonb_build_object('userId', f.user_id, 'reason', f.frozen_reason) ORDER BY f.user_id)
                      FROM (SELECT user_id, frozen_reason FROM copilot_internal.frozen_users
                            WHERE tenant_id = t.tenant_id ORDER BY user_id LIMIT 100) AS f),
                     '[]') AS "frozenUsers"
     FROM copilot_internal.tenants t WHERE t.tenant_id = $1`,
    [tenantId],
  );
  return rows[0] ?? { frozenReason: null, frozenUsers: [] };
}

/**
 * The tenant's own quotas, whether a request was answered before under its Idempotency-Key, and whose a conversation is
 * and whether it waits for money instead of being denied, and who is frozen: what a gate needs, in one round trip.
 */
export async function readGate(
  pool: Pool,
  {
    tenantId,
    userId: payer,
    repeatOf,
    conversationId,
  }: {
    tenantId: string;
    userId?: string | undefined;
    repeatOf?: RepeatOf | undefined;
    conversationId?: string | undefined;
  },
): Promise<{
  quotas: QuotaView[];
  answered: boolean;
  waits: boolean;
  userId?: string | undefined;
  frozenReason?: string | undefined;
}> {
  const repeat =
    repeatOf?.idempotencyKey === undefined ? undefined : { ...repeatOf, idempotencyKey: repeatOf.idempotencyKey };
  const isTenants = repeat?.tenantId === tenantId;
  // What the administration was answered is not the tenant's to see.
  const answeredElsewhere =
    repeat && !isTenants
      ? asTenant(pool, repeat.tenantId ?? '', (client, commitWith) => commitWith(wasAnswered(client, repeat)))
      : false;
  const gate = asTenant(pool, tenantId, async (client, commitWith) => {
    const both = Promise.all([
      gateQuotasOf(client, { tenantId, payer, conversationId }),
      repeat && isTenants ? wasAnswered(client, repeat) : false,
      conversationId === undefined
        ? undefined
        : client.query<{ userId: string | null; waits: boolean }>(
            `SELECT user_id AS "userId", coalesce(options ->> 'onDenied' = 'wait', false) AS waits
             FROM copilot_internal.runs WHERE run_id = $1`,
            [conversationId],
          ),
      client.query<{ reason: string | null }>(
        `SELECT CASE WHEN t.frozen_at IS NOT NULL THEN coalesce(t.frozen_reason, '')
                ELSE (SELECT f.frozen_reason FROM copilot_internal.frozen_users f
                      WHERE f.tenant_id = t.tenant_id AND f.user_id =
                        coalesce($2, (SELECT r.user_id FROM copilot_internal.runs r WHERE r.run_id = $3::uuid))) END AS reason
         FROM copilot_internal.tenants t WHERE t.tenant_id = $1`,
        [tenantId, payer ?? null, conversationId ?? null],
      ),
    ]);
    const [quotas, answered, conversation, frozen] = await commitWith(both);
    const { userId, waits = false } = conversation?.rows[0] ?? {};
    return {
      quotas: quotas.filter(isOwn),
      answered,
      waits,
      userId: userId ?? undefined,
      frozenReason: frozen.rows[0]?.reason ?? undefined,
    };
  });
  const [read, elsewhere] = await Promise.all([gate, answeredElsewhere]);
  return { ...read, answered: read.answered || elsewhere };
}

/** The Idempotency-Key of a request, if it has one, and whose it is: a tenant's, or the administration's. */
export interface RepeatOf {
  tenantId: string | undefined;
  idempotencyKey: string | undefined;
}

/** Quotas of a tenant; of which users, a condition on `q.scope_id` says, whose parameters follow the tenant. */
async function selectQuotas(
  client: PoolClient,
  tenantId: string,
  { ofUsers, values = [], max }: { ofUsers: string; values?: readonly unknown[]; max?: number },
): Promise<QuotaView[]> {
  const { rows } = await client.query<QuotaRow>(
    `SELECT q.scope, q.scope_id, q.resource_type, q.period, trim_scale(q.limit_usd)::text AS limit_usd,
            CASE WHEN q.period_end <= now() THEN '0' ELSE trim_scale(q.topup_usd)::text END AS topup_usd,
            q.more_warning_thresholds::float8[] AS more_warning_thresholds,
            CASE WHEN q.period_end <= now() THEN '0' ELSE trim_scale(q.current_spend_usd)::text END AS spent_usd,
            trim_scale(q.reserved_usd)::text AS reserved_usd, q.warning_threshold::float8 AS warning_threshold,
            b.period_start, b.period_end, q.period_end <= now() AS was_ended
     FROM copilot_internal.cost_quotas q,
          copilot_internal.period_bounds(q.period, greatest(now(), q.period_start)) AS b
     WHERE q.tenant_id = $1 AND (q.scope IN ('platform', 'tenant') OR (q.scope = 'user' AND ${ofUsers}))
     ORDER BY q.scope, q.scope_id, q.resource_type, q.period ${max === undefined ? '' : `LIMIT ${max}`}`,
    [tenantId, ...values],
  );
  return rows.map(viewOf);
}

/** `listQuotas` within the caller's transaction. */
const quotasOf = (client: PoolClient, tenantId: string, userIds: readonly string[]): Promise<QuotaView[]> =>
  selectQuotas(client, tenantId, { ofUsers: 'q.scope_id = ANY ($2)', values: [userIds] });

/** Those that bind one payer, who may be known by the conversation only. */
const gateQuotasOf = (
  client: PoolClient,
  {
    tenantId,
    payer,
    conversationId,
  }: { tenantId: string; payer?: string | undefined; conversationId?: string | undefined },
): Promise<QuotaView[]> =>
  selectQuotas(client, tenantId, {
    ofUsers: 'q.scope_id = coalesce($2, (SELECT r.user_id FROM copilot_internal.runs r WHERE r.run_id = $3::uuid))',
    values: [payer ?? null, conversationId ?? null],
  });

/** As many quotas are shown at once. Those of the tenant itself come first, and are fewer. */
const shownMax = 500;

/** The tenant's own, and those of these users, or the first by name. */
export async function ownQuotasOf(
  client: PoolClient,
  tenantId: string,
  userIds?: readonly string[],
): Promise<OwnQuotas> {
  if (userIds) return { quotas: (await quotasOf(client, tenantId, userIds)).filter(isOwn), moreUserQuotas: 0 };
  const [all, counted] = await Promise.all([
    selectQuotas(client, tenantId, { ofUsers: 'true', max: shownMax }),
    client.query<{ ofUsers: number }>(
      `SELECT count(*)::integer AS "ofUsers" FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'user'`,
      [tenantId],
    ),
  ]);
  const shown = all.filter(({ scope }) => scope === 'user').length;
  return { quotas: all.filter(isOwn), moreUserQuotas: (counted.rows[0]?.ofUsers ?? 0) - shown };
}

export interface QuotaRow {
  scope: QuotaView['scope'];
  scope_id: string;
  resource_type: QuotaView['resourceType'];
  period: Period;
  limit_usd: string;
  topup_usd: string;
  more_warning_thresholds: number[];
  spent_usd: string;
  reserved_usd: string;
  warning_threshold: number;
  period_start: Date;
  period_end: Date;
  was_ended?: boolean;
}

export const viewOf = (row: QuotaRow): QuotaView => ({
  scope: row.scope,
  scopeId: row.scope_id,
  resourceType: row.resource_type,
  period: row.period,
  limitUsd: row.limit_usd,
  spentUsd: row.spent_usd,
  reservedUsd: row.reserved_usd,
  topupUsd: row.topup_usd,
  warningThreshold: row.warning_threshold,
  moreWarningThresholds: row.more_warning_thresholds,
  periodStart: row.period_start,
  periodEnd: row.period_end,
  ...(row.was_ended ? { wasEnded: true } : {}),
});

/**
 * Sets limits, with an audit entry, all or none. A quota that is new starts with what its payers have already spent in
 * the period and hold reserved, so that making one late does not forget. False when there is no such tenant.
 */
export async function setQuotas(
  pool: Pool,
  {
    tenantId,
    changes,
    apiKeyId,
    author = apiKeyId === undefined ? undefined : `API key ${apiKeyId}`,
  }: {
    tenantId: string;
    changes: readonly QuotaChange[];
    apiKeyId?: string | undefined;
    author?: string | undefined;
  },
): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    const userIds = [...new Set(changes.flatMap(({ scope, scopeId }) => (scope === 'user' ? [scopeId] : [])))];
    const { rows } = await client.query<{ known: boolean }>('SELECT copilot_internal.lock_quotas($1, $2) AS known', [
      tenantId,
      userIds,
    ]);
    if (!rows[0]?.known) return false;
    for (const change of changes) await setQuota(client, tenantId, change);
    await client.query(
      `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
       VALUES ($1, $2, $3, 'set_quotas', $4)`,
      [tenantId, apiKeyId ?? null, author ?? null, JSON.stringify(changes)],
    );
    return true;
  });
}

async function setQuota(client: PoolClient, tenantId: string, change: QuotaChange): Promise<void> {
  await client.query(
    `INSERT INTO copilot_internal.cost_quotas AS q (tenant_id, scope, scope_id, resource_type, period, limit_usd,
       warning_threshold, more_warning_thresholds, period_start, period_end, current_spend_usd, reserved_usd)
     SELECT $1, $2, $3, $4, $5, $6::numeric, coalesce($7::numeric, 0.80), coalesce($8::numeric[], '{}'), b.period_start, b.period_end,
       (SELECT coalesce(sum(amount_usd), 0) FROM copilot_internal.cost_records
        WHERE tenant_id = $1 AND posted_at >= b.period_start AND posted_at < b.period_end
          AND ($4 = 'all' OR resource = $4) AND ($2 = 'tenant' OR user_id = $3)),
       (SELECT coalesce(sum(granted_usd), 0) FROM copilot_internal.reservations
        WHERE tenant_id = $1 AND status = 'granted'
          AND ($4 = 'all' OR resource = $4) AND ($2 = 'tenant' OR user_id = $3))
     FROM copilot_internal.period_bounds($5, clock_timestamp()) AS b
     ON CONFLICT (tenant_id, scope, scope_id, resource_type, period) DO UPDATE
     SET limit_usd = excluded.limit_usd, warning_threshold = coalesce($7::numeric, q.warning_threshold),
         more_warning_thresholds = coalesce($8::numeric[], q.more_warning_thresholds), from_default = false,
         updated_at = clock_timestamp()`,
    [
      tenantId,
      change.scope,
      change.scopeId,
      change.resourceType,
      change.period,
      change.limitUsd,
      change.warningThreshold ?? null,
      change.moreWarningThresholds ?? null,
    ],
  );
}
