/** The E2B SDK as the sandbox activities use it. */
import { Sandbox } from '@e2b/code-interpreter';
import type { SandboxShape } from '../../core/sandbox-prices';

export interface SandboxConnection {
  apiKey: string;
  /** Other addresses than the provider's own: the stand-in. */
  apiUrl?: string | undefined;
  sandboxUrl?: string | undefined;
  /** The template to start from; the SDK's own when absent. */
  template?: string | undefined;
}

/** The label by which a sandbox is found again when the reply to its creation was lost. */
const operationLabel = 'spendlockOperationId';

export interface CreatedSandbox {
  sandbox: Sandbox;
  shape: SandboxShape;
  startedAtMs: number;
}

const apiOptions = ({ apiKey, apiUrl, sandboxUrl }: SandboxConnection): Record<string, string> => ({
  apiKey,
  ...(apiUrl === undefined ? {} : { apiUrl }),
  ...(sandboxUrl === undefined ? {} : { sandboxUrl }),
});

/** Creates a sandbox that the provider ends after its window. */
export async function createSandbox(
  connection: SandboxConnection,
  { operationId, runId, windowSeconds }: { operationId: string; runId: string; windowSeconds: number },
): Promise<CreatedSandbox> {
  const sandbox = await Sandbox.create({
    ...apiOptions(connection),
    ...(connection.template === undefined ? {} : { template: connection.template }),
    metadata: { [operationLabel]: operationId, spendlockRunId: runId },
    // The sandbox's lifetime; the request has a limit of its own.
    timeoutMs: windowSeconds * 1000,
    requestTimeoutMs: 60_000,
  });
  const info = await sandbox.getInfo();
  return { sandbox, shape: { vcpu: info.cpuCount, memoryMib: info.memoryMB }, startedAtMs: info.startedAt.getTime() };
}

/** The running sandboxes of one operation. */
export async function findByOperation(
  connection: SandboxConnection,
  operationId: string,
): Promise<{ sandboxId: string; startedAtMs: number; shape: SandboxShape }[]> {
  const pages = Sandbox.list({ ...apiOptions(connection), query: { metadata: { [operationLabel]: operationId } } });
  const found = [];
  while (pages.hasNext) {
    for (const info of await pages.nextItems()) {
      const shape = { vcpu: info.cpuCount, memoryMib: info.memoryMB };
      found.push({ sandboxId: info.sandboxId, startedAtMs: info.startedAt.getTime(), shape });
    }
  }
  return found;
}

/** Reaches a running sandbox. `remainingMs` is what is left of its window: connecting must not lengthen its life. */
export const connectSandbox = (
  connection: SandboxConnection,
  { sandboxId, remainingMs }: { sandboxId: string; remainingMs: number },
): Promise<Sandbox> =>
  Sandbox.connect(sandboxId, { ...apiOptions(connection), timeoutMs: Math.max(1_000, remainingMs) });

/** Ends a sandbox. One that has ended already is no error. */
export async function killSandbox(connection: SandboxConnection, sandboxId: string): Promise<void> {
  await Sandbox.kill(sandboxId, apiOptions(connection));
}
