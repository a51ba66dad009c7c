/** `npx spendlock budget adjust` and `reconcile`: what an operation cost is put right. */
import { InvalidArgumentError, type Command } from 'commander';
import type { HoldsView } from '../client';
import { client, everyPage } from './api';
import { amount, author, example, reasonNeeded, reasonOption, uuid, type Json } from './options';
import { show, table, usd, when, type Column } from './output';

const someOperation = '6f1c7b1e-6c1e-4a4e-9a55-0d7a8c1f2b3d';

export function addCorrections(budget: Command): void {
  const adjust = budget
    .command('adjust')
    .argument('<tenant>')
    .argument('<operation>', 'its id', uuid)
    .argument('<usd>', 'what it cost in US dollars', amount)
    .description('corrects what an operation cost, by an entry of the difference')
    .addOption(reasonNeeded());
  example(adjust, `budget adjust acme ${someOperation} 0.0173 --reason "invoice 2026-11"`).action(correct);
  const reconcile = budget
    .command('reconcile')
    .argument('<tenant>')
    .argument('[operation]', 'its id', uuid)
    .argument('[usd]', 'what the provider billed in US dollars', amount)
    .description('lists the settlements whose cost nobody knows, or settles one at what the provider billed')
    .addOption(reasonOption().default('reconciled with the provider'));
  example(
    reconcile,
    'budget reconcile acme',
    `budget reconcile acme ${someOperation} 0.0173 --reason "invoice 2026-11"`,
  ).action(
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
      const found = await everyPage('holds', (page) => client().budget.holds(tenantId, { unverified: true, ...page }));
      const answer = { tenantId, ...found };
      show(options.json ?? false, answer, () =>
        table(unverifiedColumns, answer.holds, 'There are no settlements whose cost nobody knows.'),
      );
    },
  );
}

async function correct(
  tenantId: string,
  operationId: string,
  usdText: string,
  { reason, json = false }: Json & { reason: string },
): Promise<void> {
  const order = { operationId, costUsd: usdText, reason, author: author() };
  const answer = await client().budget.adjust(tenantId, order);
  show(json, answer, () =>
    answer.differenceUsd === '0'
      ? `${operationId} cost ${usd(usdText)}, as recorded; it counts as known now.`
      : `${operationId} cost ${usd(usdText)}: ${usd(answer.differenceUsd)} was added to the ledger.`,
  );
}

const unverifiedColumns: Column<HoldsView['holds'][number]>[] = [
  { name: 'operation', of: ({ operationId }) => operationId },
  { name: 'what', of: ({ kind, model }) => [kind, model].filter(Boolean).join(' ') },
  { name: 'charged', of: ({ committedUsd }) => usd(committedUsd), right: true },
  { name: 'since (UTC)', of: ({ endedAt }) => when(endedAt), extra: true },
];
