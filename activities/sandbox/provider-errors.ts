/** What an error of the sandbox provider's SDK means: whether something may be running, and what to tell the workflow. */
import type { ErrorCode } from '../../core/errors';

export interface SandboxFailure {
  /** Whether a sandbox may have been made. */
  made: 'no' | 'unknown';
  code: ErrorCode;
  message: string;
  retry: boolean;
  /** The provider has no room now: to be waited for. */
  waits?: boolean;
}

/** Errors that the SDK throws for an answer that says no. Their classes are looked up by name: it is bundled twice. */
const refusals: Record<string, { code: ErrorCode; retry: boolean; what: string }> = {
  AuthenticationError: {
    code: 'provider_credentials',
    retry: false,
    what: 'The sandbox provider does not accept the key',
  },
  RateLimitError: { code: 'provider_unavailable', retry: true, what: 'The sandbox provider asked to slow down' },
  InvalidArgumentError: { code: 'provider_refused', retry: false, what: 'The sandbox provider refused the request' },
  TemplateError: { code: 'provider_refused', retry: false, what: 'The sandbox provider refused the template' },
  NotFoundError: { code: 'provider_refused', retry: false, what: 'The sandbox provider does not know the template' },
};

export function createFailure(error: unknown): SandboxFailure {
  const { name, message } = error instanceof Error ? error : { name: '', message: '' };
  const released = 'Nothing was billed and the reservation was released.';
  const refusal = refusals[name];
  if (refusal) {
    const { code, retry, what } = refusal;
    const waits = name === 'RateLimitError';
    return { made: 'no', code, retry, message: `${what}. ${released}`, ...(waits ? { waits } : {}) };
  }
  if (neverConnected(error)) {
    return {
      made: 'no',
      code: 'provider_unavailable',
      retry: true,
      message: `The sandbox provider could not be reached. ${released}`,
    };
  }
  const status = /^(\d{3})\b/.exec(message)?.[1];
  if (status !== undefined && status.startsWith('4')) {
    return {
      made: 'no',
      code: 'provider_refused',
      retry: false,
      message: `The sandbox provider answered ${status}. ${released}`,
    };
  }
  return {
    made: 'unknown',
    code: 'outcome_unknown',
    retry: true,
    message: `The reply to creating a sandbox was lost${status ? ` (status ${status})` : ''}. It is looked for and ended; if it is not found, the estimate is charged as unverified.`,
  };
}

/** Whether a request never reached its other end. */
export function neverConnected(error: unknown): boolean {
  let cause: unknown = error;
  for (let depth = 0; cause && depth < 5; depth += 1) {
    const { code, cause: inner } = cause as { code?: unknown; cause?: unknown };
    if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') return true;
    cause = inner;
  }
  return false;
}

/**
 * Whether an error says that the sandbox is not there any more. The SDK's `TimeoutError` is also that of a request, or of a program,
 * that took too long: those say nothing of the sandbox.
 */
export function isGone(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, message } = error;
  if (/NotFoundError|SandboxNotFound/.test(name)) return !/FileNotFound/.test(name);
  return name === 'TimeoutError' && /sandbox timeout|sandbox was killed/i.test(message);
}

/** Whether a program took longer than it may. */
export const isOverItsTime = (error: unknown): boolean =>
  error instanceof Error && error.name === 'TimeoutError' && /execution timed out/i.test(error.message);

/** Whether the same request may succeed in a moment: the provider is ill, or the connection was cut, and it did not say no. */
export const mayPass = (error: unknown): boolean =>
  error instanceof Error &&
  !isGone(error) &&
  !/AuthenticationError|InvalidArgument|TemplateError|FileNotFound|NotEnoughSpace/.test(error.name) &&
  !/^4(?!29)\d\d\b/.test(error.message);
