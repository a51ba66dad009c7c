/** What a gate needs to know of a tenant before it lets a request in. */
import type { Freeze } from '../core/budget/denials';
import type { Place } from '../core/budget/line';
import type { Labels } from '../core/labels';
import { wasAnswered } from './idempotent-requests';
import { placesIn } from './money-waiters';
import { planned } from './planned';
import { asTenant, type Pool, type PoolClient } from './pool';
import type { StoredQuota } from './quota-rows';
import { isOwn, selectQuotas } from './quotas';

/** The Idempotency-Key of a request, if it has one, and whose it is: a tenant's, or the administration's. */
export interface RepeatOf {
  tenantId: string | undefined;
  idempotencyKey: string | undefined;
}

/** Who asks at a gate. A payer may be known by the conversation only. */
interface GateQuery {
  tenantId: string;
  userId?: string | undefined;
  repeatOf?: RepeatOf | undefined;
  conversationId?: string | undefined;
  /** What it is for, as far as that is known: limits of labels count too. */
  labels?: Labels | undefined;
}

/** How the payer of a request stands. */
export interface GateState {
  /** Those of the tenant's own quotas that bind it. */
  quotas: StoredQuota[];
  /** What the platform's quotas are of, which bind it too; how they stand is not told. */
  ofPlatform: string[];
  /** For whom some of the tenant's money is kept. */
  line: readonly Place[];
  /** Whether the request was answered before, under its Idempotency-Key. */
  answered: boolean;
  /** Whether its conversation waits for money instead of being denied. */
  waits: boolean;
  /** Whose the conversation is. */
  userId?: string | undefined;
  /** Why the payer may not reserve for now; absent when it may. */
  frozen?: Freeze | undefined;
  /** The moment of all this, by Postgres' clock. */
  nowMs: number;
}

/** All that a gate needs, in one round trip. */
export async function readGate(pool: Pool, query: GateQuery): Promise<GateState> {
  const { tenantId, repeatOf } = query;
  const repeat =
    repeatOf?.idempotencyKey === undefined ? undefined : { ...repeatOf, idempotencyKey: repeatOf.idempotencyKey };
  const isTenants = repeat?.tenantId === tenantId;
  // What the administration was answered is not the tenant's to see.
  const answeredElsewhere =
    repeat && !isTenants
      ? asTenant(pool, repeat.tenantId ?? '', (client, commitWith) => commitWith(wasAnswered(client, repeat)))
      : false;
  const gate = asTenant(pool, tenantId, async (client, commitWith) => {
    const [quotas, ofPlatform, line, answered, conversation, payer] = await commitWith(
      Promise.all([
        quotasOfPayer(client, query),
        resourcesOfPlatform(client),
        placesIn(client, tenantId),
        repeat && isTenants ? wasAnswered(client, repeat) : false,
        conversationOf(client, query),
        payerOf(client, query),
      ]),
    );
    const { userId, waits = false } = conversation ?? {};
    return {
      quotas: quotas.filter(isOwn),
      ofPlatform,
      line,
      answered,
      waits,
      userId: userId ?? undefined,
      frozen: freezeFrom(tenantId, payer),
      nowMs: payer?.nowMs ?? Date.now(),
    };
  });
  const [read, elsewhere] = await Promise.all([gate, answeredElsewhere]);
  return { ...read, answered: read.answered || elsewhere };
}

/** Who pays, in SQL: the user that is named, or else the conversation's. */
const payer = (userId: string, conversationId: string): string =>
  `coalesce(${userId}, (SELECT r.user_id FROM copilot_internal.runs r WHERE r.run_id = ${conversationId}::uuid))`;

const quotasOfPayer = (
  client: PoolClient,
  { tenantId, userId, conversationId, labels }: GateQuery,
): Promise<StoredQuota[]> =>
  selectQuotas(client, tenantId, {
    users: `ARRAY[${payer('$2', '$3')}]`,
    values: [userId ?? null, conversationId ?? null],
    labels: labels ? [labels] : [],
  });

async function resourcesOfPlatform(client: PoolClient): Promise<string[]> {
  const { rows } = await client.query<{ resourceType: string }>(
    planned(
      'SELECT DISTINCT resource_type AS "resourceType" FROM copilot_internal.cost_quotas WHERE tenant_id IS NULL',
      [],
    ),
  );
  return rows.map(({ resourceType }) => resourceType);
}

async function conversationOf(
  client: PoolClient,
  { conversationId }: GateQuery,
): Promise<{ userId: string | null; waits: boolean } | undefined> {
  if (conversationId === undefined) return undefined;
  const { rows } = await client.query<{ userId: string | null; waits: boolean }>(
    `SELECT user_id AS "userId", coalesce(options ->> 'onDenied' IN ('wait', 'ask'), false) AS waits
     FROM copilot_internal.runs WHERE run_id = $1`,
    [conversationId],
  );
  return rows[0];
}

interface Payer {
  /** Of the tenant; null when it is not frozen. */
  tenantReason: string | null;
  /** Of the user that pays; null when there is none, or it is not frozen itself. */
  frozenUser: { userId: string; reason: string } | null;
  nowMs: number;
}

/** A tenant's own freeze goes before that of its user: it has to be lifted first. */
function freezeFrom(tenantId: string, payer: Payer | undefined): Freeze | undefined {
  if (payer?.tenantReason != null) return { tenantId, reason: payer.tenantReason };
  return payer?.frozenUser ? { tenantId, ...payer.frozenUser } : undefined;
}

/** Why a payer may not reserve for now, within the caller's transaction; undefined when it may. */
export const freezeOf = async (
  client: PoolClient,
  asked: Pick<GateQuery, 'tenantId' | 'userId'>,
): Promise<Freeze | undefined> => freezeFrom(asked.tenantId, await payerOf(client, asked));

/** Undefined when there is no such tenant. */
async function payerOf(
  client: PoolClient,
  { tenantId, userId, conversationId }: GateQuery,
): Promise<Payer | undefined> {
  const { rows } = await client.query<Payer>(
    planned(
      `SELECT CASE WHEN t.frozen_at IS NOT NULL THEN coalesce(t.frozen_reason, '') END AS "tenantReason",
            (SELECT jsonb_build_object('userId', f.user_id, 'reason', f.frozen_reason) FROM copilot_internal.frozen_users f
             WHERE f.tenant_id = t.tenant_id AND f.user_id = ${payer('$2', '$3')}) AS "frozenUser",
            floor(extract(epoch FROM now()) * 1000)::float8 AS "nowMs"
     FROM copilot_internal.tenants t WHERE t.tenant_id = $1`,
      [tenantId, userId ?? null, conversationId ?? null],
    ),
  );
  return rows[0];
}
