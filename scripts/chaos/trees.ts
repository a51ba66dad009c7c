/** Runs that belong to one another and spend at once what their parent may cost only once. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetCommand } from '../../core/budget/commands';
import type { Installation } from './installation';
import { ask } from './mandates';
import type { Chance } from './random';
import type { Scene } from './scene';

/** What the parent may cost with all that belongs to it; what each call asks for; so many fit. */
const limitUsd = '0.05';
const callUsd = '0.02';
/** What puts a run on record: several of them leave as much room for calls. */
const littleUsd = '0.0001';
const fit = 2;
const childCount = 3;
const ttlSeconds = 5;
/** Their answers, or what was left behind of them, have come by then. */
const decidedMs = 3_000;

/** How many calls of a tree were granted, by who belongs to whom, whatever they were counted for. */
const grantedOf = `
  SELECT count(*)::integer AS granted FROM copilot_internal.reservations r
  JOIN copilot_internal.run_limits l ON l.tenant_id = r.tenant_id AND l.run_id = r.limit_ids[1]
  WHERE r.tenant_id = $1 AND (l.run_id = $2 OR $2 = ANY (l.ancestor_ids)) AND r.granted_usd = $3`;

/** Children and a child of a child ask by signal, and callers for them over HTTP, all at once. */
export async function treeSpends(installation: Installation, chance: Chance, { tenants, hold }: Scene): Promise<void> {
  const { tenantId } = chance.oneOf(tenants);
  const [parent = '', ...children] = Array.from({ length: 1 + childCount }, () => randomUUID());
  const grandchild = randomUUID();
  const reserve = (amountUsd: string, id: string, brings: object = {}): BudgetCommand => ({
    ...{ type: 'reserve', operationId: randomUUID(), resource: 'e2b', amountUsd, priceVersion: 'chaos', ttlSeconds },
    ...{ kind: 'external.call', runLimit: { id, ...brings } },
  });
  const limits = [
    reserve(littleUsd, parent, { limitUsd }),
    ...children.map((child) => reserve(littleUsd, child, { parentId: parent })),
    reserve(littleUsd, grandchild, { parentId: children[0] }),
  ];
  const spenders = [parent, ...children, grandchild];
  await Promise.all([
    installation.tell(tenantId, [...limits, ...spenders.map((id) => reserve(callUsd, id))]),
    ...spenders.map(async (runId) => {
      // Some before the run is on record: there is no such run then.
      await sleep(chance.between(0, 300));
      const order = { tenantId, runId, operationId: randomUUID(), amountUsd: callUsd, ttlSeconds };
      await ask(installation, installation.apiUrl, order);
    }),
  ]);
  await sleep(decidedMs);
  const { rows } = await installation.admin.query<{ granted: number }>(grantedOf, [tenantId, parent, callUsd]);
  const granted = rows[0]?.granted ?? 0;
  hold(
    'no tree of runs passes its limit',
    granted <= fit,
    () =>
      `${tenantId}: ${granted} calls of $${callUsd} were granted below the run ${parent}, which may cost $${limitUsd}`,
  );
}
