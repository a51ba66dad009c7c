/**
 * The sandbox activities. A sandbox is billed by the second while it runs. It lives in windows, each reserved ahead; a
 * window's reservation stays claimed until the window ends, and the provider ends the sandbox by itself if nobody has extended
 * it by then.
 */
import type { SandboxActivities, SweepActivities } from '../contracts/sandbox';
import { withHeartbeats } from '../heartbeat';
import { create, prepare } from './create';
import type { SandboxDependencies } from './dependencies';
import { discard, extend, pause, resume, terminate } from './lifetime';
import { runPaidTools, runTools } from './programs';
import { sweep } from './sweep';

export type { SandboxDependencies } from './dependencies';

export function createSandboxActivities(dependencies: SandboxDependencies): SandboxActivities & SweepActivities {
  return {
    prepareSandbox: (request) => prepare(dependencies, request),
    createSandbox: (request) => withHeartbeats(() => create(dependencies, request)),
    executeCode: (request) => withHeartbeats(() => runTools(dependencies, request)),
    runPaidTools: (request) => withHeartbeats(() => runPaidTools(dependencies, request)),
    terminateSandbox: (request) => withHeartbeats(() => terminate(dependencies, request)),
    extendSandbox: (request) => withHeartbeats(() => extend(dependencies, request)),
    pauseSandbox: (request) => withHeartbeats(() => pause(dependencies, request)),
    resumeSandbox: (request) => withHeartbeats(() => resume(dependencies, request)),
    discardSandbox: (request) => withHeartbeats(() => discard(dependencies, request)),
    sweepSandboxes: () => withHeartbeats(() => sweep(dependencies)),
  };
}
