/** What becomes of a sandbox after it was made: new windows, a pause, its return, its end; and what each window cost. */
import { Context } from '@temporalio/activity';
import { formatUsd } from '../../core/money';
import { costOfSandbox } from '../../core/prices/sandbox-prices';
import { findOperation } from '../../store/reservations';
import { appendRunEvent } from '../../store/runs';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import type { ContinueSandbox, OpenSandbox, TerminateSandbox } from '../../contracts/sandbox';
import { failure } from '../failures';
import type { SandboxDependencies } from './dependencies';
import { recordE2BError } from './errors';
import { patiently } from './patience';
import { connectSandbox, findByOperation, killSandbox, lookUpSandbox, pauseSandbox, setLifetime } from './provider';
import { isGone, mayPass } from './provider-errors';
import { goneAtMs, nextWindow, windowEndMs, windowSeconds } from './windows';

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
  const { paidCalls, pool, prices, log } = dependencies;
  const { tenantId, runId, operationId, priceVersion, seconds, event } = window;
  const what = 'what a sandbox cost';
  const held = await paidCalls.patiently(what, () => findOperation(pool, { tenantId, operationId }));
  if (!held?.claimed || held.outcome !== null) return {};
  const { sandboxes } = await paidCalls.patiently(what, prices);
  const price = sandboxes.find((candidate) => candidate.priceVersion === priceVersion);
  if (!price)
    throw failure(
      'unpriced_sandbox',
      `The price ${priceVersion} is gone. The sandbox was ended; its estimate is charged.`,
    );
  const costUsd = costOfSandbox(price, { seconds });
  log.info({ tenantId, runId, operationId, seconds, event }, 'a window of a sandbox ended');
  await inSpan(spanNames.sandboxRecord, { operationId, event }, () =>
    paidCalls.settle({ tenantId, operationId }, { billed: true, costUsd, usage: { seconds } }, async (client) => {
      const data = { operationId, seconds, costUsd: formatUsd(costUsd) };
      await appendRunEvent(client, runId, { key: `sandbox-ended-${operationId}`, type: event, data });
    }),
  );
  return { costUsd: formatUsd(costUsd) };
}

/** A window that is over at that moment. */
const windowOf = (
  { tenantId, runId, sandbox }: { tenantId: string; runId: string; sandbox: OpenSandbox },
  event: EndedWindow['event'],
  untilMs: number,
): EndedWindow => ({
  tenantId,
  runId,
  operationId: sandbox.operationId,
  priceVersion: sandbox.priceVersion,
  seconds: windowSeconds(sandbox, untilMs),
  event,
});

/** As long is a provider asked that does not answer: what ends or rests a sandbox, and what somebody waits for. */
const endingMs = 10_000;
const askingMs = 20_000;
const lookingUpMs = 60_000;

/** Ends a sandbox. False when it had ended before. @throws ApplicationFailure `sandbox_failed` when the provider does not. */
async function end(
  dependencies: SandboxDependencies,
  { tenantId, runId, sandboxId }: { tenantId: string; runId: string; sandboxId: string },
): Promise<boolean> {
  // A repeat meets what an earlier try may have ended, whose reply was lost.
  let isRepeat = Context.current().info.attempt > 1;
  const kill = async (): Promise<boolean> => {
    const wasThere = isRepeat;
    isRepeat = true;
    return (await killSandbox(dependencies.connection, sandboxId)) || wasThere;
  };
  try {
    return await patiently(kill, { forMs: endingMs });
  } catch (error) {
    throw await left(dependencies, { tenantId, runId, sandboxId, error }, 'ended');
  }
}

/** The provider neither ended nor paused a sandbox: its window ends it, or the sweeper does. */
async function left(
  dependencies: SandboxDependencies,
  { error, ...whose }: { tenantId: string; runId: string; sandboxId: string; error: unknown },
  what: 'ended' | 'paused',
): Promise<Error> {
  const errorType = (error as Error).name;
  await recordE2BError(dependencies, { ...whose, operation: 'cleanup', errorType });
  return failure(
    'sandbox_failed',
    `The sandbox ${whose.sandboxId} could not be ${what} (${errorType}). It ends with its window, or the sweeper ends it; its cost is written then.`,
  );
}

export async function terminate(dependencies: SandboxDependencies, request: TerminateSandbox): Promise<void> {
  const { connection, pool, paidCalls } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const held = await paidCalls.patiently('the end of a sandbox', () => findOperation(pool, { tenantId, operationId }));
  if (!held?.claimed || held.outcome !== null) return;
  if (sandbox) {
    const { sandboxId } = sandbox;
    const wasThere = await end(dependencies, { tenantId, runId, sandboxId });
    const nowMs = dependencies.clock.nowMs();
    const untilMs = wasThere ? nowMs : goneAtMs(sandbox, nowMs);
    await settleWindow(dependencies, windowOf({ tenantId, runId, sandbox }, 'sandbox.ended', untilMs));
    return;
  }
  // The reply to its creation was lost. None to be found, and nobody knows whether there was one: the commit charges the
  // estimate as unverified.
  const running = await patiently(() => findByOperation(connection, operationId), { forMs: endingMs });
  if (running.length === 0) return;
  let seconds = 0;
  for (const { sandboxId, startedAtMs } of running) {
    await end(dependencies, { tenantId, runId, sandboxId });
    seconds += Math.min(Math.max(0, Math.ceil((dependencies.clock.nowMs() - startedAtMs) / 1000)), plan.windowSeconds);
  }
  const { priceVersion } = plan;
  await settleWindow(dependencies, { tenantId, runId, operationId, priceVersion, seconds, event: 'sandbox.ended' });
}

/** Begins a new window now. What the one before cost is written once the sandbox lives on. */
export async function extend(dependencies: SandboxDependencies, request: ContinueSandbox): Promise<OpenSandbox> {
  const { connection, paidCalls } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const { sandboxId } = sandbox;
  const claim = await paidCalls.claim(request);
  try {
    await patiently(() => setLifetime(connection, { sandboxId, seconds: plan.windowSeconds }), { forMs: askingMs });
    await paidCalls.atPoint('sandbox.extended');
  } catch (error) {
    const found = await stateAfter(dependencies, { sandboxId, error });
    const thirdMs = (sandbox.windowSeconds * 1_000) / 3;
    const isExtended = found?.endAtMs !== undefined && found.endAtMs > windowEndMs(sandbox) + thirdMs;
    if (!isExtended) throw await refused(dependencies, { request, claim, error, found });
  }
  const nowMs = dependencies.clock.nowMs();
  const next = nextWindow({ ...sandbox, lastSeenAtMs: nowMs }, { operationId, seconds: plan.windowSeconds, nowMs });
  await settleWindow(dependencies, windowOf({ tenantId, runId, sandbox }, 'sandbox.extended', nowMs));
  return next;
}

export async function pause(
  dependencies: SandboxDependencies,
  { tenantId, runId, sandbox }: Omit<ContinueSandbox, 'operationId'>,
): Promise<{ paused: boolean; costUsd?: string }> {
  const { sandboxId } = sandbox;
  let untilMs: number | undefined;
  try {
    await patiently(() => pauseSandbox(dependencies.connection, sandboxId), { forMs: endingMs });
    await dependencies.paidCalls.atPoint('sandbox.paused');
  } catch (error) {
    if (!isGone(error)) throw await left(dependencies, { tenantId, runId, sandboxId, error }, 'paused');
    untilMs = goneAtMs(sandbox, dependencies.clock.nowMs());
    const lifecycleStage = 'monitoring';
    const gone = { tenantId, runId, sandboxId, errorType: 'sandbox_gone', lifecycleStage } as const;
    await recordE2BError(dependencies, { ...gone, operation: 'cleanup' });
  }
  const paused = untilMs === undefined;
  const event = paused ? 'sandbox.paused' : 'sandbox.ended';
  const settled = await settleWindow(
    dependencies,
    windowOf({ tenantId, runId, sandbox }, event, untilMs ?? dependencies.clock.nowMs()),
  );
  return { paused, ...settled };
}

/** Its lifetime is the window from now; the provider's own default, and the limit of the request, are something else. */
export async function resume(dependencies: SandboxDependencies, request: ContinueSandbox): Promise<OpenSandbox> {
  const { connection, paidCalls, log } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const { sandboxId, priceVersion } = sandbox;
  const claim = await paidCalls.claim(request);
  const startedAtMs = dependencies.clock.nowMs();
  try {
    await connectSandbox(connection, { sandboxId, remainingMs: plan.windowSeconds * 1000 });
    await paidCalls.atPoint('sandbox.resumed');
  } catch (error) {
    const found = await stateAfter(dependencies, { sandboxId, error });
    if (found?.isPaused !== false) throw await refused(dependencies, { request, claim, error, found });
  }
  log.info({ tenantId, runId, operationId, sandboxId }, 'sandbox resumed');
  const lastSeenAtMs = dependencies.clock.nowMs();
  return { sandboxId, operationId, priceVersion, startedAtMs, windowSeconds: plan.windowSeconds, lastSeenAtMs };
}

interface State {
  /** Absent of a sandbox that is not there. */
  isPaused?: boolean;
  endAtMs?: number;
}

/** How a sandbox stands after a request that failed. Undefined when nobody knows, since the provider does not say. */
async function stateAfter(
  { connection }: SandboxDependencies,
  { sandboxId, error }: { sandboxId: string; error: unknown },
): Promise<State | undefined> {
  if (isGone(error)) return {};
  return patiently(async () => (await lookUpSandbox(connection, sandboxId)) ?? {}, { forMs: lookingUpMs }).catch(
    () => undefined,
  );
}

export async function discard(
  dependencies: SandboxDependencies,
  sandbox: { tenantId: string; runId: string; sandboxId: string },
): Promise<void> {
  await end(dependencies, sandbox);
}

interface Refused {
  request: ContinueSandbox;
  claim: Parameters<SandboxDependencies['paidCalls']['settle']>[0];
  error: unknown;
  /** How the sandbox was found afterwards. */
  found: State | undefined;
}

/**
 * The sandbox does not live on. Surely, since the provider said so or the sandbox is as it was: nothing is billed for the new
 * window. Or nobody knows: then the window is charged once, and no other one is tried.
 */
async function refused(dependencies: SandboxDependencies, { request, claim, error, found }: Refused): Promise<Error> {
  const { tenantId, runId, operationId, sandbox } = request;
  const { sandboxId } = sandbox;
  const isThere = found?.isPaused !== undefined;
  const errorType = isGone(error) || (found && !isThere) ? 'sandbox_gone' : (error as Error).name;
  await recordE2BError(dependencies, {
    tenantId,
    runId,
    sandboxId,
    operation: 'reconnect',
    errorType,
    key: operationId,
  });
  if (!found && mayPass(error))
    return failure(
      'outcome_unknown',
      `The sandbox provider did not answer (${errorType}). The estimate is charged as unverified.`,
      { settled: false, retry: false },
    );
  await dependencies.paidCalls.settle(claim, { billed: false, reason: errorType });
  return failure(
    'sandbox_failed',
    `The sandbox cannot live on (${errorType}, stage connection). Nothing was billed for it.`,
    // One that is there and was not let back may be so in a moment.
    { settled: true, retry: isThere && mayPass(error) },
  );
}
