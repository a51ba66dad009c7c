/** A workflow that pays a third party for each address that it looks up, and cannot overspend. */
import { proxyActivities } from '@temporalio/workflow';
import { Budget, denialOf } from 'spendlock/workflow';
import type { GeocodingActivities } from './activities';

const { geocode } = proxyActivities<GeocodingActivities>({
  startToCloseTimeout: '30 seconds',
  // Every attempt can bill, so it is `withBudget` that repeats, with a new reservation.
  retry: { maximumAttempts: 1 },
});

export interface Located {
  address: string;
  position: string;
}

export async function locateAll(input: {
  tenantId: string;
  addresses: string[];
}): Promise<{ located: Located[]; stoppedBy?: string }> {
  const { tenantId, addresses } = input;
  const budget = new Budget({ tenantId });
  const located: Located[] = [];
  try {
    for (const address of addresses) {
      const position = await budget.withBudget(
        {
          resource: 'geocoding',
          kind: 'geocoding.lookup',
          amountUsd: '0.005',
          priceVersion: 'geocoder/2026-01',
          ttlSeconds: 60,
        },
        ({ operationId }) => geocode({ tenantId, operationId, address }),
      );
      located.push({ address, position });
    }
  } catch (error) {
    const denial = denialOf(error);
    if (!denial) throw error;
    return { located, stoppedBy: `the ${denial.quota.resourceType} quota of $${denial.quota.limitUsd}` };
  } finally {
    await budget.settled();
  }
  return { located };
}
