/** The E2B SDK as the sandbox activities use it. */
import { Sandbox } from '@e2b/code-interpreter';
import type { SandboxShape } from '../../core/prices/sandbox-prices';
import { isGone } from './provider-errors';

export interface SandboxConnection {
  apiKey: string;
  /** Other addresses than the provider's own: the stand-in. */
  apiUrl?: string | undefined;
  sandboxUrl?: string | undefined;
  /** The template to start from; the SDK's own when absent. */
  template?: string | undefined;
}

/** The labels of a sandbox: whose it is, and by which operation it is found again when the reply to its creation was lost. */
const labels = {
  installation: 'spendlockInstallation',
  tenant: 'spendlockTenantId',
  run: 'spendlockRunId',
  operation: 'spendlockOperationId',
};

export interface SandboxOwner {
  installationId: string;
  tenantId: string;
  runId: string;
  operationId: string;
}

export interface CreatedSandbox {
  sandbox: Sandbox;
  shape: SandboxShape;
  startedAtMs: number;
}

/** One request that is answered from what the provider knows. Making a sandbox has a limit of its own. */
const requestTimeoutMs = 15_000;

const apiOptions = ({
  apiKey,
  apiUrl,
  sandboxUrl,
}: SandboxConnection): { apiKey: string; apiUrl?: string; sandboxUrl?: string; requestTimeoutMs: number } => ({
  apiKey,
  requestTimeoutMs,
  ...(apiUrl === undefined ? {} : { apiUrl }),
  ...(sandboxUrl === undefined ? {} : { sandboxUrl }),
});

/** Creates a sandbox that the provider ends after its window. */
export async function createSandbox(
  connection: SandboxConnection,
  {
    owner,
    windowSeconds,
    template = connection.template,
  }: {
    owner: SandboxOwner;
    windowSeconds: number;
    template?: string | undefined;
  },
): Promise<CreatedSandbox> {
  const sandbox = await Sandbox.create({
    ...apiOptions(connection),
    ...(template === undefined ? {} : { template }),
    metadata: {
      [labels.installation]: owner.installationId,
      [labels.tenant]: owner.tenantId,
      [labels.run]: owner.runId,
      [labels.operation]: owner.operationId,
    },
    // The sandbox's lifetime; the request has a limit of its own.
    timeoutMs: windowSeconds * 1000,
    requestTimeoutMs: 60_000,
  });
  const info = await sandbox.getInfo();
  return { sandbox, shape: { vcpu: info.cpuCount, memoryMib: info.memoryMB }, startedAtMs: info.startedAt.getTime() };
}

export interface FoundSandbox {
  sandboxId: string;
  startedAtMs: number;
  shape: SandboxShape;
  isPaused: boolean;
  owner: Partial<SandboxOwner>;
}

/** The sandboxes that carry a label, running or paused. */
async function findByLabel(connection: SandboxConnection, metadata: Record<string, string>): Promise<FoundSandbox[]> {
  const pages = Sandbox.list({ ...apiOptions(connection), query: { metadata } });
  const found: FoundSandbox[] = [];
  while (pages.hasNext) {
    for (const info of await pages.nextItems()) {
      found.push({
        sandboxId: info.sandboxId,
        startedAtMs: info.startedAt.getTime(),
        shape: { vcpu: info.cpuCount, memoryMib: info.memoryMB },
        isPaused: info.state === 'paused',
        owner: {
          installationId: info.metadata[labels.installation] ?? '',
          tenantId: info.metadata[labels.tenant] ?? '',
          runId: info.metadata[labels.run] ?? '',
          operationId: info.metadata[labels.operation] ?? '',
        },
      });
    }
  }
  return found;
}

/** The sandboxes that one operation created. */
export const findByOperation = (connection: SandboxConnection, operationId: string): Promise<FoundSandbox[]> =>
  findByLabel(connection, { [labels.operation]: operationId });

/** All sandboxes of an installation. */
export const findByInstallation = (connection: SandboxConnection, installationId: string): Promise<FoundSandbox[]> =>
  findByLabel(connection, { [labels.installation]: installationId });

/** Reaches a running sandbox. `remainingMs` is what is left of its window: connecting must not lengthen its life. */
export const connectSandbox = (
  connection: SandboxConnection,
  { sandboxId, remainingMs }: { sandboxId: string; remainingMs: number },
): Promise<Sandbox> =>
  Sandbox.connect(sandboxId, { ...apiOptions(connection), timeoutMs: Math.max(1_000, remainingMs) });

/** How a sandbox stands; undefined when there is none of that id. */
export async function lookUpSandbox(
  connection: SandboxConnection,
  sandboxId: string,
): Promise<{ isPaused: boolean; endAtMs: number } | undefined> {
  try {
    const { state, endAt } = await Sandbox.getInfo(sandboxId, apiOptions(connection));
    return { isPaused: state === 'paused', endAtMs: endAt.getTime() };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Lets a running sandbox live for so long from now. @throws an error that `isGone` tells when there is none. */
export const setLifetime = (
  connection: SandboxConnection,
  { sandboxId, seconds }: { sandboxId: string; seconds: number },
): Promise<void> => Sandbox.setTimeout(sandboxId, seconds * 1000, apiOptions(connection));

/** Pauses a sandbox: its files and memory stay, and it is not billed. One that is paused already is no error. */
export async function pauseSandbox(connection: SandboxConnection, sandboxId: string): Promise<void> {
  await Sandbox.pause(sandboxId, apiOptions(connection));
}

/** Ends a sandbox. False when it had ended already. */
export const killSandbox = (connection: SandboxConnection, sandboxId: string): Promise<boolean> =>
  Sandbox.kill(sandboxId, apiOptions(connection));
