/**
 * The sandbox activities. A sandbox is billed by the second while it runs. It lives in windows, each reserved ahead; a
 * window's reservation stays claimed until the window ends, and the provider ends the sandbox by itself if nobody has extended
 * it by then.
 */
import { countSandboxOperation, type SandboxMetricOperation } from '../../telemetry/metrics';
import type { SandboxActivities, SweepActivities } from '../../contracts/sandbox';
import { withHeartbeats } from '../heartbeat';
import { create, prepare } from './create';
import type { SandboxDependencies } from './dependencies';
import { discard, extend, pause, resume, terminate } from './lifetime';
import { runPaidTools, runTools } from './programs';
import { sweep } from './sweep';

export type { SandboxDependencies } from './dependencies';

export function createSandboxActivities(dependencies: SandboxDependencies): SandboxActivities & SweepActivities {
  const measured = async <T>(operation: SandboxMetricOperation, work: () => Promise<T>, tier?: string): Promise<T> => {
    await dependencies.clock.look();
    return measure(operation, work, tier);
  };
  return {
    prepareSandbox: (request) => prepare(dependencies, request),
    createSandbox: (request) => measured('create', () => create(dependencies, request), request.plan.tier),
    executeCode: (request) => measured('execute', () => runTools(dependencies, request)),
    runPaidTools: (request) => measured('execute', () => runPaidTools(dependencies, request)),
    terminateSandbox: (request) => measured('terminate', () => terminate(dependencies, request), request.plan.tier),
    extendSandbox: (request) => measured('extend', () => extend(dependencies, request), request.plan.tier),
    pauseSandbox: (request) => measured('pause', () => pause(dependencies, request), request.plan.tier),
    resumeSandbox: (request) => measured('resume', () => resume(dependencies, request), request.plan.tier),
    discardSandbox: (request) => measured('terminate', () => discard(dependencies, request)),
    sweepSandboxes: () => measured('cleanup', () => sweep(dependencies)),
  };
}

/** Heartbeats while it works, and counts how it went. */
async function measure<T>(operation: SandboxMetricOperation, work: () => Promise<T>, tier?: string): Promise<T> {
  const startedMs = performance.now();
  const count = (ok: boolean): void =>
    countSandboxOperation(operation, { ok, seconds: (performance.now() - startedMs) / 1000, tier });
  try {
    const result = await withHeartbeats(work);
    count(true);
    return result;
  } catch (error) {
    count(false);
    throw error;
  }
}
