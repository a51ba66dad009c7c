/** The versions of a deployment's workers, as Temporal keeps them, and which of them gets new work. */
import type { Connection } from '@temporalio/client';
import { temporal as proto } from '@temporalio/proto';
import { defaultTaskQueuePrefix } from '../contracts/messages';
import { CommandError } from './failures';
import { isNotFound, reachTemporal, temporalTarget } from './temporal';

export interface Version {
  buildId: string;
  /** Of new work. */
  percent: number;
  state: string;
  /** Since when there is nothing left that only it can do. */
  drained: boolean | null;
}

export interface Deployment {
  connection: Connection;
  namespace: string;
  deploymentName: string;
}

export async function withDeployment<T>(work: (deployment: Deployment) => Promise<T>): Promise<T> {
  const { connection: server, namespace } = temporalTarget(process.env);
  const deploymentName = process.env.SPENDLOCK_TASK_QUEUE_PREFIX ?? defaultTaskQueuePrefix;
  const connection = await reachTemporal(server);
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

export async function promote(
  deployment: Deployment,
  { buildId, share, onBegin }: { buildId: string; share: number | undefined; onBegin: () => void },
): Promise<Version[]> {
  const { connection, namespace, deploymentName } = deployment;
  const known = await listVersions(deployment);
  if (!known.some((version) => version.buildId === buildId)) {
    const names = known.map((version) => version.buildId).join(', ') || 'none';
    throw new CommandError(
      `There is no version ${JSON.stringify(buildId)} of ${deploymentName}; there are: ${names}. Start its workers first. Nothing was changed.`,
    );
  }
  const request = { namespace, deploymentName, buildId, identity: 'npx spendlock' };
  onBegin();
  if (share === undefined) await connection.workflowService.setWorkerDeploymentCurrentVersion(request);
  else await connection.workflowService.setWorkerDeploymentRampingVersion({ ...request, percentage: share });
  return listVersions(deployment);
}
