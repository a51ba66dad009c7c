/** `npx spendlock env`: what a worker or a program of one's own needs of the running `npm start`, as a shell or a file takes it. */
import { Command, Option } from 'commander';
import { CommandError, exitStatusHelp } from './failures';
import { runningStarts } from './running-starts';
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
SPENDLOCK_TASK_QUEUE_PREFIX for workers. The npm start is that of this checkout, and elsewhere the one that
runs, or that of SPENDLOCK_DATA_DIR. The key administrates the installation and ends with its npm start.
${exitStatusHelp}

Examples:
  eval "$(npx spendlock env)"
  npx spendlock env --format dotenv > .env
  npx spendlock env --format json`,
    )
    .action(async ({ format, json = false }: { format: Format; json?: boolean }) => {
      const local = localInstallation(process.env) ?? (await startElsewhere(process.env));
      if (local.isEncrypted)
        console.error(
          'What Temporal keeps is encrypted here: a worker also needs SPENDLOCK_PAYLOAD_KEYS as npm start was given it.',
        );
      console.log(written(variablesOf(local), json ? 'json' : format));
    });
}

/** The one `npm start` that runs of another checkout, where nothing names one. @throws CommandError when there is none, or several. */
async function startElsewhere(environment: NodeJS.ProcessEnv): Promise<LocalInstallation> {
  const named = environment.SPENDLOCK_DATA_DIR;
  const [start, ...others] = named ? [] : await runningStarts(environment);
  if (start && others.length === 0) {
    console.error(`These are of the npm start whose data is in ${start.dataDir}.`);
    return start.local;
  }
  if (start)
    throw new CommandError(
      `Several npm starts run here. Name the data of the one that is meant:\n${[start, ...others]
        .map(({ dataDir }) => `  SPENDLOCK_DATA_DIR='${dataDir}' npx spendlock env`)
        .join('\n')}`,
      'ambiguous',
    );
  throw new CommandError(
    named
      ? `No npm start runs on ${named} (SPENDLOCK_DATA_DIR). Run it in another terminal, and this again.`
      : 'No npm start runs here. Run npm start in a checkout, in another terminal, and this again.',
    'not_running',
  );
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
