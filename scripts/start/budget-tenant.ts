/**
 * The tenant of `--budget`: a fresh one for one start. What it holds is of interest while that start runs, so it goes at its end; one
 * that spent real money stays, since its books are the only record of that money.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { SpendlockApiError } from '../../client';
import { connect, type Http } from '../../client/http';
import { listTenants } from '../../store/operator-changes';
import type { Pool } from '../../store/pool';
import { setQuotas } from '../../store/quotas';
import { createTenant } from '../../store/tenants';

export interface InstallationOfStart {
  apiUrl: string;
  apiKey: string;
  pool: Pool;
}

const idPattern = /^budget-[0-9a-f]{8}$/;
const passingName = /^A budget of \$\S+ for one start$/;

/** Makes it. One whose money is real is named so that it stays. */
export async function makeBudgetTenant(
  { pool }: InstallationOfStart,
  { budgetUsd, isReal }: { budgetUsd: string; isReal: boolean },
): Promise<string> {
  const tenantId = `budget-${randomUUID().slice(0, 8)}`;
  const name = `A budget of $${budgetUsd} ${isReal ? 'of real money' : 'for one start'}`;
  await createTenant(pool, { tenantId, name });
  const quota = { scope: 'tenant' as const, scopeId: tenantId, period: 'month' as const };
  await setQuotas(pool, { tenantId, changes: [{ ...quota, resourceType: 'all', limitUsd: budgetUsd }] });
  return tenantId;
}

/** How long a tenant may stay busy with what its run leaves to be settled. */
export const settledWithinMs = 5_000;

/** Removes those of this start, and of starts that were killed before they could. What is busy for longer goes at the next start. */
export async function removeBudgetTenants(
  { apiUrl, apiKey, pool }: InstallationOfStart,
  { busyMaxMs }: { busyMaxMs: number },
): Promise<void> {
  const http = connect({ baseUrl: apiUrl, apiKey }, settledWithinMs);
  const giveUpMs = Date.now() + busyMaxMs;
  for (const { tenantId, name } of await listTenants(pool))
    if (idPattern.test(tenantId) && passingName.test(name)) await remove(http, tenantId, giveUpMs);
}

async function remove(http: Http, tenantId: string, giveUpMs: number): Promise<void> {
  for (;;) {
    try {
      const what = { confirm: tenantId, reason: 'It was for one start.', author: 'npm start' };
      await http.post(`/v1/tenants/${tenantId}/delete`, what);
      return;
    } catch (error) {
      if (!(error instanceof SpendlockApiError && error.code === 'tenant_busy')) throw error;
      if (Date.now() > giveUpMs) return;
      await sleep(200);
    }
  }
}
