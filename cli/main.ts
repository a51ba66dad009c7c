/**
 * The operators' command line: `npx spendlock …`. It speaks to the API, so what it does is checked, audited and in effect
 * on the next decision like any other change.
 *
 * Exit statuses: 0 done, 1 refused or failed, 2 wrong use.
 */
import { CommanderError, InvalidArgumentError } from 'commander';
import { printable } from './output';
import { program } from './program';

program()
  .parseAsync()
  .catch((error: unknown) => {
    // Commander has said what it found by itself, but for what an action threw.
    if (error instanceof InvalidArgumentError) console.error(`error: ${error.message} Nothing was done.`);
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
    console.error(printable(error instanceof Error ? error.message : String(error), { lines: true }));
    process.exit(1);
  });
