/**
 * `npx spendlock setup`: readies a Temporal namespace of a cluster or of Temporal Cloud for an installation, and, if asked, keeps how
 * to reach it as a profile. What is there already is left as it is.
 */
import { Command } from 'commander';
import type { SetupOptions } from './namespace-setup';
import { example, whole, type Json } from './options';
import { show } from './output';

export function setupCommand(): Command {
  const setup = new Command('setup')
    .description('readies a namespace of a Temporal cluster or of Temporal Cloud')
    .option('--create-namespace', 'make the namespace when there is none (a cluster of your own)')
    .option('--retention-days <n>', 'with it: how long ended workflows are kept', whole(1, 9_999, 'days'), 30)
    .option('--save <file>', 'write how to reach it to a TOML file, which TEMPORAL_CONFIG_FILE can name')
    .option('--profile <name>', 'with it: as which profile', 'default')
    .addHelpText(
      'after',
      `
It reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS, TEMPORAL_TLS_CLIENT_CERT_PATH,
TEMPORAL_TLS_CLIENT_KEY_PATH, TEMPORAL_TLS_SERVER_CA_CERT_PATH, TEMPORAL_TLS_SERVER_NAME, TEMPORAL_CONFIG_FILE and
TEMPORAL_PROFILE, as workers and the API do. A saved profile holds the API key: its file is readable by you alone.
Exit statuses: 0 all is ready, 1 something is not.`,
    );
  return example(
    setup,
    'setup --create-namespace --save temporal.toml --profile cluster',
    'setup   # with TEMPORAL_ADDRESS=eu-west-1.aws.api.temporal.example:7233 TEMPORAL_NAMESPACE=acme.a1b2c TEMPORAL_API_KEY=…',
  ).action(async ({ json = false, ...options }: SetupOptions & Json) => {
    const { setUp } = await import('./namespace-setup.js');
    const done = await setUp(options);
    show(json, done, () => done.steps.map(({ what, says }) => `${what.padEnd(18)} ${says}`).join('\n'));
    if (!done.isReady) process.exitCode = 1;
  });
}
