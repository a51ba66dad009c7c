/** `npx spendlock doctor --books`: whether rows, balances, ledger, sums by day and leases agree, of one tenant after the other. */
import { counted } from '../core/counted';
import { lookAtBooks, lookAtLeases, type Difference } from '../store/books';
import { listTenants } from '../store/operator-changes';
import { withDatabase } from './database';
import { differenceColumns } from './repair';
import { show, table, type Column } from './output';
import { workerEnvironment } from './target';

type Found = Difference & { tenantId: string | null };

const columns: Column<Found>[] = [{ name: 'tenant', of: ({ tenantId }) => tenantId ?? '–' }, ...differenceColumns];

/** Looks at the books, says what it found, and answers whether they agree. */
export async function lookAtAllBooks({ json }: { json: boolean }): Promise<boolean> {
  return withDatabase(workerEnvironment(process.env), { orElse: ', or run `npm start` here' }, async (pool) => {
    const differences: Found[] = (await lookAtLeases(pool)).map((one) => ({ tenantId: null, ...one }));
    const tenants = await listTenants(pool);
    for (const { tenantId } of tenants)
      for (const one of await lookAtBooks(pool, tenantId)) differences.push({ tenantId, ...one });
    const agree = `The books agree (${counted(tenants.length, 'tenant')}): rows, balances, ledger, sums by day and leases.`;
    show(json, { tenants: tenants.length, differences }, () =>
      [
        table(columns, differences, agree),
        ...(differences.length === 0
          ? []
          : ['`npx spendlock budget repair TENANT` shows what can be mended, and how.']),
      ].join('\n'),
    );
    return differences.length === 0;
  });
}
