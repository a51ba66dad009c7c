/**
 * The sweeper: lists the provider's sandboxes of this installation, ends what no open run owns, and writes what it cost. A
 * sandbox is left behind when a reply was lost and its worker with it, or when somebody terminated its workflow.
 */
import { parseUuid } from '../../core/ids';
import { readInstallationId, readSandboxOwners, type SandboxOwnerRow } from '../../store/sandboxes';
import type { SandboxDependencies } from './dependencies';
import { settleWindow } from './lifetime';
import { findByInstallation, killSandbox, type FoundSandbox } from './provider';

/** What a provider says of a sandbox's owner came from outside again. */
const uuids = (texts: readonly (string | undefined)[]): string[] => texts.flatMap((text) => parseUuid(text) ?? []);

export async function sweep(dependencies: SandboxDependencies): Promise<number> {
  const { connection, pool, log, clock, sweepMinAgeMs } = dependencies;
  const found = await findByInstallation(connection, await readInstallationId(pool));
  const old = found.filter(({ startedAtMs }) => startedAtMs < clock.nowMs() - sweepMinAgeMs);
  if (old.length === 0) return 0;
  const owners = await readSandboxOwners(pool, {
    operationIds: uuids(old.map(({ owner }) => owner.operationId)),
    runIds: uuids(old.map(({ owner }) => owner.runId)),
  });
  let swept = 0;
  for (const sandbox of old) {
    const windows = owners.filter(({ runId }) => runId === parseUuid(sandbox.owner.runId));
    if (isOwned(sandbox, windows)) continue;
    swept += 1;
    await killSandbox(connection, sandbox.sandboxId);
    log.warn({ sandboxId: sandbox.sandboxId, ...sandbox.owner }, 'a sandbox that no open run owns was ended');
    for (const window of windows) await settle(dependencies, window);
  }
  return swept;
}

/** A run that goes on owns its paused sandbox, and a running one for as long as it pays for a window. */
const isOwned = ({ isPaused }: FoundSandbox, windows: readonly SandboxOwnerRow[]): boolean =>
  windows.some(({ runStatus, isOpen }) => runStatus === 'running' && (isPaused || isOpen === true));

async function settle(dependencies: SandboxDependencies, window: SandboxOwnerRow): Promise<void> {
  const { runId, tenantId, operationId, priceVersion, seconds, isOpen } = window;
  if (!isOpen || operationId === null || priceVersion === null || seconds === null) return;
  await settleWindow(dependencies, { tenantId, runId, operationId, priceVersion, seconds, event: 'sandbox.swept' });
}
