/**
 * The windows of a sandbox and what they cost. Each is an operation of its own, claimed when it begins and committed when it
 * ends. A provider bills whole seconds of the time since the sandbox began to run, so a window pays for those that no earlier
 * one has paid for.
 */
import type { OpenSandbox } from '../../contracts/sandbox';

/** When the current window began, in milliseconds since 1970. */
const windowStartMs = ({ windowStartedAtMs, startedAtMs }: OpenSandbox): number => windowStartedAtMs ?? startedAtMs;

/** When the provider ends the sandbox by itself. */
export const windowEndMs = (sandbox: OpenSandbox): number => windowStartMs(sandbox) + sandbox.windowSeconds * 1000;

/** The seconds of the current window that are to be paid when it ends now. The sandbox may have ended itself at its end. */
export function windowSeconds(sandbox: OpenSandbox, nowMs: number): number {
  const { startedAtMs, billedSeconds = 0 } = sandbox;
  const endMs = Math.min(nowMs, windowEndMs(sandbox));
  return Math.max(0, Math.ceil((endMs - startedAtMs) / 1000) - billedSeconds);
}

/** Until when a sandbox that is gone is charged: as far as it was seen to run, or to the end of its window when that is over. */
export const goneAtMs = (sandbox: OpenSandbox, nowMs: number): number =>
  nowMs >= windowEndMs(sandbox) ? nowMs : Math.max(windowStartMs(sandbox), sandbox.lastSeenAtMs ?? 0);

/** The sandbox in a new window that begins now. */
export const nextWindow = (
  sandbox: OpenSandbox,
  { operationId, seconds, nowMs }: { operationId: string; seconds: number; nowMs: number },
): OpenSandbox => ({
  ...sandbox,
  operationId,
  windowSeconds: seconds,
  windowStartedAtMs: nowMs,
  billedSeconds: (sandbox.billedSeconds ?? 0) + windowSeconds(sandbox, nowMs),
});
