/**
 * The operators' command line: `npx spendlock …`. It speaks to the API, so what it does is checked, audited and in effect
 * on the next decision like any other change.
 */
import { tell } from './failures';
import { program } from './program';

const { argv } = process;
const options = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv;

// Whoever reads what is printed may have enough of it, as `head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? 0);
});

program()
  .parseAsync()
  .catch((error: unknown) => process.exit(tell(error, { json: options.includes('--json') })));
