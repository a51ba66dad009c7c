/** `npx spendlock budget adjust` and `reconcile`: what an operation cost is put right. */
import { InvalidArgumentError, type Command } from 'commander';
import { connect } from './api';
import { amount, author, reasonOption, tenantPath, uuid } from './options';
import { show, table, usd, type Column } from './output';

interface Json {
  json?: boolean;
}

export function addCorrections(budget: Command): void {
  budget
    .command('adjust')
    .argument('<tenant>')
    .argument('<operation>', 'its id', uuid)
    .argument('<usd>', 'what it cost in US dollars', amount)
    .description('corrects what an operation cost, by an entry of the difference')
    .addOption(reasonOption())
    .action(correct);
  budget
    .command('reconcile')
    .argument('<tenant>')
    .argument('[operation]', 'its id', uuid)
    .argument('[usd]', 'what the provider billed in US dollars', amount)
    .description('lists the settlements whose cost nobody knows, or settles one at what the provider billed')
    .option('--reason <words>', 'why, for the audit', 'reconciled with the provider')
    .addHelpText('after', '\nExample: npx spendlock budget reconcile acme 6f1c… 0.0173 --reason "invoice 2026-11"')
    .action(
      async (
        tenantId: string,
        operation: string | undefined,
        usdText: string | undefined,
        options: Json & { reason: string },
      ) => {
        if (operation !== undefined) {
          if (usdText === undefined)
            throw new InvalidArgumentError('Say what the operation cost: reconcile TENANT OPERATION USD.');
          return correct(tenantId, operation, usdText, options);
        }
        const answer = await connect().get<{ holds: Unverified[] }>(tenantPath(tenantId, 'holds?unverified=true'));
        show(options.json ?? false, answer, () => table(unverifiedColumns, answer.holds, 'Every settlement is known.'));
      },
    );
}

async function correct(
  tenantId: string,
  operationId: string,
  usdText: string,
  { reason, json = false }: Json & { reason: string },
): Promise<void> {
  const body = { operationId, costUsd: usdText, reason, author: author() };
  const answer = await connect().send<{ differenceUsd: string }>('POST', tenantPath(tenantId, 'adjustments'), body);
  show(json, answer, () =>
    answer.differenceUsd === '0'
      ? `${operationId} cost ${usd(usdText)}, as recorded; it counts as known now.`
      : `${operationId} cost ${usd(usdText)}: ${usd(answer.differenceUsd)} was added to the ledger.`,
  );
}

interface Unverified {
  operationId: string;
  kind: string;
  model: string | null;
  committedUsd: string;
  endedAt: string;
}
const unverifiedColumns: Column<Unverified>[] = [
  { name: 'operation', of: ({ operationId }) => operationId },
  { name: 'what', of: ({ kind, model }) => [kind, model].filter(Boolean).join(' ') },
  { name: 'charged', of: ({ committedUsd }) => usd(committedUsd), right: true },
  { name: 'since', of: ({ endedAt }) => endedAt },
];
