/** `npx spendlock budget repair`: shows what does not agree in a tenant's books, and mends what nothing holds. */
import { Command } from 'commander';
import type { BooksView } from '../client';
import type { Difference } from '../store/books';
import { client } from './api';
import { author, example, reasonOption, type Json } from './options';
import { show, table, type Column } from './output';

export const differenceColumns: Column<Difference>[] = [
  { name: 'what', of: ({ check }) => check },
  { name: 'which', of: ({ name }) => name },
  { name: 'says', of: ({ says }) => says },
];
const changeColumns: Column<BooksView['changes'][number]>[] = [
  { name: 'what', of: ({ what }) => what },
  { name: 'which', of: ({ name }) => name },
  { name: 'from', of: ({ from }) => from },
  { name: 'to', of: ({ to }) => to },
];

interface Options extends Json {
  yes?: boolean;
  reason: string;
}

export function repairCommand(): Command {
  const repair = new Command('repair')
    .argument('<tenant>')
    .description("shows what does not agree in a tenant's books, and with --yes mends it under the tenant's lock")
    .option('--yes', 'mend it; without it nothing is changed')
    .addOption(reasonOption().default('the books did not agree'))
    .addHelpText(
      'after',
      `
The rows are believed: the ledger of what was spent, open reservations of what is held. What no row tells needs a person, and is left.
Exit statuses: 0 the books agree, or were only shown; 1 something is left after a mending.`,
    );
  return example(repair, 'budget repair acme', 'budget repair acme --yes --reason "after the upgrade"').action(
    async (tenantId: string, { yes = false, reason, json = false }: Options) => {
      const { budget } = client();
      const books = yes
        ? await budget.repairBooks(tenantId, { reason, author: author() })
        : await budget.books(tenantId);
      show(json, books, () => (yes ? mendedWords(books) : shownWords(tenantId, books)));
      if (yes && books.differences.length > 0) process.exitCode = 1;
    },
  );
}

const agree = 'The books agree: rows, balances, ledger and sums by day.';

function shownWords(tenantId: string, { differences, changes }: BooksView): string {
  if (differences.length === 0) return agree;
  return [
    table(differenceColumns, differences, ''),
    table(changeColumns, changes, 'Nothing of it can be mended by itself: somebody has to look at it.'),
    `Nothing was changed. \`npx spendlock budget repair ${tenantId} --yes\` makes these changes.`,
  ].join('\n');
}

function mendedWords({ differences, changes }: BooksView): string {
  return [
    table(changeColumns, changes, 'Nothing was changed.'),
    differences.length === 0
      ? agree
      : `This is left, and somebody has to look at it:\n${table(differenceColumns, differences, '')}`,
  ].join('\n');
}
