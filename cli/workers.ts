/** `npx spendlock workers`: the versions of a deployment's workers, and which one gets the work. Talks to Temporal. */
import { Command, InvalidArgumentError } from 'commander';
import { tellingOfEnd } from './cut-off';
import { example, type Json } from './options';
import { show, table, type Column } from './output';
import type { Version } from './worker-versions';

const help = `
Workers that are started with SPENDLOCK_BUILD_ID are versions. It reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the rest of how a
worker connects, and SPENDLOCK_TASK_QUEUE_PREFIX, which names the deployment.`;

export function workersCommands(): Command {
  const commands = new Command('workers')
    .description('versions of workers, and which gets new work')
    .addHelpText('after', help);
  const list = commands.command('list').description('the versions, and how many still have work of their own');
  example(list, 'workers list').action(async ({ json = false }: Json) => {
    const { listVersions, withDeployment } = await import('./worker-versions.js');
    const versions = await withDeployment(listVersions);
    show(json, { versions }, () =>
      table(columns, versions, 'There are no versions: workers run without SPENDLOCK_BUILD_ID.'),
    );
  });
  const promoted = commands
    .command('promote <build-id>')
    .description(
      'gives a version the work: new runs, and what lives long. Runs that it did not begin stay where they are',
    )
    .option('--percent <n>', 'only a part of the new work, to watch it first', percent)
    .addHelpText('after', '\nReplay what is open first: npm run replay -- --open');
  example(promoted, 'workers promote 4f2c1ab --percent 10', 'workers promote 4f2c1ab').action(
    async (buildId: string, { json = false, percent: share }: Json & { percent?: number }) => {
      const { promote, withDeployment } = await import('./worker-versions.js');
      let isAsked = false;
      const order = { buildId, share, onBegin: () => void (isAsked = true) };
      const versions = await tellingOfEnd(
        () =>
          isAsked
            ? `${buildId} may have been promoted, or may be in a moment. Before you order it again, see: npx spendlock workers list`
            : 'Nothing was changed.',
        () => withDeployment((deployment) => promote(deployment, order)),
      );
      show(json, { versions }, () => table(columns, versions, ''));
    },
  );
  return commands;
}

function percent(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 100)) throw new InvalidArgumentError('It must be above 0 and below 100.');
  return value;
}

const columns: Column<Version>[] = [
  { name: 'version', of: ({ buildId }) => buildId },
  { name: 'new work', of: ({ percent: share }) => `${share} %`, right: true },
  { name: 'state', of: ({ state }) => state },
  {
    name: 'can be stopped',
    of: ({ drained, percent: share }) =>
      share > 0 ? 'no' : drained === null ? 'it never had work' : drained ? 'yes' : 'not yet: it has runs',
  },
];
