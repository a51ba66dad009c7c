/** `npx spendlock env`: what a worker or a program of one's own needs of the running `npm start`, as a shell or a file takes it. */
import { Command, Option } from 'commander';
import { dataDirOf } from './data-dir';
import { CommandError, exitStatusHelp } from './failures';
import { localInstallation, type LocalInstallation } from './target';

type Format = 'shell' | 'dotenv' | 'json';

export function envCommand(): Command {
  return new Command('env')
    .description('prints what a worker or program of your own needs to use the running npm start')
    .addOption(new Option('--format <format>', 'how').choices(['shell', 'dotenv', 'json']).default('shell'))
    .option('--json', 'the same as --format json')
    .addHelpText(
      'after',
      `
SPENDLOCK_API_URL and SPENDLOCK_API_KEY are for clients; DATABASE_URL, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and
SPENDLOCK_TASK_QUEUE_PREFIX for workers. The key administrates the installation and ends with its npm start.
${exitStatusHelp}

Examples:
  eval "$(npx spendlock env)"
  npx spendlock env --format dotenv > .env
  npx spendlock env --format json`,
    )
    .action(({ format, json = false }: { format: Format; json?: boolean }) => {
      const local = localInstallation(process.env);
      if (!local)
        throw new CommandError(
          `No npm start of this checkout runs on ${dataDirOf(process.env)}. Run npm start in another terminal, and this again; for one of another checkout, run this there or set SPENDLOCK_DATA_DIR to its .spendlock/data.`,
          'not_running',
        );
      if (local.isEncrypted)
        console.error(
          'What Temporal keeps is encrypted here: a worker also needs SPENDLOCK_PAYLOAD_KEYS as npm start was given it.',
        );
      console.log(written(variablesOf(local), json ? 'json' : format));
    });
}

const variablesOf = (local: LocalInstallation): Record<string, string> => ({
  SPENDLOCK_API_URL: local.apiUrl,
  SPENDLOCK_API_KEY: local.apiKey,
  DATABASE_URL: local.databaseUrl,
  TEMPORAL_ADDRESS: local.temporalAddress,
  TEMPORAL_NAMESPACE: local.temporalNamespace,
  SPENDLOCK_TASK_QUEUE_PREFIX: local.taskQueuePrefix,
});

/** Single quotes keep a value as it is, in a shell and in a dotenv file alike. */
function written(variables: Record<string, string>, format: Format): string {
  if (format === 'json') return JSON.stringify(variables);
  const quoted = (value: string): string => `'${format === 'shell' ? value.replaceAll("'", `'\\''`) : value}'`;
  return Object.entries(variables)
    .map(([name, value]) => `${format === 'shell' ? 'export ' : ''}${name}=${quoted(value)}`)
    .join('\n');
}
