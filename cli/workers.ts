/** `npx spendlock workers`: the versions of a deployment's workers, and which one gets the work. Talks to Temporal. */
import type { Connection } from '@temporalio/client';
import { temporal as proto } from '@temporalio/proto';
import { Command, InvalidArgumentError } from 'commander';
import { defaultTaskQueuePrefix } from '../contracts/messages';
import { example, type Json } from './options';
import { show, table, type Column } from './output';
import { connectToTemporal, isNotFound } from './temporal';
import { temporalTarget } from './target';

const help = `
Workers that are started with SPENDLOCK_BUILD_ID are versions. It reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the rest of how a
worker connects, and SPENDLOCK_TASK_QUEUE_PREFIX, which names the deployment.`;

export function workersCommands(): Command {
  const commands = new Command('workers')
    .description('versions of workers, and which gets new work')
    .addHelpText('after', help);
  const list = commands.command('list').description('the versions, and how many still have work of their own');
  example(list, 'workers list').action(async ({ json = false }: Json) => {
    const versions = await withDeployment(listVersions);
    show(json, { versions }, () =>
      table(columns, versions, 'There is no version: workers run without SPENDLOCK_BUILD_ID.'),
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
      const versions = await withDeployment((deployment) => promote(deployment, { buildId, share }));
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

export interface Version {
  buildId: string;
  /** Of new work. */
  percent: number;
  state: string;
  /** Since when there is nothing left that only it can do. */
  drained: boolean | null;
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

export interface Deployment {
  connection: Connection;
  namespace: string;
  deploymentName: string;
}

async function withDeployment<T>(work: (deployment: Deployment) => Promise<T>): Promise<T> {
  const { connection: server, namespace } = temporalTarget(process.env);
  const deploymentName = process.env.SPENDLOCK_TASK_QUEUE_PREFIX ?? defaultTaskQueuePrefix;
  const connection = await connectToTemporal(server);
  try {
    return await work({ connection, namespace, deploymentName });
  } finally {
    await connection.close();
  }
}

const statuses = proto.api.enums.v1.WorkerDeploymentVersionStatus;
const drainage = proto.api.enums.v1.VersionDrainageStatus;

/** The versions that a deployment has, and how much of the new work each gets. */
export async function listVersions({ connection, namespace, deploymentName }: Deployment): Promise<Version[]> {
  const found = await connection.workflowService
    .describeWorkerDeployment({ namespace, deploymentName })
    .catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
  const info = found?.workerDeploymentInfo;
  const {
    currentDeploymentVersion: current,
    rampingDeploymentVersion: ramping,
    rampingVersionPercentage = 0,
  } = info?.routingConfig ?? {};
  const shareOf = (buildId: string): number => {
    if (buildId === ramping?.buildId) return Math.round(Number(rampingVersionPercentage));
    if (buildId !== current?.buildId) return 0;
    return ramping?.buildId ? 100 - Math.round(Number(rampingVersionPercentage)) : 100;
  };
  return (info?.versionSummaries ?? []).map(({ deploymentVersion, status, drainageInfo }) => {
    const buildId = deploymentVersion?.buildId ?? '';
    const state = statuses[status ?? 0]?.replace('WORKER_DEPLOYMENT_VERSION_STATUS_', '').toLowerCase() ?? '';
    const drained = drainageInfo?.status ? drainageInfo.status === drainage.VERSION_DRAINAGE_STATUS_DRAINED : null;
    return { buildId, percent: shareOf(buildId), state, drained };
  });
}

async function promote(
  deployment: Deployment,
  { buildId, share }: { buildId: string; share: number | undefined },
): Promise<Version[]> {
  const { connection, namespace, deploymentName } = deployment;
  const known = await listVersions(deployment);
  if (!known.some((version) => version.buildId === buildId)) {
    const names = known.map((version) => version.buildId).join(', ') || 'none';
    throw new Error(
      `There is no version ${JSON.stringify(buildId)} of ${deploymentName}; there are: ${names}. Start its workers first. Nothing was changed.`,
    );
  }
  const request = { namespace, deploymentName, buildId, identity: 'npx spendlock' };
  if (share === undefined) await connection.workflowService.setWorkerDeploymentCurrentVersion(request);
  else await connection.workflowService.setWorkerDeploymentRampingVersion({ ...request, percentage: share });
  return listVersions(deployment);
}
