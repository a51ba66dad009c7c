/**
 * `npx spendlock doctor`: looks at an installation from where it is run, and says what is wrong and what to do. It reads the
 * environment of a worker and changes nothing.
 */
import { Command } from 'commander';
import type { Finding } from './findings';
import { example } from './options';
import { show, table, type Column } from './output';
import { workerEnvironment } from './target';

const columns: Column<Finding>[] = [
  { name: 'what', of: ({ what }) => what },
  { name: 'state', of: ({ state }) => state },
  { name: 'says', of: ({ says }) => says },
];

export function doctorCommand(): Command {
  const doctor = new Command('doctor')
    .description('looks whether Temporal, Postgres, prices, workers, clocks and mandates are as they should be')
    .option(
      '--books',
      "look at every tenant's books instead: whether rows, balances, ledger, sums by day and leases agree",
    )
    .addHelpText(
      'after',
      `
It reads DATABASE_URL, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and SPENDLOCK_TASK_QUEUE_PREFIX as a worker does; where none of
them is set, it looks at the running \`npm start\` of this checkout.
Exit statuses: 0 all is well, 1 something is wrong.`,
    );
  return example(doctor, 'doctor', 'doctor --books   # with DATABASE_URL=postgres://…').action(
    async ({ json = false, books = false }: { json?: boolean; books?: boolean }) => {
      if (books) {
        const { lookAtAllBooks } = await import('./doctor-books.js');
        if (!(await lookAtAllBooks({ json }))) process.exitCode = 1;
        return;
      }
      const { lookAtPostgres, lookAtTemporal } = await import('./doctor-checks.js');
      const findings = [
        ...(await lookAtPostgres(workerEnvironment(process.env))),
        ...(await lookAtTemporal(process.env)),
      ];
      show(json, { findings }, () => table(columns, findings, ''));
      if (findings.some(({ state }) => state === 'wrong')) process.exitCode = 1;
    },
  );
}
