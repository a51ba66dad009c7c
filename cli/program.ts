/** The commands. Each is one call of the API and one answer. */
import { Command, Option } from 'commander';
import { approvalsCommands } from './approvals';
import { budgetCommands } from './budget';
import { doctorCommand } from './doctor';
import { envCommand } from './env';
import { holdsCommands } from './holds';
import { keysCommands } from './keys';
import { pricesCommands } from './prices';
import { runsCommands } from './runs';
import { setupCommand } from './setup';
import { tenantsCommands } from './tenants';
import { workersCommands } from './workers';

export function program(): Command {
  const root = new Command('spendlock')
    .description('Steers the budgets of a Spendlock installation.')
    .exitOverride()
    .configureOutput({ writeErr: (text) => process.stderr.write(text) })
    .addHelpText(
      'after',
      `
The API is found by SPENDLOCK_API_URL and SPENDLOCK_API_KEY (an administration key), or by a running \`npm start\`.

Every command takes --json, and --help with its options.

Examples:
  npx spendlock doctor
  eval "$(npx spendlock env)"
  npx spendlock setup
  npx spendlock tenants list
  npx spendlock budget show acme
  npx spendlock budget set acme --limit 250 --resource llm
  npx spendlock approvals list acme
  npx spendlock runs list acme --status quota_exceeded
  npx spendlock budget freeze acme --reason "invoice overdue"`,
    );
  for (const commands of [
    budgetCommands(),
    holdsCommands(),
    approvalsCommands(),
    runsCommands(),
    pricesCommands(),
    tenantsCommands(),
    keysCommands(),
    workersCommands(),
  ])
    root.addCommand(inherit(commands));
  root.addCommand(doctorCommand().exitOverride());
  root.addCommand(envCommand().exitOverride());
  root.addCommand(setupCommand().exitOverride());
  return root;
}

/** Every command takes --json, and a wrong use ends with status 2. */
function inherit(command: Command): Command {
  command.exitOverride();
  if (command.commands.length === 0) command.addOption(new Option('--json', 'one JSON value instead of a table'));
  command.commands.forEach((child) => inherit(child));
  return command;
}
