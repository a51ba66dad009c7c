/** What becomes of a sandbox after it was made: new windows, a pause, its return, its end; and what each window cost. */
import { formatUsd } from '../../core/money';
import { costOfSandbox } from '../../core/sandbox-prices';
import { findOperation } from '../../store/reservations';
import { appendRunEvent } from '../../store/runs';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import type { ContinueSandbox, OpenSandbox, TerminateSandbox } from '../contracts/sandbox';
import { failure } from '../failures';
import type { SandboxDependencies } from './dependencies';
import { recordE2BError } from './errors';
import { connectSandbox, findByOperation, killSandbox, pauseSandbox, setLifetime } from './provider';
import { isGone } from './provider-errors';
import { nextWindow, windowSeconds } from './windows';

/** A window that is over: what it cost is written once, and the run's events tell of it. */
export interface EndedWindow {
  tenantId: string;
  runId: string;
  operationId: string;
  priceVersion: string;
  seconds: number;
  /** How it ended: the event that tells of it. */
  event: 'sandbox.extended' | 'sandbox.paused' | 'sandbox.ended' | 'sandbox.swept';
}

/**
 * Writes what a window cost, unless it is written; answers it when it was written now.
 * @throws ApplicationFailure when its price is gone.
 */
export async function settleWindow(
  dependencies: SandboxDependencies,
  window: EndedWindow,
): Promise<{ costUsd?: string }> {
  const { paidStep, pool, prices, log } = dependencies;
  const { tenantId, runId, operationId, priceVersion, seconds, event } = window;
  const held = await findOperation(pool, { tenantId, operationId });
  if (!held?.claimed || held.outcome !== undefined) return {};
  const { sandboxes } = await prices();
  const price = sandboxes.find((candidate) => candidate.priceVersion === priceVersion);
  if (!price)
    throw failure(
      'unpriced_sandbox',
      `The price ${priceVersion} is gone. The sandbox was ended; its estimate is charged.`,
    );
  const costUsd = costOfSandbox(price, { seconds });
  log.info({ tenantId, runId, operationId, seconds, event }, 'a window of a sandbox ended');
  await inSpan(spanNames.sandboxRecord, { operationId, event }, () =>
    paidStep.settle({ tenantId, operationId }, { billed: true, costUsd, usage: { seconds } }, async (client) => {
      const data = { operationId, seconds, costUsd: formatUsd(costUsd) };
      await appendRunEvent(client, runId, { key: `sandbox-ended-${operationId}`, type: event, data });
    }),
  );
  return { costUsd: formatUsd(costUsd) };
}

const windowOf = (
  { tenantId, runId, sandbox }: { tenantId: string; runId: string; sandbox: OpenSandbox },
  event: EndedWindow['event'],
): EndedWindow => ({
  tenantId,
  runId,
  operationId: sandbox.operationId,
  priceVersion: sandbox.priceVersion,
  seconds: windowSeconds(sandbox, Date.now()),
  event,
});

export async function terminate(dependencies: SandboxDependencies, request: TerminateSandbox): Promise<void> {
  const { connection, pool } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const held = await findOperation(pool, { tenantId, operationId });
  if (!held?.claimed || held.outcome !== undefined) return;
  if (sandbox) {
    await killSandbox(connection, sandbox.sandboxId);
    await settleWindow(dependencies, windowOf({ tenantId, runId, sandbox }, 'sandbox.ended'));
    return;
  }
  // The reply to its creation was lost. None to be found, and nobody knows whether there was one: the commit charges the
  // estimate as unverified.
  const running = await findByOperation(connection, operationId);
  if (running.length === 0) return;
  let seconds = 0;
  for (const { sandboxId, startedAtMs } of running) {
    await killSandbox(connection, sandboxId);
    seconds += Math.min(Math.max(0, Math.ceil((Date.now() - startedAtMs) / 1000)), plan.windowSeconds);
  }
  const { priceVersion } = plan;
  await settleWindow(dependencies, { tenantId, runId, operationId, priceVersion, seconds, event: 'sandbox.ended' });
}

/** Begins a new window now. What the one before cost is written once the sandbox lives on. */
export async function extend(dependencies: SandboxDependencies, request: ContinueSandbox): Promise<OpenSandbox> {
  const { connection, paidStep } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const { sandboxId } = sandbox;
  const claim = await paidStep.claim(request);
  try {
    await setLifetime(connection, { sandboxId, seconds: plan.windowSeconds });
    await paidStep.atPoint('sandbox.extended');
  } catch (error) {
    throw await refused(dependencies, { request, claim, error, operation: 'reconnect' });
  }
  const next = nextWindow(sandbox, { operationId, seconds: plan.windowSeconds, nowMs: Date.now() });
  await settleWindow(dependencies, windowOf({ tenantId, runId, sandbox }, 'sandbox.extended'));
  return next;
}

export async function pause(
  dependencies: SandboxDependencies,
  { tenantId, runId, sandbox }: Omit<ContinueSandbox, 'operationId'>,
): Promise<{ paused: boolean; costUsd?: string }> {
  let paused = true;
  try {
    await pauseSandbox(dependencies.connection, sandbox.sandboxId);
    await dependencies.paidStep.atPoint('sandbox.paused');
  } catch (error) {
    if (!isGone(error)) throw error;
    paused = false;
    const lifecycleStage = 'monitoring';
    const gone = { tenantId, runId, sandboxId: sandbox.sandboxId, errorType: 'sandbox_gone', lifecycleStage } as const;
    await recordE2BError(dependencies, { ...gone, operation: 'cleanup' });
  }
  const window = windowOf({ tenantId, runId, sandbox }, paused ? 'sandbox.paused' : 'sandbox.ended');
  return { paused, ...(await settleWindow(dependencies, window)) };
}

/** Its lifetime is the window from now; the provider's own default, and the limit of the request, are something else. */
export async function resume(dependencies: SandboxDependencies, request: ContinueSandbox): Promise<OpenSandbox> {
  const { connection, paidStep, log } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const { sandboxId, priceVersion } = sandbox;
  const claim = await paidStep.claim(request);
  const startedAtMs = Date.now();
  try {
    await connectSandbox(connection, { sandboxId, remainingMs: plan.windowSeconds * 1000 });
    await paidStep.atPoint('sandbox.resumed');
  } catch (error) {
    throw await refused(dependencies, { request, claim, error, operation: 'reconnect' });
  }
  log.info({ tenantId, runId, operationId, sandboxId }, 'sandbox resumed');
  return { sandboxId, operationId, priceVersion, startedAtMs, windowSeconds: plan.windowSeconds };
}

export const discard = ({ connection }: SandboxDependencies, { sandboxId }: { sandboxId: string }): Promise<void> =>
  killSandbox(connection, sandboxId);

interface Refused {
  request: ContinueSandbox;
  claim: Parameters<SandboxDependencies['paidStep']['settle']>[0];
  error: unknown;
  operation: 'reconnect';
}

/** The provider did not let the sandbox live on: surely, and nothing is billed for the new window; or nobody knows. */
async function refused(
  dependencies: SandboxDependencies,
  { request, claim, error, operation }: Refused,
): Promise<Error> {
  const { tenantId, runId, operationId, sandbox } = request;
  const { name, message } = error as Error;
  const surely = isGone(error) || /^4\d\d\b/.test(message) || name === 'InvalidArgumentError';
  const errorType = isGone(error) ? 'sandbox_gone' : name;
  const { sandboxId } = sandbox;
  await recordE2BError(dependencies, { tenantId, runId, sandboxId, operation, errorType, key: operationId });
  if (!surely)
    return failure(
      'outcome_unknown',
      `The sandbox provider did not answer (${name}). The estimate is charged as unverified.`,
      {
        settled: false,
        retry: true,
      },
    );
  await dependencies.paidStep.settle(claim, { billed: false, reason: errorType });
  return failure(
    'sandbox_failed',
    `The sandbox cannot live on (${errorType}, stage connection). Nothing was billed for it.`,
    {
      settled: true,
      retry: false,
    },
  );
}
