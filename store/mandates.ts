/**
 * How a tenant's mandate stands, in words that say why nothing is decided under it now; and how operators recall one, or allow one
 * again (docs/decisions/0046). What it is decided by is in `is_mandated`.
 */
import type { ClientBase } from 'pg';
import { rulesOf } from '../core/budget/rules';
import type { Decider } from './decider';
import { ownState } from './deciding-processes';
import type { WhyNotDirect } from './mandate-reasons';
import type { Operator } from './operator';
import { change, type WithReason } from './change';
import { asTenant, type Pool, type PoolClient } from './pool';

interface MandateRow {
  /** Null while only the authority decides. */
  openUntil: Date | null;
  /** The rules of the authority that recorded last; null before it ever opened one. */
  rules: string | null;
  recalledAt: Date | null;
  recalledReason: string | null;
  recalledBy: string | null;
  /** What was decided directly, from the tenant's beginning on. */
  granted: number;
  denied: number;
  /** Decimal string. */
  grantedUsd: string;
  /** Since when there is what the authority has not seen, and what it has to do before it looks. */
  unseenSince: Date | null;
  neededSince: Date | null;
}

export interface Mandate extends MandateRow {
  tenantId: string;
  /** Why the process decides nothing of the tenant by itself now; empty where it does. */
  notDirect: { code: WhyNotDirect; message: string }[];
}

/** How a tenant's mandate stands for a process. */
export const readMandate = (pool: Pool, tenantId: string, decider: Decider): Promise<Mandate> =>
  asTenant(pool, tenantId, (client) => mandateOf(client, tenantId, decider));

async function mandateOf(client: PoolClient, tenantId: string, { enforced, decides }: Decider): Promise<Mandate> {
  const rules = rulesOf(enforced);
  const { rows } = await client.query<MandateRow & { why: WhyNotDirect[] }>(
    `SELECT why, open_until AS "openUntil", rules, barred_at AS "recalledAt", barred_reason AS "recalledReason",
       barred_by AS "recalledBy", granted::float8 AS granted, denied::float8 AS denied,
       trim_scale(granted_usd)::text AS "grantedUsd", left_at AS "unseenSince", needed_at AS "neededSince"
     FROM copilot_internal.mandate_state($1, $2)`,
    [tenantId, rules],
  );
  const { why, ...row } = rows[0]!;
  const codes = [...ofProcess(decides ? await ownState(client) : 'off'), ...why];
  const notDirect = codes.map((code) => ({ code, message: wordsOf(code, { ...row, tenantId, here: rules }) }));
  return { tenantId, ...row, notDirect };
}

/** What keeps a process from deciding, whatever the tenant. */
const ofProcess = (state: string | undefined): WhyNotDirect[] =>
  (['off', 'far', 'standing'] as const).filter((code) => code === state);

const opens =
  'Its authority opens one once three reserves come to it within a minute, unless its workers have SPENDLOCK_MANDATES=off.';
const itself = 'until then its authority takes every decision';

export const allowCommand = (tenantId: string): string => `npx spendlock budget mandates ${tenantId} --allow`;

/** By whom and why a mandate was recalled. */
export const recalledWords = ({
  recalledBy,
  recalledReason,
}: Pick<MandateRow, 'recalledBy' | 'recalledReason'>): string =>
  [recalledBy === null ? '' : ` by ${recalledBy}`, recalledReason === null ? '' : `: ${recalledReason}`].join('');

function wordsOf(code: WhyNotDirect, mandate: MandateRow & { tenantId: string; here: string }): string {
  const { tenantId, openUntil, rules, recalledAt, here } = mandate;
  switch (code) {
    case 'off':
      return 'SPENDLOCK_MANDATES is off in this process: all that it is asked goes to the authority.';
    case 'far':
      return 'The way of this process to Postgres is too long: it signals, so that the tenant’s lock is not held for as long.';
    case 'standing':
      return 'This process stood still a moment ago: it signals for some seconds, so that nobody waits for it under the tenant’s lock.';
    case 'recalled':
      return `It was recalled at ${recalledAt?.toISOString()}${recalledWords(mandate)}. None is opened before that is allowed: ${allowCommand(tenantId)}`;
    case 'never_opened':
      return `The tenant has not asked often enough. ${opens}`;
    case 'closed':
      return `It is closed: the worker that recorded last has SPENDLOCK_MANDATES off, other rules or the version before, or it was recalled and none was opened since. ${opens}`;
    case 'run_out':
      return `It ran out at ${openUntil?.toISOString()}: nobody decided under it for some minutes, or its authority did not look. ${opens}`;
    case 'other_rules':
      return `It is open for other rules (${rules}) than those of this process (${here}). Give workers and API one version, one ENFORCE_COST_QUOTAS and one ENFORCE_E2B_QUOTAS.`;
    case 'platform_waited_for':
      return `A call needs more of the platform’s quota than is free: ${itself}, so that nobody takes what is drawn for another.`;
  }
}

interface MandateOrder extends WithReason {
  tenantId: string;
  by: Operator;
  /** Recalled, or allowed again. */
  to: 'recalled' | 'allowed';
  decider: Decider;
  /** The last statement of the transaction: a repeat finds what came after the first one. */
  keepWith?: (client: PoolClient, ordered: OrderedMandate) => Promise<void>;
}

export interface OrderedMandate extends Mandate {
  /** Whether it was recalled before the order. */
  wasRecalled: boolean;
}

/**
 * Recalls a tenant's mandate, or allows one again. Once a recall has returned nothing is decided under a mandate. To allow what
 * was not recalled changes nothing, and is not noted. Undefined when there is no such tenant.
 */
export async function orderMandate(pool: Pool, order: MandateOrder): Promise<OrderedMandate | undefined> {
  const { tenantId, by, reason, to, decider, keepWith } = order;
  const action = to === 'recalled' ? 'recall_mandate' : 'allow_mandate';
  let ordered: OrderedMandate | undefined;
  // Who recalled it is told by the audit, which is written by then.
  const finish = async (client: PoolClient, { wasRecalled }: { wasRecalled: boolean }): Promise<void> => {
    ordered = { ...(await mandateOf(client, tenantId, decider)), wasRecalled };
    await keepWith?.(client, ordered);
  };
  await change(pool, { tenantId, by, action, details: { reason }, finish }, async (client) => {
    const before = await mandateOf(client, tenantId, decider);
    const wasRecalled = before.recalledAt !== null;
    if (to === 'recalled' || wasRecalled) {
      const words = to === 'recalled' ? (reason ?? before.recalledReason ?? '') : null;
      await client.query('SELECT copilot_internal.bar_mandate($1, $2)', [tenantId, words]);
      return { wasRecalled };
    }
    ordered = { ...before, wasRecalled };
    return undefined;
  });
  return ordered;
}

/** Tenants that stand alike: nothing is decided directly for these reasons, or for none. */
export interface MandateGroup {
  why: WhyNotDirect[];
  tenants: number;
  /** The first by name. */
  named: (Pick<MandateRow, 'recalledBy' | 'recalledReason'> & { tenantId: string; recalledAt: string | null })[];
  /** Of how many the authority has not done for a while what was left to it. */
  late: number;
}

/** How all tenants' mandates stand for processes of these rules. Administration's look across tenants. */
export async function readMandateGroups(
  client: ClientBase,
  { enforced }: Pick<Decider, 'enforced'>,
  namedMax: number,
): Promise<MandateGroup[]> {
  const { rows } = await client.query<MandateGroup>(
    'SELECT why, tenants, named, late FROM copilot_internal.mandate_states($1, $2)',
    [rulesOf(enforced), namedMax],
  );
  return rows;
}
