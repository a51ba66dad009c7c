/**
 * The operators' command line: `npx spendlock …`. It speaks to the API, so what it does is checked, audited and in effect
 * on the next decision like any other change.
 */
import { tell, wantsJson } from './failures';
import { program } from './program';

// Whoever reads what is printed may have enough of it, as `head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? 0);
});

program()
  .parseAsync()
  .catch((error: unknown) => process.exit(tell(error, { json: wantsJson(process.argv) })));
