/** `npx spendlock budget repair`: shows what does not agree in a tenant's books, and mends what nothing holds. */
import { Command } from 'commander';
import type { Difference, Mended } from '../store/books';
import { connect } from './api';
import { author, tenantPath } from './options';
import { show, table, type Column } from './output';

interface Books {
  differences: Difference[];
  changes: Mended[];
}

export const differenceColumns: Column<Difference>[] = [
  { name: 'what', of: ({ check }) => check },
  { name: 'which', of: ({ name }) => name },
  { name: 'says', of: ({ says }) => says },
];
const changeColumns: Column<Mended>[] = [
  { name: 'what', of: ({ what }) => what },
  { name: 'which', of: ({ name }) => name },
  { name: 'from', of: ({ from }) => from },
  { name: 'to', of: ({ to }) => to },
];

interface Options {
  yes?: boolean;
  reason: string;
  json?: boolean;
}

export function repairCommand(): Command {
  return new Command('repair')
    .argument('<tenant>')
    .description("shows what does not agree in a tenant's books, and with --yes mends it under the tenant's lock")
    .option('--yes', 'mend it; without it nothing is changed')
    .option('--reason <words>', 'why, for the audit', 'the books did not agree')
    .addHelpText(
      'after',
      `
The rows are believed: the ledger of what was spent, open reservations of what is held. What no row tells needs a person, and is left.
Exit statuses: 0 the books agree, or were only shown; 1 something is left after a mending.

Example: npx spendlock budget repair acme --yes --reason "after the upgrade"`,
    )
    .action(async (tenantId: string, { yes = false, reason, json = false }: Options) => {
      const api = connect();
      const books = yes
        ? await api.send<Books>('POST', tenantPath(tenantId, 'books/repair'), { reason, author: author() })
        : await api.get<Books>(tenantPath(tenantId, 'books'));
      show(json, { ...books, applied: yes }, () => (yes ? mendedWords(books) : shownWords(tenantId, books)));
      if (yes && books.differences.length > 0) process.exitCode = 1;
    });
}

const agree = 'The books agree: rows, balances, ledger and sums by day.';

function shownWords(tenantId: string, { differences, changes }: Books): string {
  if (differences.length === 0) return agree;
  return [
    table(differenceColumns, differences, ''),
    table(changeColumns, changes, 'Nothing of it can be mended by itself: somebody has to look at it.'),
    `Nothing was changed. \`npx spendlock budget repair ${tenantId} --yes\` makes these changes.`,
  ].join('\n');
}

function mendedWords({ differences, changes }: Books): string {
  return [
    table(changeColumns, changes, 'Nothing was changed.'),
    differences.length === 0
      ? agree
      : `This is left, and somebody has to look at it:\n${table(differenceColumns, differences, '')}`,
  ].join('\n');
}
