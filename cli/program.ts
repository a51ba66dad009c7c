/** The commands. Each is one call of the API and one answer, but for those that look at what is beneath it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command, Help, Option } from 'commander';
import { approvalsCommands } from './approvals';
import { budgetCommands } from './budget';
import { chatCommand } from './chat';
import { completionCommand } from './completion';
import { conversationsCommands } from './conversations';
import { doctorCommand } from './doctor';
import { envCommand } from './env';
import { exitStatusHelp } from './failures';
import { holdsCommands } from './holds';
import { keysCommands } from './keys';
import { mcpCommand } from './mcp';
import { example } from './options';
import { pricesCommands } from './prices';
import { toolsCommands } from './tools';
import { alertsCommands, auditCommands } from './records';
import { runsCommands } from './runs';
import { setupCommand } from './setup';
import { tenantsCommands } from './tenants';
import { usageCommands } from './usage';
import { whatIfCommand } from './what-if';
import { workersCommands } from './workers';

const groups: [title: string, commands: (() => Command)[]][] = [
  ['Agents', [runsCommands, chatCommand, conversationsCommands, approvalsCommands, mcpCommand]],
  ['Money', [budgetCommands, holdsCommands, usageCommands, whatIfCommand, alertsCommands, pricesCommands]],
  ['Who', [tenantsCommands, keysCommands, auditCommands]],
  ['What agents can do', [toolsCommands]],
  ['The installation', [doctorCommand, envCommand, setupCommand, workersCommands, completionCommand]],
];

export function program(): Command {
  const root = example(
    new Command('spendlock')
      .description('Steers the budgets of a Spendlock installation.')
      .version(version(), '--version', 'the version')
      .addHelpText(
        'after',
        `
The API is found by SPENDLOCK_API_URL and SPENDLOCK_API_KEY (an administration key), or by a running \`npm start\`.
With --json every command prints one JSON value on standard output: its answer, or {"error": {"code", "message", …}}.
${exitStatusHelp}`,
      ),
    'doctor',
    'tenants list',
    'runs start acme --task "Profile this file." --file sales.csv --follow',
    'chat acme',
    'budget set acme --limit 250 --resource llm',
    'approvals list acme',
    'usage acme --by user',
  );
  for (const [title, makers] of groups) for (const make of makers) root.addCommand(make().helpGroup(`${title}:`));
  return inherit(root);
}

function version(): string {
  const text = readFileSync(path.join(__dirname, '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Commands that print something else than an answer. */
const withoutJson = ['completion', 'mcp'];

/** A help that says of each option whether it has to be there. */
const marked: Partial<Help> = {
  optionDescription: (option) => {
    const description = new Help().optionDescription(option);
    return option.mandatory ? `${description} (required)` : description;
  },
};

/** A mistyped option is told before one that is missing for that: Commander looks the other way round. */
function tellUnknownFirst(command: Command): void {
  const parse = command.parseOptions.bind(command);
  command.parseOptions = (argv) => {
    const parsed = parse(argv);
    const isLeaf = command.commands.length === 0;
    const wantsHelp = parsed.unknown.some((word) => word === '--help' || word === '-h');
    const mandatory = command.options.filter((option) => option.mandatory);
    if (isLeaf && mandatory.length > 0 && !wantsHelp && parsed.unknown.length > 0)
      (command as Command & UnknownOption).unknownOption(String(parsed.unknown[0]));
    return parsed;
  };
}
interface UnknownOption {
  /** Commander's own, with its suggestion; its types leave it out. */
  unknownOption(flag: string): void;
}

/** Every command takes --json, a wrong use ends with its status, what is meant is guessed at, and what has to be there is marked. */
function inherit(command: Command): Command {
  command.exitOverride().showSuggestionAfterError().showHelpAfterError('--help says more.').configureHelp(marked);
  tellUnknownFirst(command);
  const has = command.options.some(({ long }) => long === '--json');
  if (command.commands.length === 0 && !has && !withoutJson.includes(command.name()))
    command.addOption(new Option('--json', 'one JSON value instead of words'));
  command.commands.forEach((child) => inherit(child));
  return command;
}
